package sphinx_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/tests/site/sphinx"
)

func load(t *testing.T, hotwords ...string) *sphinx.Engine {
	t.Helper()
	harnesstest.Engines(t)
	model, err := harness.BuildModel(t.Context(), "asr", harness.ModelVersion)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := sphinx.Load(model, hotwords)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	return engine
}

func say(t *testing.T, text string) audio.Clip {
	t.Helper()
	clip, err := audio.Say(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	return clip
}

func hear(t *testing.T, engine *sphinx.Engine, clip audio.Clip) []string {
	t.Helper()
	utterances, err := engine.Transcribe(clip)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, words := range utterances {
		var text []string
		for _, word := range words {
			text = append(text, word.Word)
		}
		texts = append(texts, strings.Join(text, " "))
	}
	return texts
}

func TestHearsDigitsAgainAndAgain(t *testing.T) {
	t.Parallel()
	engine := load(t)
	digits := say(t, audio.Digits)
	want := []string{audio.Digits}
	for range 3 {
		if got := hear(t, engine, digits); !slices.Equal(got, want) {
			t.Fatalf("heard %q, want %q", got, want)
		}
	}
	for name, clip := range map[string]audio.Clip{"nothing": nil, "silence": audio.Silence(time.Second), "a click": {0, 30000}} {
		if got := hear(t, engine, clip); len(got) != 0 {
			t.Errorf("heard %q in %s", got, name)
		}
	}
	if got := hear(t, engine, digits); !slices.Equal(got, want) {
		t.Errorf("heard %q after silence, want %q", got, want)
	}
}

func TestPausesMakeUtterancesWithTheirTimes(t *testing.T) {
	t.Parallel()
	engine := load(t)
	digits := say(t, audio.Digits)
	pause := 2 * time.Second
	utterances, err := engine.Transcribe(digits.Repeat(2, pause))
	if err != nil {
		t.Fatal(err)
	}
	if len(utterances) != 2 || len(utterances[1]) != 9 {
		t.Fatalf("heard %v, want nine digits twice", utterances)
	}
	apart := (digits.Duration() + pause).Seconds()
	for i, word := range utterances[0] {
		if word.End <= word.Start {
			t.Errorf("%v ends before it starts", word)
		}
		if got := utterances[1][i].Start - word.Start; got < apart-0.2 || got > apart+0.2 {
			t.Errorf("the second %q comes %.2f s after the first, want %.2f s", word.Word, got, apart)
		}
	}
}

func TestHotWordsAreHeardOnlyWhenTold(t *testing.T) {
	t.Parallel()
	const text = "the elephants have a meeting"
	clip := say(t, text)
	if got := hear(t, load(t), clip); strings.Contains(strings.Join(got, " "), "elephants") {
		t.Errorf("heard %q without the hot word", got)
	}
	engine := load(t, "elephants", "xyzzyq")
	if got := hear(t, engine, clip); !slices.Equal(got, []string{text}) {
		t.Errorf("heard %q, want %q", got, text)
	}
	if !slices.Equal(engine.Unknown, []string{"xyzzyq"}) {
		t.Errorf("unknown hot words %q", engine.Unknown)
	}
}

func TestDamagedModelEndsTheEngine(t *testing.T) {
	t.Parallel()
	harnesstest.Engines(t)
	whole, err := harness.BuildModel(t.Context(), "asr", harness.ModelVersion)
	if err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(model, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(model, sphinx.Acoustic, "mdef"), 1000); err != nil {
		t.Fatal(err)
	}
	engine, err := sphinx.Load(model, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	if got, err := engine.Transcribe(say(t, audio.Digits)); !errors.Is(err, sphinx.ErrBroken) {
		t.Errorf("heard %v, error %v; want %v", got, err, sphinx.ErrBroken)
	}
	<-engine.Ended()
}
