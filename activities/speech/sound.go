package speech

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

const (
	// window is the span in which loudness is measured, in seconds: shorter than a syllable.
	window = 0.02
	// loudness from which a window is no silence: 54 decibels below the loudest. Noise of a good recording lies below it, a whisper above.
	loudness = 0.002
	// loudness8 is that of samples with 8 bits, whose rounding alone is as loud as a whisper.
	loudness8 = 0.012
	// longestPause within speech, in seconds; a longer one is silence.
	longestPause = 0.5
)

// errNotSound means that a piece of audio cannot be what it should be.
var errNotSound = errors.New("this is no audio")

// Sound is what can be said of audio without understanding it.
type Sound struct {
	// Measured is false for formats other than WAV: they are only known to be there.
	Measured bool
	// Seconds from beginning to end, and those of them with something to hear; short pauses count as heard.
	Seconds, Audible float64
	// RMS is the loudness of the whole, 0 to 1, without any constant part.
	RMS float64
}

// Inspect measures WAV audio: PCM with 8, 16, 24 or 32 bits, floating point, and
// telephone formats. Other formats only must not be empty and not be text. What
// claims to be WAV and cannot be read is an error.
func Inspect(audio []byte) (Sound, error) {
	switch {
	case len(audio) == 0:
		return Sound{}, fmt.Errorf("%w: it is empty", errNotSound)
	case !bytes.HasPrefix(audio, []byte("RIFF")) && !bytes.HasPrefix(audio, []byte("RF64")):
		if isText(audio) {
			return Sound{}, fmt.Errorf("%w: it is text: %s", errNotSound, quote(string(audio[:min(len(audio), 1000)])))
		}
		return Sound{}, nil
	}
	w, err := parseWave(audio)
	if err != nil {
		return Sound{}, fmt.Errorf("%w: %w", errNotSound, err)
	}
	return w.measure()
}

// measure goes through the windows of a file once.
func (w wave) measure() (Sound, error) {
	decode, width := w.decoder(), w.bits/8
	frame := width * w.channels
	frames := len(w.data) / frame
	s := Sound{Measured: true, Seconds: float64(frames) / float64(w.rate)}
	threshold := loudness
	if w.bits == 8 {
		threshold = loudness8
	}
	size := max(1, int(window*float64(w.rate)))
	var all level
	quiet := math.Inf(1) // seconds since the last loud window; there was none yet
	for begin := 0; begin < frames; begin += size {
		end := min(begin+size, frames)
		var here level
		for at := begin * frame; at < end*frame; at += width {
			here.add(decode(w.data[at:]))
		}
		if math.IsNaN(here.sum) || math.IsInf(here.squares, 0) {
			return Sound{}, fmt.Errorf("%w: its samples are no numbers", errNotSound)
		}
		all.join(here)
		span := float64(end-begin) / float64(w.rate)
		if here.rms() < threshold {
			quiet += span
			continue
		}
		if quiet <= longestPause {
			s.Audible += quiet
		}
		s.Audible += span
		quiet = 0
	}
	s.RMS = all.rms()
	return s, nil
}

// level sums up samples.
type level struct {
	n            int
	sum, squares float64
}

func (l *level) add(sample float64) {
	l.n++
	l.sum += sample
	l.squares += sample * sample
}

func (l *level) join(o level) {
	l.n += o.n
	l.sum += o.sum
	l.squares += o.squares
}

// rms is the loudness around the mean: a constant is silence, however far from zero.
func (l *level) rms() float64 {
	if l.n == 0 {
		return 0
	}
	mean := l.sum / float64(l.n)
	return math.Sqrt(max(0, l.squares/float64(l.n)-mean*mean))
}
