// Package chunk cuts long audio into pieces that speech servers take.
//
// A file is decoded once, by sox or ffmpeg, to 16 kHz mono in a temporary file.
// While the sound passes by, its loudness is noted, and the cuts are laid into the
// quietest moments near where pieces of equal length would end. Where there is no
// quiet moment, two pieces overlap, so that no word is lost; speech.Merge says
// the overlap once. What no decoder takes is the fault of that audio alone, and
// says why.
package chunk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/understudy-dr/understudy/activities/speech"
)

const (
	// rate is how many samples a second the pieces have; all models in use listen at it, or resample from it.
	rate       = 16000
	frameBytes = 2
	second     = rate * frameBytes

	// DefaultLongest bounds what is decoded of one file: some claim to hold years of silence. A day takes 2.8 GB of disk.
	DefaultLongest = 24 * time.Hour
)

// Options describe a cutter.
type Options struct {
	// Dir is where decoded audio lies while it is used; default the temporary directory. It needs 115 MB an hour.
	Dir string
	// Longest is the longest audio that is taken; default DefaultLongest.
	Longest time.Duration
}

// Cutter cuts audio. It is safe for concurrent use.
type Cutter struct {
	options  Options
	decoders []decoder
}

// New looks for sox and ffmpeg; one of them is enough, with both more formats are
// known. Without either it returns an error that says what to install.
func New(options Options) (*Cutter, error) {
	if options.Longest == 0 {
		options.Longest = DefaultLongest
	}
	c := &Cutter{options: options, decoders: findDecoders()}
	if len(c.decoders) == 0 {
		return nil, errors.New("neither sox nor ffmpeg is installed, and one is needed to cut long audio: apt-get install sox, or ffmpeg")
	}
	return c, nil
}

// Cut decodes a file, which an absolute path names, and cuts it into pieces of at
// most the limit: where the spans say, or in quiet moments where there are none
// yet. The same file is always cut in the same places by the same decoder. What
// cannot be decoded, holds no sound, is longer than may be, or is not the audio of
// the spans, is speech.ErrItem; other errors are about this machine. The pieces
// need disk until they are closed.
func (c *Cutter) Cut(ctx context.Context, path string, limit time.Duration, spans []speech.Span) (speech.Pieces, error) {
	file, err := os.CreateTemp(c.options.Dir, "understudy-chunk-")
	if err != nil {
		return speech.Pieces{}, fmt.Errorf("decode the audio: %w", err)
	}
	// Without a name it is gone when we are, however we end.
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return speech.Pieces{}, fmt.Errorf("decode the audio: %w", err)
	}
	meter := &meter{to: file}
	if err := c.decode(ctx, path, meter); err != nil {
		file.Close()
		return speech.Pieces{}, err
	}
	if spans == nil {
		spans = plan(meter.loudness, meter.seconds(), limit.Seconds())
	} else if end := spans[len(spans)-1].End; math.Abs(end-meter.seconds()) > 1 {
		file.Close()
		return speech.Pieces{}, speech.BadAudio("it lasts %.1f s now, and %.1f s when it was first cut", meter.seconds(), end)
	}
	return speech.Pieces{Spans: spans, Audio: func(i int) speech.Audio { return piece(file, meter.bytes, spans[i]) }, Close: file.Close}, nil
}

// Check decodes a file and throws the sound away; what cannot be decoded is speech.ErrItem.
func (c *Cutter) Check(ctx context.Context, path string) error {
	return c.decode(ctx, path, &meter{to: io.Discard})
}

// Seconds is the length of a file: told by its header where it is plain WAV, else
// found by decoding it.
func (c *Cutter) Seconds(ctx context.Context, path string) (float64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if seconds, err := speech.Glance(file, info.Size()); seconds > 0 || err != nil {
		return seconds, err
	}
	meter := &meter{to: io.Discard}
	if err := c.decode(ctx, path, meter); err != nil {
		return 0, err
	}
	return meter.seconds(), nil
}

// piece is a span of decoded audio as a WAV file.
func piece(file *os.File, size int64, span speech.Span) speech.Audio {
	from := min(int64(span.Start*rate)*frameBytes, size)
	length := min(int64(span.End*rate)*frameBytes, size) - from
	head := header(length)
	return speech.Audio{Name: "piece.wav", Size: int64(len(head)) + length, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(head), io.NewSectionReader(file, from, length))), nil
	}}
}

// header is that of a WAV file with so many bytes of samples.
func header(length int64) []byte {
	h := make([]byte, 0, 44)
	h = append(h, "RIFF"...)
	h = binary.LittleEndian.AppendUint32(h, uint32(36+length))
	h = append(h, "WAVEfmt "...)
	h = binary.LittleEndian.AppendUint32(h, 16)
	h = binary.LittleEndian.AppendUint16(h, 1) // PCM
	h = binary.LittleEndian.AppendUint16(h, 1) // channels
	h = binary.LittleEndian.AppendUint32(h, rate)
	h = binary.LittleEndian.AppendUint32(h, second)
	h = binary.LittleEndian.AppendUint16(h, frameBytes)
	h = binary.LittleEndian.AppendUint16(h, 8*frameBytes)
	h = append(h, "data"...)
	return binary.LittleEndian.AppendUint32(h, uint32(length))
}
