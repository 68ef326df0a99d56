package speech

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// nanoseconds tells times that are no seconds: nobody has audio of eleven days,
// and an old server counts in nanoseconds.
const nanoseconds = 1e6

// number is a JSON number, or one that a server wrote as a string.
type number float64

// UnmarshalJSON takes what is no number for zero: no transcript is lost over it.
func (n *number) UnmarshalJSON(raw []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		f = 0
	}
	*n = number(f)
	return nil
}

// parseTranscript reads what servers answer: an object with the text, the text
// as a JSON string, or the text itself.
func parseTranscript(said answer) (Transcript, error) {
	body := bytes.TrimSpace(said.body)
	var text string
	switch {
	case len(body) == 0 && said.contentType != "application/json":
		return Transcript{}, nil // the plain text of silence
	case len(body) == 0:
		return Transcript{}, fmt.Errorf("%w: its answer is empty", ErrServer)
	case !utf8.Valid(body):
		return Transcript{}, fmt.Errorf("%w: its answer is no text", ErrServer)
	case body[0] == '{':
		return parseObject(body)
	case body[0] == '"' && json.Unmarshal(body, &text) == nil:
		return Transcript{Text: strings.TrimSpace(text)}, nil
	case said.contentType == "application/json" || bytes.Equal(body, []byte("null")):
		return Transcript{}, fmt.Errorf("%w: its answer is no transcript: %s", ErrServer, quote(string(body)))
	case said.contentType == "text/html" || body[0] == '<':
		return Transcript{}, fmt.Errorf("%w: it answers with a page instead of a transcript: %s", ErrServer, quote(string(body)))
	default:
		return Transcript{Text: string(body)}, nil
	}
}

// parseObject reads the JSON form, in which everything but the text may be missing.
func parseObject(body []byte) (Transcript, error) {
	var said struct {
		Text     *string         `json:"text"`
		Error    json.RawMessage `json:"error"`
		Language json.RawMessage `json:"language"`
		Duration number          `json:"duration"`
		Usage    json.RawMessage `json:"usage"`
		Segments json.RawMessage `json:"segments"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return Transcript{}, fmt.Errorf("%w: its answer is cut off or no JSON: %s", ErrServer, quote(string(body)))
	}
	if said.Text == nil {
		return Transcript{}, fmt.Errorf("%w: it answers without a text: %s", ErrServer, complaint(body))
	}
	t := Transcript{Text: strings.TrimSpace(*said.Text), Duration: float64(said.Duration)}
	_ = json.Unmarshal(said.Language, &t.Language) // no language is an empty one
	if t.Duration == 0 {
		var usage struct {
			Seconds number `json:"seconds"`
		}
		_ = json.Unmarshal(said.Usage, &usage) // nor is it needed
		t.Duration = float64(usage.Seconds)
	}
	t.Segments = parseSegments(said.Segments)
	return t, nil
}

// parseSegments reads segments; those that cannot be read are left out, all of them.
func parseSegments(raw json.RawMessage) []Segment {
	var said []struct {
		Start   number          `json:"start"`
		End     number          `json:"end"`
		Text    string          `json:"text"`
		Words   json.RawMessage `json:"words"`
		Speaker json.RawMessage `json:"speaker"`
	}
	if json.Unmarshal(raw, &said) != nil {
		return nil
	}
	unit := 1.0
	for _, s := range said {
		if s.End > nanoseconds {
			unit = 1e9
		}
	}
	var segments []Segment
	for i, s := range said {
		segment := Segment{ID: i, Start: float64(s.Start) / unit, End: float64(s.End) / unit, Text: s.Text, Words: parseWords(s.Words, unit)}
		_ = json.Unmarshal(s.Speaker, &segment.Speaker) // no speaker is an empty one
		segments = append(segments, segment)
	}
	return segments
}

// parseWords reads the words of a segment; none is fine.
func parseWords(raw json.RawMessage, unit float64) []Word {
	var said []struct {
		Word  string `json:"word"`
		Start number `json:"start"`
		End   number `json:"end"`
	}
	if json.Unmarshal(raw, &said) != nil {
		return nil
	}
	var words []Word
	for _, s := range said {
		words = append(words, Word{Word: s.Word, Start: float64(s.Start) / unit, End: float64(s.End) / unit})
	}
	return words
}
