package speech

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// glanced is how much of a file is looked at to tell audio from text, in bytes.
	glanced = 512
	// maxChunks is how many chunks of a WAV file are passed over in search of its data.
	maxChunks = 100
)

// badAudio is an ErrItem of which no server has to be asked.
type badAudio struct{ error }

// BadAudio makes an error that is an ErrItem and says only why the audio is unusable: no server was asked.
func BadAudio(format string, args ...any) error { return badAudio{fmt.Errorf(format, args...)} }

// Is makes errors.Is find ErrItem.
func (badAudio) Is(target error) bool { return target == ErrItem }

func (b badAudio) Unwrap() error { return b.error }

// Glance looks at the beginning of a file that should be audio, without reading
// it: what is empty, is text, or is WAV without a sound is an ErrItem that says so.
// It returns the length in seconds where the file is WAV and tells it, else 0.
func Glance(file io.ReaderAt, size int64) (seconds float64, err error) {
	head := make([]byte, min(size, glanced))
	if _, err := file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("%w: %w", ErrAudio, err)
	}
	switch {
	case size == 0:
		return 0, BadAudio("%w: it is empty", errNotSound)
	case len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WAVE":
		return glanceWave(file, size)
	case isText(head):
		return 0, BadAudio("%w: it is text: %s", errNotSound, quote(string(head)))
	default:
		return 0, nil
	}
}

// glanceWave walks from chunk to chunk. What cannot be made out is left to those who decode.
func glanceWave(file io.ReaderAt, size int64) (float64, error) {
	var second int64 // bytes a second
	at := int64(12)
	for range maxChunks {
		var head [8 + 16]byte
		n, err := file.ReadAt(head[:min(int64(len(head)), max(size-at, 0))], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("%w: %w", ErrAudio, err)
		}
		if n < 8 {
			return 0, BadAudio("%w: its WAV file holds no data", errNotSound)
		}
		length := int64(binary.LittleEndian.Uint32(head[4:]))
		switch string(head[:4]) {
		case "fmt ":
			if n == len(head) {
				second = int64(binary.LittleEndian.Uint32(head[8+8:]))
			}
		case "data":
			left := size - at - 8
			if length == 0 || length > left { // writers that stream do not know it
				length = left
			}
			if length == 0 {
				return 0, BadAudio("%w: its WAV file has a length of 0 s", errNotSound)
			}
			if second == 0 {
				return 0, nil
			}
			return float64(length) / float64(second), nil
		}
		at += 8 + length + length%2
	}
	return 0, nil
}
