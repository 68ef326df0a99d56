// Package audio makes the sound that tests and the demo send to speech
// services, and reads the sound that comes back.
//
// Real words are spoken by flite and kept, so that a text is spoken once. A
// long recording is a short one repeated, with pauses of silence between.
package audio

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/tests/site/flite"
)

const (
	// Rate is how many samples a second a clip has.
	Rate = 16000
	// Digits is the text that the recognizer gives back exactly when flite speaks it.
	Digits = "one two three four five six seven eight nine"

	headerSize = 44
)

// Clip is sound: 16 kHz, mono, 16 bits.
type Clip []int16

// Say speaks a text. What was spoken before comes from a file in the temporary directory.
func Say(ctx context.Context, text string) (Clip, error) {
	dir := filepath.Join(os.TempDir(), "understudy-audio")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("say: %w", err)
	}
	kept := filepath.Join(dir, fmt.Sprintf("%x.wav", sha256.Sum256([]byte(text))))
	if _, err := os.Stat(kept); err == nil {
		return Decode(ctx, kept)
	}
	work, err := os.MkdirTemp(dir, "say-")
	if err != nil {
		return nil, fmt.Errorf("say: %w", err)
	}
	defer os.RemoveAll(work)
	spoken := filepath.Join(work, "spoken.wav")
	if err := flite.Speak(ctx, flite.Builtin, text, spoken, flite.Manner{}); err != nil {
		return nil, fmt.Errorf("say: %w", err)
	}
	clip, err := Decode(ctx, spoken)
	if err != nil {
		return nil, err
	}
	// Others may say the same at this moment: a rename shows them all of the file or nothing.
	if err := os.Rename(spoken, kept); err != nil {
		return nil, fmt.Errorf("say: %w", err)
	}
	return clip, nil
}

// Silence is a clip without a sound.
func Silence(d time.Duration) Clip {
	return make(Clip, int(d.Seconds()*Rate))
}

// Decode reads a sound file of any format that sox knows by its first bytes.
func Decode(ctx context.Context, path string) (Clip, error) {
	var pcm, complaint bytes.Buffer
	// Dither is random; without it the same file is the same clip each time.
	cmd := exec.CommandContext(ctx, "sox", "-D", path, "-t", "raw", "-r", "16000", "-e", "signed-integer", "-b", "16", "-c", "1", "-")
	cmd.Stdout, cmd.Stderr = &pcm, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("decode audio: %w %.200s", err, strings.TrimSpace(complaint.String()))
	}
	clip := make(Clip, pcm.Len()/2)
	_, err := binary.Decode(pcm.Bytes(), binary.LittleEndian, clip)
	return clip, err
}

// Repeat is the clip n times, with a pause after each.
func (c Clip) Repeat(n int, pause time.Duration) Clip {
	var long Clip
	for range n {
		long = append(append(long, c...), Silence(pause)...)
	}
	return long
}

// Duration is how long the clip lasts.
func (c Clip) Duration() time.Duration {
	return time.Duration(len(c)) * time.Second / Rate
}

// Loudness is the root mean square of the samples, from 0 for silence to 1.
func (c Clip) Loudness() float64 {
	if len(c) == 0 {
		return 0
	}
	var sum float64
	for _, sample := range c {
		sum += float64(sample) * float64(sample)
	}
	return math.Sqrt(sum/float64(len(c))) / -math.MinInt16
}

// PCM is the bare samples, little-endian.
func (c Clip) PCM() []byte {
	pcm, _ := binary.Append(make([]byte, 0, 2*len(c)), binary.LittleEndian, []int16(c))
	return pcm
}

// WAV is the clip as a file.
func (c Clip) WAV() []byte {
	header := struct {
		RIFF         [4]byte
		Size         uint32
		WAVE, Fmt    [4]byte
		FmtSize      uint32
		PCM, Mono    uint16
		Rate, Second uint32
		Block, Bits  uint16
		Data         [4]byte
		DataSize     uint32
	}{
		RIFF: [4]byte([]byte("RIFF")), Size: uint32(headerSize - 8 + 2*len(c)),
		WAVE: [4]byte([]byte("WAVE")), Fmt: [4]byte([]byte("fmt ")), FmtSize: 16,
		PCM: 1, Mono: 1, Rate: Rate, Second: 2 * Rate, Block: 2, Bits: 16,
		Data: [4]byte([]byte("data")), DataSize: uint32(2 * len(c)),
	}
	wav, _ := binary.Append(nil, binary.LittleEndian, header)
	return append(wav, c.PCM()...)
}
