package speech

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Wave formats, as numbered in the header.
const (
	wavePCM        = 1
	waveFloat      = 3
	waveALaw       = 6
	waveMuLaw      = 7
	waveExtensible = 0xFFFE
)

// wave is a WAV file taken apart.
type wave struct {
	format, channels, bits int
	rate                   int
	data                   []byte
}

// parseWave finds the format and the samples. Writers that stream do not know
// their sizes and write 0 or the largest number, and some files are cut off: the
// data then reaches to the end. Chunks other than the two are skipped.
func parseWave(file []byte) (wave, error) {
	if len(file) < 12 || string(file[8:12]) != "WAVE" {
		return wave{}, errors.New("it begins like WAV and is none")
	}
	var w wave
	rest, hasFormat, hasData := file[12:], false, false
	for len(rest) >= 8 && !hasData {
		id, size := string(rest[:4]), int64(binary.LittleEndian.Uint32(rest[4:8]))
		rest = rest[8:]
		body := rest[:min(size, int64(len(rest)))]
		switch {
		case id == "fmt ":
			if len(body) < 16 {
				return wave{}, errors.New("its WAV header is cut off")
			}
			w.parseFormat(body)
			hasFormat = true
		case id == "data" && size == 0:
			w.data, hasData = rest, true
		case id == "data":
			w.data, hasData = body, true
		}
		rest = rest[min(size+size%2, int64(len(rest))):]
	}
	switch {
	case !hasFormat:
		return wave{}, errors.New("its WAV header names no format")
	case !hasData:
		return wave{}, errors.New("its WAV file holds no data")
	case w.channels < 1 || w.channels > 64 || w.rate < 1 || w.rate > 1<<20:
		return wave{}, fmt.Errorf("its WAV header makes no sense: %d channels, %d samples a second", w.channels, w.rate)
	case w.decoder() == nil:
		return wave{}, fmt.Errorf("its WAV format %d with %d bits is not known here", w.format, w.bits)
	}
	return w, nil
}

// parseFormat reads the fields of the header. The extensible form names the real
// format at the beginning of a GUID.
func (w *wave) parseFormat(body []byte) {
	w.format = int(binary.LittleEndian.Uint16(body))
	w.channels = int(binary.LittleEndian.Uint16(body[2:]))
	w.rate = int(binary.LittleEndian.Uint32(body[4:]))
	w.bits = int(binary.LittleEndian.Uint16(body[14:]))
	if w.format == waveExtensible && len(body) >= 26 {
		w.format = int(binary.LittleEndian.Uint16(body[24:]))
	}
}

// decoder reads one sample as -1 to 1; nil where the format is not known.
func (w *wave) decoder() func([]byte) float64 {
	switch {
	case w.format == wavePCM && w.bits == 8:
		return func(b []byte) float64 { return (float64(b[0]) - 128) / 128 }
	case w.format == wavePCM && w.bits == 16:
		return func(b []byte) float64 { return float64(int16(binary.LittleEndian.Uint16(b))) / (1 << 15) }
	case w.format == wavePCM && w.bits == 24:
		return func(b []byte) float64 {
			return float64(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)) / (1 << 31)
		}
	case w.format == wavePCM && w.bits == 32:
		return func(b []byte) float64 { return float64(int32(binary.LittleEndian.Uint32(b))) / (1 << 31) }
	case w.format == waveFloat && w.bits == 32:
		return func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }
	case w.format == waveFloat && w.bits == 64:
		return func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }
	case w.format == waveMuLaw && w.bits == 8:
		return func(b []byte) float64 { return muLaw(b[0]) }
	case w.format == waveALaw && w.bits == 8:
		return func(b []byte) float64 { return aLaw(b[0]) }
	default:
		return nil
	}
}

// muLaw and aLaw are the curves of ITU-T G.711.
func muLaw(b byte) float64 {
	b = ^b
	magnitude := float64((int(b&0x0F)<<3+0x84)<<(b>>4&7)-0x84) / (1 << 15)
	if b&0x80 != 0 {
		return -magnitude
	}
	return magnitude
}

func aLaw(b byte) float64 {
	b ^= 0x55
	step, segment := int(b&0x0F)<<4+8, b>>4&7
	if segment > 0 {
		step = (step + 0x100) << (segment - 1)
	}
	if b&0x80 == 0 {
		return -float64(step) / (1 << 15)
	}
	return float64(step) / (1 << 15)
}
