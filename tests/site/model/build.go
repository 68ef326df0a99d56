package model

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/tests/site/flite"
	"github.com/understudy-dr/understudy/tests/site/sphinx"
)

// The kinds of models.
const (
	ASR = "asr"
	TTS = "tts"
)

const (
	// SelfTest is a recording inside an ASR model; a server that hears audio.Digits in it has loaded the model.
	SelfTest = "selftest.wav"
	// Voice is the voice inside a TTS model.
	Voice = "rms.flitevox"

	installed = "/usr/share/pocketsphinx/model/en-us"
)

// vocabulary is a few hundred words. With the whole dictionary the same audio takes three times as long.
//
//go:embed vocabulary.txt
var vocabulary []byte

// Spec says which model to build.
type Spec struct {
	// Kind is ASR or TTS.
	Kind    string
	Version string
	// Dir is where the model shall be; it must not exist.
	Dir string
	// Full lets an ASR model listen for every word of its dictionary, not only for the vocabulary.
	Full bool
}

// Build makes a model directory from the data of the installed engine. The
// directory appears when it is complete, or not at all.
func Build(ctx context.Context, spec Spec) error {
	if _, err := os.Lstat(spec.Dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("build model: %s is there already", spec.Dir)
	}
	if err := os.MkdirAll(filepath.Dir(spec.Dir), 0o755); err != nil {
		return fmt.Errorf("build model: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(spec.Dir), ".model-")
	if err != nil {
		return fmt.Errorf("build model: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := fill(ctx, spec, dir); err != nil {
		return fmt.Errorf("build model: %w", err)
	}
	if err := Seal(dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("build model: %w", err)
	}
	if err := os.Rename(dir, spec.Dir); err != nil {
		return fmt.Errorf("build model: %w", err)
	}
	return nil
}

func fill(ctx context.Context, spec Spec, dir string) error {
	if err := write(dir, VersionFile, []byte(spec.Version+"\n")); err != nil {
		return err
	}
	if _, err := readVersion(dir); err != nil {
		return err
	}
	switch spec.Kind {
	case ASR:
		return fillASR(ctx, spec, dir)
	case TTS:
		return flite.Dump(ctx, flite.Builtin, filepath.Join(dir, Voice))
	default:
		return fmt.Errorf("%q is no kind of model; there are %s and %s", spec.Kind, ASR, TTS)
	}
}

func fillASR(ctx context.Context, spec Spec, dir string) error {
	if _, err := os.Stat(installed); err != nil {
		return fmt.Errorf("%w: apt-get install pocketsphinx pocketsphinx-en-us", err)
	}
	if err := os.CopyFS(filepath.Join(dir, sphinx.Acoustic), os.DirFS(filepath.Join(installed, sphinx.Acoustic))); err != nil {
		return err
	}
	for _, name := range []string{sphinx.Language, sphinx.Lexicon} {
		data, err := os.ReadFile(filepath.Join(installed, name))
		if err != nil {
			return err
		}
		if err := write(dir, name, data); err != nil {
			return err
		}
	}
	if !spec.Full {
		if err := write(dir, sphinx.Vocabulary, vocabulary); err != nil {
			return err
		}
	}
	spoken, err := audio.Say(ctx, audio.Digits)
	if err != nil {
		return err
	}
	return write(dir, SelfTest, spoken.WAV())
}

func write(dir, name string, data []byte) error {
	return os.WriteFile(filepath.Join(dir, name), data, 0o644)
}
