package speech_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/speech/speechtest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

const digits = "one two three four"

func TestTranscribingCanary(t *testing.T) {
	canary := runbooks.Canary{Timeout: runbooks.Duration(time.Minute), Transcribe: &runbooks.Transcribe{Audio: "s3://models/digits.wav", Expect: digits, MaxWER: 0.25}}
	audio := speech.Audio{Name: "s3://models/digits.wav", Bytes: speechtest.Tone()}
	for _, tt := range []struct {
		name   string
		url    string
		audio  speech.Audio
		hastes bool
		want   runbooks.Finding
		says   string
	}{
		{name: "right", url: says(t, 200, `{"text":"One, two, three, four."}`), audio: audio, want: runbooks.Answers, says: `heard "One, two, three, four."`},
		{name: "right enough", url: says(t, 200, `{"text":"one two three for"}`), audio: audio, want: runbooks.Answers},
		{name: "wrong", url: says(t, 200, `{"text":"one two"}`), audio: audio, want: runbooks.Incorrect, says: `expected "one two three four", heard "one two", word error rate 0.5 > 0.25`},
		{name: "hears nothing", url: says(t, 200, `{"text":""}`), audio: audio, want: runbooks.Incorrect, says: `heard ""`},
		{name: "fails", url: says(t, 500, `{"detail":"CUDA out of memory"}`), audio: audio, want: runbooks.Errors, says: "CUDA out of memory"},
		{name: "refuses the audio", url: says(t, 400, `{"detail":"bad audio"}`), audio: audio, want: runbooks.Errors, says: "bad audio"},
		{name: "dies of it", url: does(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), audio: audio, want: runbooks.Errors, says: "went away"},
		{name: "is mute", url: does(t, hangs), audio: audio, hastes: true, want: runbooks.Silent, says: "no answer in time"},
		{name: "refuses", url: "http://" + harness.Address(harness.FreePort()), audio: audio, want: runbooks.Refuses, says: "refused"},
		{name: "no audio", url: says(t, 200, `{"text":"one two three four"}`), want: runbooks.Blind, says: "s3://models/digits.wav is missing"},
		{name: "no URL", url: "nowhere", audio: audio, want: runbooks.Blind, says: "not usable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := canary
			if tt.hastes {
				c.Timeout = runbooks.Duration(100 * time.Millisecond)
			}
			got := speech.NewCanaryRunner(speech.NewClient()).Run(t.Context(), speech.CanaryRequest{Canary: c, URL: tt.url, Audio: tt.audio})
			expect(t, got, tt.want, tt.says)
		})
	}
}

func TestSynthesizingCanary(t *testing.T) {
	tone, silence := string(speechtest.Tone()), string(speechtest.Silence())
	for _, tt := range []struct {
		name, answer string
		status       int
		minimum      float64
		listener     string // its answer; empty where nobody listens
		deaf         bool   // the listener cannot be reached
		want         runbooks.Finding
		says         string
	}{
		{name: "speaks", answer: tone, minimum: 0.5, want: runbooks.Answers, says: "spoke for 1s"},
		{name: "too short", answer: tone, minimum: 2, want: runbooks.Incorrect, says: "expected at least 2s of sound, got 1s in 1s of audio"},
		{name: "silence", answer: silence, minimum: 0.5, want: runbooks.Incorrect, says: "got 0s in 1s"},
		{name: "silence, and no minimum", answer: silence, want: runbooks.Incorrect, says: "1s of silence"},
		{name: "broken audio", answer: tone[:30], want: runbooks.Incorrect, says: "no audio"},
		{name: "another format", answer: "ID3\x04\x00\x00", minimum: 1, want: runbooks.Answers, says: "6 bytes"},
		{name: "says what is wrong", answer: `{"error":"no such voice"}`, want: runbooks.Errors, says: "no such voice"},
		{name: "fails", answer: "oh no", status: 500, want: runbooks.Errors, says: "oh no"},
		{name: "is understood", answer: tone, listener: `{"text":"one two three four"}`, want: runbooks.Answers, says: `heard as "one two three four"`},
		{name: "is misunderstood", answer: tone, listener: `{"text":"la la la"}`, want: runbooks.Incorrect, says: `heard "la la la"`},
		{name: "nobody understands a word", answer: tone, listener: `{"text":""}`, want: runbooks.Incorrect, says: `heard ""`},
		{name: "the listener is down", answer: tone, deaf: true, want: runbooks.Blind, says: "nobody could listen"},
		{name: "the listener is down, and there is silence", answer: silence, deaf: true, want: runbooks.Incorrect, says: "silence"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &runbooks.Synthesize{Path: "/synthesize", JSON: map[string]any{"text": digits}, Audio: "body", MinSeconds: tt.minimum, Expect: digits}
			switch {
			case tt.deaf:
				s.TranscribeBack = "http://" + harness.Address(harness.FreePort())
			case tt.listener != "":
				s.TranscribeBack = says(t, 200, tt.listener)
			}
			url := does(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "audio/wav")
				w.WriteHeader(max(tt.status, 200))
				_, _ = io.WriteString(w, tt.answer)
			})
			got := speech.NewCanaryRunner(speech.NewClient()).Run(t.Context(), speech.CanaryRequest{
				Canary: runbooks.Canary{Timeout: runbooks.Duration(time.Minute), Synthesize: s}, URL: url,
			})
			expect(t, got, tt.want, tt.says)
		})
	}
}

func TestOurOwnEndIsBlind(t *testing.T) {
	run := func(ctx context.Context, url string) speech.Outcome {
		return speech.NewCanaryRunner(speech.NewClient()).Run(ctx, speech.CanaryRequest{
			Canary: runbooks.Canary{Transcribe: &runbooks.Transcribe{Expect: digits}}, URL: url, Audio: speech.Audio{Bytes: speechtest.Tone()},
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	expect(t, run(ctx, does(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		hangs(w, r)
	})), runbooks.Blind, "broken off")
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	expect(t, run(ctx, does(t, hangs)), runbooks.Blind, "broken off")
	got := speech.NewCanaryRunner(speech.NewClient()).Run(t.Context(), speech.CanaryRequest{URL: "http://127.0.0.1:1"})
	expect(t, got, runbooks.Blind, "neither transcribe nor synthesize")
}

func expect(t *testing.T, got speech.Outcome, want runbooks.Finding, says string) {
	t.Helper()
	if got.Finding != want || !strings.Contains(got.Detail, says) || strings.Contains(got.Detail, "\n") {
		t.Errorf("%q (%s), want %q with %q", got.Finding, got.Detail, want, says)
	}
}

func says(t *testing.T, status int, body string) string {
	return does(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func does(t *testing.T, do http.HandlerFunc) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		do(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
