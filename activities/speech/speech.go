// Package speech talks to speech services: it transcribes audio, synthesizes
// text, and judges the answers as canaries.
//
// There are no implementations beside this package: the dialects of the field
// are one protocol with variations, and the client accepts them all.
package speech

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

var (
	// ErrItem means that this audio or text will never succeed: malformed, refused by the server (400, 404, 413, 415, 422).
	ErrItem = errors.New("the server refuses this item")
	// ErrServer means that the server failed and another try may succeed (408, 425, 429, 5xx), or that something
	// other than this item stands in the way: a login, a redirect, an answer that is no transcript, a wrong URL.
	ErrServer = errors.New("the server failed")
	// ErrGone means that the connection was refused or broke off: the server may have died of it.
	ErrGone = errors.New("the server went away")
	// ErrMute means that no answer came in time.
	ErrMute = errors.New("no answer in time")
	// ErrAudio means that our own audio could not be read to its end. No server is to blame.
	ErrAudio = errors.New("the audio could not be read")
)

// Audio is a piece of audio with the name of its file, whose extension tells
// servers the format.
type Audio struct {
	Name  string
	Bytes []byte
	// Open, where given, takes the place of Bytes: it opens the audio, of Size bytes, which is then sent as it is read
	// and never held in memory as a whole. Servers are told the size beforehand, so it must be right.
	Open func() (io.ReadCloser, error)
	Size int64
}

// TranscribeRequest asks for the words of an audio.
type TranscribeRequest struct {
	// URL is the base URL of the service.
	URL string
	// Dialect is openai (POST /v1/audio/transcriptions) or funasr (POST /asr). Path, where given, replaces its path.
	Dialect, Path   string
	Model, Language string
	Hotwords        []string
	Audio           Audio
	// Timeout bounds the whole request.
	Timeout time.Duration
	// TraceParent is sent as the W3C header of that name; empty sends none.
	TraceParent string
}

// Transcript is what a service heard.
type Transcript struct {
	Text     string `json:"text"`
	Language string `json:"language,omitempty"`
	// Duration of the audio in seconds; 0 where the service does not say.
	Duration float64   `json:"duration,omitempty"`
	Segments []Segment `json:"segments,omitempty"`
}

// Segment is a part of a transcript; times in seconds from the start.
type Segment struct {
	ID    int     `json:"id"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
	Text  string  `json:"text"`
	// Words and Speaker are there where the service tells them.
	Words   []Word `json:"words,omitempty"`
	Speaker string `json:"speaker,omitempty"`
}

// Word is a word of a segment; times in seconds from the start of the audio.
type Word struct {
	Word  string  `json:"word"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
}

// SynthesizeRequest asks for the sound of a text.
type SynthesizeRequest struct {
	// URL is the base URL of the service.
	URL string
	// Say is the runbook's description of the request and of where the audio is in the answer.
	Say runbooks.Synthesize
	// Timeout bounds the whole request.
	Timeout time.Duration
	// TraceParent is sent as the W3C header of that name; empty sends none.
	TraceParent string
}

// Client talks to speech services. Each call is one request (or two, where the
// audio comes by URL), never retried here. Errors wrap exactly one of the
// sentinels, with the cause in their chain and at most 200 characters of what the
// server said.
type Client interface {
	// Transcribe sends audio and returns the words.
	Transcribe(ctx context.Context, r TranscribeRequest) (Transcript, error)
	// Synthesize sends text and returns the audio.
	Synthesize(ctx context.Context, r SynthesizeRequest) (Audio, error)
}
