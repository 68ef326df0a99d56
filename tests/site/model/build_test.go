package model_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/tests/site/asr"
	"github.com/understudy-dr/understudy/tests/site/model"
	"github.com/understudy-dr/understudy/tests/site/tts"
)

func TestBuiltModelsAreWhole(t *testing.T) {
	harnesstest.Engines(t)
	for _, c := range []struct {
		spec   model.Spec
		needed []string
	}{
		{model.Spec{Kind: model.ASR, Version: "2512.1"}, asr.Needed},
		{model.Spec{Kind: model.ASR, Version: "2512.1", Full: true}, asr.Needed},
		{model.Spec{Kind: model.TTS, Version: "1.0"}, tts.Needed},
	} {
		c.spec.Dir = filepath.Join(t.TempDir(), "models", c.spec.Kind)
		if err := model.Build(t.Context(), c.spec); err != nil {
			t.Fatal(err)
		}
		m, err := model.Open(c.spec.Dir, c.needed...)
		if err != nil {
			t.Fatal(err)
		}
		if m.Version != c.spec.Version || len(m.Extra) > 0 {
			t.Errorf("built %+v from %+v", m, c.spec)
		}
	}
}

func TestBuildRefusesAndLeavesNothing(t *testing.T) {
	harnesstest.Engines(t)
	for name, spec := range map[string]model.Spec{
		"a kind that is none": {Kind: "llm", Version: "1"},
		"no version":          {Kind: model.TTS},
	} {
		parent := t.TempDir()
		spec.Dir = filepath.Join(parent, "model")
		if err := model.Build(t.Context(), spec); err == nil {
			t.Errorf("%s: built", name)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
	full := t.TempDir()
	if err := model.Build(t.Context(), model.Spec{Kind: model.TTS, Version: "1", Dir: full}); err == nil {
		t.Error("built over a directory")
	}
}
