package speech

import (
	"errors"
	"math"
	"slices"
	"strings"
	"unicode"
)

// Span is a piece of an audio, in seconds from its start. A piece that could not
// be cut in a silence begins a little before the end of the one before it.
type Span struct {
	Start float64 `json:"start"`
	End   float64 `json:"end"`
}

// Pieces are the pieces of an audio that was cut.
type Pieces struct {
	Spans []Span
	// Audio returns a piece; it can be opened more than once, until Close.
	Audio func(i int) Audio
	// Close removes what the pieces are made of.
	Close func() error
}

// CheckSpans says whether pieces cover an audio from its start, in order and without a gap.
func CheckSpans(spans []Span) error {
	end := 0.0
	for i, s := range spans {
		switch {
		case math.IsNaN(s.Start) || math.IsNaN(s.End) || s.Start < 0 || s.End <= s.Start || math.IsInf(s.End, 0):
			return errors.New("a piece has no length")
		case i == 0 && s.Start != 0, s.Start > end:
			return errors.New("there is a gap between the pieces")
		case i > 0 && (s.Start <= spans[i-1].Start || s.End <= end):
			return errors.New("the pieces are not in order")
		}
		end = s.End
	}
	if len(spans) == 0 {
		return errors.New("there are no pieces")
	}
	return nil
}

// Merge makes one transcript of those of the pieces. Times are counted from the
// start of the whole. What two pieces both heard, where they overlap, is said
// once: by the times of the segments where those tell it, else by the words at the seam.
func Merge(spans []Span, pieces []Transcript) Transcript {
	whole := Transcript{Duration: spans[len(spans)-1].End}
	before := true // whether the text of the piece before is all that it heard
	for i, piece := range pieces {
		if whole.Language == "" {
			whole.Language = piece.Language
		}
		text, from, to := "", math.Inf(-1), math.Inf(1)
		if i > 0 {
			from = (spans[i].Start + spans[i-1].End) / 2
		}
		if i < len(spans)-1 {
			to = (spans[i+1].Start + spans[i].End) / 2
		}
		kept := 0
		for _, s := range piece.Segments {
			s = shift(s, spans[i].Start)
			if middle := (s.Start + s.End) / 2; middle < from || middle >= to {
				continue
			}
			kept++
			text = joined(text, s.Text)
			s.ID = len(whole.Segments)
			whole.Segments = append(whole.Segments, s)
		}
		all := kept == len(piece.Segments)
		if all {
			text = piece.Text
		}
		if all && before && i > 0 && spans[i].Start < spans[i-1].End {
			text = behindSeam(whole.Text, text)
		}
		before = all
		whole.Text = joined(whole.Text, text)
	}
	return whole
}

func shift(s Segment, by float64) Segment {
	s.Start, s.End = milli(s.Start+by), milli(s.End+by)
	s.Words = slices.Clone(s.Words)
	for i := range s.Words {
		s.Words[i].Start, s.Words[i].End = milli(s.Words[i].Start+by), milli(s.Words[i].End+by)
	}
	return s
}

// milli rounds to milliseconds, so that sums of times are read as times.
func milli(seconds float64) float64 { return math.Round(seconds*1000) / 1000 }

// longestSeam is how many letters two pieces may both have heard: some seconds of speech.
const longestSeam = 120

// behindSeam leaves out of the beginning of a text what stands at the end of the
// one before. Only letters and digits are compared, and less than three of them
// are no proof.
func behindSeam(before, text string) string {
	heard, said := letters(before), letters(text)
	for n := min(len(heard), len(said), longestSeam); n >= 3; n-- {
		if !slices.EqualFunc(heard[len(heard)-n:], said[:n], func(a, b letter) bool { return a.r == b.r }) {
			continue
		}
		cut := said[n-1].end
		// A word that only begins as the seam ends is kept whole.
		if n < len(said) && said[n].start == cut && isLatin(said[n].r) && isLatin(said[n-1].r) {
			continue
		}
		return strings.TrimLeftFunc(text[cut:], func(r rune) bool { return unicode.IsSpace(r) || unicode.IsPunct(r) })
	}
	return text
}

// letter is a letter or digit in lower case, and where it stands.
type letter struct {
	r          rune
	start, end int
}

func letters(text string) []letter {
	var all []letter
	for i, r := range text {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			all = append(all, letter{unicode.ToLower(r), i, i + len(string(r))})
		}
	}
	return all
}

// isLatin reports whether words of this letter are parted by spaces, as far as we care.
func isLatin(r rune) bool { return r < 0x2E80 }

// joined puts two texts together, with a space unless the script has none.
func joined(a, b string) string {
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	if a == "" || b == "" {
		return a + b
	}
	last, first := []rune(a), []rune(b)
	if !isLatin(last[len(last)-1]) && !isLatin(first[0]) {
		return a + b
	}
	return a + " " + b
}
