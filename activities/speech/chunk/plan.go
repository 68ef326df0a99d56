package chunk

import (
	"encoding/binary"
	"io"
	"math"
	"slices"

	"github.com/understudy-dr/understudy/activities/speech"
)

const (
	// windows is how many times a second the loudness is noted.
	windows = 50
	// shortest is how long it must be quiet for a cut, in windows: longer than the stop of a consonant. From longest on
	// a pause is as good as any.
	shortest, longest = 15, 50
	// margin is how much of a pause the next piece gets, in windows: recognizers want a moment of it.
	margin = 10
	// quiet is how loud a pause may be beside the loudest moment: 34 decibels below.
	quiet = 0.02
	// noise is how far above the noise of a line a pause may be, if that noise is below noisy of the loudest moment.
	noise, noisy = 1.5, 0.25
	// earliest is how far into a piece its end may be, as a part of the longest piece.
	earliest = 0.5
	// overlap is what two pieces both hear where there is no pause, in seconds, and as a part of a piece.
	overlap, overlapPart = 2.0, 0.1
)

// meter passes samples on and notes how loud they are.
type meter struct {
	to       io.Writer
	bytes    int64
	loudness []float32 // of each window, 0 to 1
	sum      float64   // of the window that is not full yet
	n        int
	odd      []byte // half a sample
}

// Write passes samples on. Its errors are this machine's, not the decoder's.
func (m *meter) Write(p []byte) (int, error) {
	n, err := m.to.Write(p)
	m.bytes += int64(n)
	if err != nil {
		return n, err
	}
	samples := append(m.odd, p...)
	for ; len(samples) >= frameBytes; samples = samples[frameBytes:] {
		s := float64(int16(binary.LittleEndian.Uint16(samples))) / (1 << 15)
		m.sum += s * s
		if m.n++; m.n == rate/windows {
			m.loudness = append(m.loudness, float32(math.Sqrt(m.sum/float64(m.n))))
			m.sum, m.n = 0, 0
		}
	}
	m.odd = append([]byte(nil), samples...)
	return n, nil
}

func (m *meter) seconds() float64 { return float64(m.bytes/frameBytes) / rate }

// plan lays cuts so that no piece is longer than the limit: in the longest pause of
// the second half of what a piece may hold, the later the better.
func plan(loudness []float32, total, limit float64) []speech.Span {
	var spans []speech.Span
	for start, threshold := 0.0, threshold(loudness); ; {
		if total-start <= limit {
			return append(spans, speech.Span{Start: start, End: total})
		}
		end, next := start+limit, start+limit-min(overlap, overlapPart*limit)
		if cut, ok := bestPause(loudness, threshold, start+earliest*limit, end); ok {
			end, next = cut, cut
		}
		spans = append(spans, speech.Span{Start: milli(start), End: milli(end)})
		start = milli(next)
	}
}

// threshold is the loudness below which it is quiet.
func threshold(loudness []float32) float32 {
	if len(loudness) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(loudness))
	loudest, floor := sorted[len(sorted)-1], sorted[len(sorted)/10]
	if floor < noisy*loudest {
		return max(quiet*loudest, noise*floor)
	}
	return quiet * loudest
}

// bestPause finds the place for a cut between two times.
func bestPause(loudness []float32, threshold float32, from, to float64) (at float64, ok bool) {
	best, run := 0, 0
	last := min(int(to*windows), len(loudness))
	for i := int(from * windows); i <= last; i++ {
		if i < last && loudness[i] <= threshold {
			run++
			continue
		}
		if length := min(run, longest); length >= max(shortest, best) {
			best, at, ok = length, float64(i-min(margin, run/2))/windows, true
		}
		run = 0
	}
	return at, ok
}

// milli rounds to milliseconds: places are kept as text and read again.
func milli(seconds float64) float64 { return math.Round(seconds*1000) / 1000 }
