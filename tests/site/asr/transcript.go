package asr

import (
	"math"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/tests/site/sphinx"
)

// wrongText is what a server says whose model is wrong.
const wrongText = "the quick question is not about the weather"

// transcript is the answer verbose_json; the answer json is its text alone.
type transcript struct {
	Task     string    `json:"task"`
	Language string    `json:"language"`
	Duration float64   `json:"duration"`
	Text     string    `json:"text"`
	Segments []segment `json:"segments"`
}

// segment is an utterance between two pauses; times in seconds.
type segment struct {
	ID    int           `json:"id"`
	Start float64       `json:"start"`
	End   float64       `json:"end"`
	Text  string        `json:"text"`
	Words []sphinx.Word `json:"words"`
}

// timed is the answer of /asr.
type timed struct {
	transcript
	// ProcessingTime is in seconds; RTF is that by the seconds of audio.
	ProcessingTime float64 `json:"processing_time"`
	RTF            float64 `json:"rtf"`
}

func newTranscript(utterances [][]sphinx.Word, length time.Duration) transcript {
	t := transcript{Task: "transcribe", Language: language, Duration: round(length.Seconds()), Segments: []segment{}}
	for i, words := range utterances {
		t.Segments = append(t.Segments, segment{
			ID: i, Start: words[0].Start, End: words[len(words)-1].End, Text: text(words), Words: words,
		})
	}
	t.Text = t.text()
	return t
}

func (t transcript) text() string {
	var texts []string
	for _, s := range t.Segments {
		texts = append(texts, s.Text)
	}
	return strings.Join(texts, " ")
}

// spoil is the answer of a wrong model.
func (t *transcript) spoil() {
	t.Text, t.Segments = wrongText, []segment{}
}

func text(words []sphinx.Word) string {
	var texts []string
	for _, w := range words {
		texts = append(texts, w.Word)
	}
	return strings.Join(texts, " ")
}

// round keeps milliseconds.
func round(seconds float64) float64 { return math.Round(seconds*1000) / 1000 }
