package jobs

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/understudy-dr/understudy/activities/speech"
)

// Codes of failures.
const (
	// CodeRefused is an item that the service refuses.
	CodeRefused = "refused"
	// CodeAudio is audio that is missing, empty, too large or no audio.
	CodeAudio = "audio"
	// CodeTorn is an item under whose key lies something that is no result of it.
	CodeTorn = "torn"
	// CodeQuarantined is an item that was tried too often.
	CodeQuarantined = "quarantined"
)

// Result is the outcome of an item: a line of the shape that OpenAI's batches
// have, with what is needed to judge it beside.
type Result struct {
	ID string `json:"id"`
	// CustomID is the number of the item in nine digits.
	CustomID string    `json:"custom_id"`
	Response *Response `json:"response"`
	Error    *Failure  `json:"error"`

	Job  string `json:"job"`
	Item int64  `json:"item"`
	// AudioPath is audio_filepath of the manifest.
	AudioPath string `json:"audio_filepath"`
	// Seconds is duration of the manifest.
	Seconds  float64 `json:"audio_seconds"`
	Revision string  `json:"model_revision"`
	Epoch    int64   `json:"epoch"`
	Session  string  `json:"session"`
	Holder   string  `json:"holder"`
	// Attempts that failed before.
	Attempts int `json:"failed_attempts,omitempty"`
	// Parts is into how many pieces the audio was cut; 0 where it was sent whole.
	Parts int       `json:"parts,omitempty"`
	At    time.Time `json:"at"`
}

// Response is what the service said.
type Response struct {
	Status    int    `json:"status_code"`
	RequestID string `json:"request_id"`
	Body      Body   `json:"body"`
}

// Body is a transcript in the form verbose_json.
type Body struct {
	Task     string  `json:"task"`
	Language string  `json:"language,omitempty"`
	Duration float64 `json:"duration"`
	// Text is a pointer so that a body without one is seen.
	Text     *string          `json:"text"`
	Segments []speech.Segment `json:"segments"`
}

// Failure says why there is no transcript.
type Failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Key and Tag are those of the object which lies in the way, with the code torn.
	Key string `json:"key,omitempty"`
	Tag string `json:"tag,omitempty"`
}

// bodyOf puts a transcript into a body.
func bodyOf(t speech.Transcript, seconds float64) Body {
	b := Body{Task: "transcribe", Language: t.Language, Duration: t.Duration, Text: &t.Text, Segments: t.Segments}
	if b.Duration == 0 {
		b.Duration = seconds
	}
	if b.Segments == nil {
		b.Segments = []speech.Segment{}
	}
	return b
}

// transcript is the body as a transcript.
func (b Body) transcript() speech.Transcript {
	return speech.Transcript{Text: *b.Text, Language: b.Language, Duration: b.Duration, Segments: b.Segments}
}

// newResult is a line about an item, without its outcome.
func newResult(j Job, v Variant, item Item, h Head) Result {
	return Result{
		ID: v.ID + "/" + number(item.Index), CustomID: number(item.Index),
		Job: j.ID, Item: item.Index, AudioPath: item.AudioPath, Seconds: item.Seconds, Revision: v.Revision,
		Epoch: h.Epoch, Session: h.Session, Holder: h.Holder, At: time.Now().UTC().Truncate(time.Millisecond),
	}
}

// parseResult reads a result and holds it against the item whose key it has. What
// is not whole, or speaks of another job, item, audio or model, is torn.
func parseResult(j Job, v Variant, item Item, key string, content []byte) (Result, error) {
	var r Result
	if len(content) == 0 {
		return Result{}, torn(key, "it is empty")
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&r); err != nil || decoder.More() {
		return Result{}, torn(key, "it is no JSON object, or cut off, after %d bytes", len(content))
	}
	switch {
	case r.Job != j.ID || r.Item != item.Index || r.CustomID != number(item.Index):
		return Result{}, torn(key, "it is about item %q of job %q", r.CustomID, r.Job)
	case r.AudioPath != item.AudioPath:
		return Result{}, torn(key, "it is about the audio %.100q", r.AudioPath)
	case r.Revision != v.Revision:
		return Result{}, torn(key, "it was made by model %.100q, not %q", r.Revision, v.Revision)
	case r.Error != nil || r.Response == nil || r.Response.Status/100 != 2 || r.Response.Body.Text == nil:
		return Result{}, torn(key, "it holds no transcript")
	}
	return r, nil
}
