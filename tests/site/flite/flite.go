// Package flite is the voice of the sample site: it runs the flite program, a
// small speech synthesizer, once for each text.
package flite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Builtin is the voice inside the program that pocketsphinx understands best.
const Builtin = "rms"

// ErrVoice means that flite could not speak: no such program, no such voice, or a damaged one.
var ErrVoice = errors.New("flite cannot speak")

// Manner is how a text is spoken.
type Manner struct {
	// Speed is 1 for the voice's own; 2 speaks in half the time. Zero is 1.
	Speed float64
	// Cents moves the pitch; 100 are a semitone.
	Cents int
}

// Speak writes the text as a WAV file at path: 16 kHz, mono, 16 bits.
// The voice is a built-in name or the path of a voice file, with a slash in it.
func Speak(ctx context.Context, voice, text, path string, manner Manner) error {
	// With a voice file that it cannot open flite speaks in another voice and reports success.
	if strings.Contains(voice, "/") {
		if _, err := os.Stat(voice); err != nil {
			return fmt.Errorf("%w: %w", ErrVoice, err)
		}
	}
	args := []string{"-voice", voice, "-t", text, "-o", path}
	if manner.Speed > 0 {
		stretch := strconv.FormatFloat(1/manner.Speed, 'f', 3, 64)
		args = append(args, "--setf", "duration_stretch="+stretch)
	}
	if err := run(ctx, "flite", args...); err != nil {
		return fmt.Errorf("%w: %w", ErrVoice, err)
	}
	if manner.Cents == 0 {
		return nil
	}
	level := filepath.Join(filepath.Dir(path), "level-"+filepath.Base(path))
	if err := os.Rename(path, level); err != nil {
		return err
	}
	defer os.Remove(level)
	return run(ctx, "sox", "-D", level, path, "pitch", strconv.Itoa(manner.Cents))
}

// Dump writes a built-in voice into a file, which Speak then takes as its voice.
func Dump(ctx context.Context, voice, path string) error {
	if err := run(ctx, "flite", "-voice", voice, "-voicedump", path); err != nil {
		return fmt.Errorf("%w: %w", ErrVoice, err)
	}
	return nil
}

func run(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w %.200s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}
