// Package speechtest is what every client of speech services must do, shown on
// servers with the quirks of those in the field: each answers as its original
// does, in the forms that their sources and documentation show.
package speechtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/tests/harness"
)

// Run holds a client against the contract.
func Run(t *testing.T, newClient func(t *testing.T) speech.Client) {
	t.Run("answers of the field", func(t *testing.T) { answers(t, newClient(t)) })
	t.Run("refusals of the field", func(t *testing.T) { refusals(t, newClient(t)) })
	t.Run("requests", func(t *testing.T) { requests(t, newClient(t)) })
	t.Run("broken servers", func(t *testing.T) { broken(t, newClient(t)) })
	t.Run("synthesis", func(t *testing.T) { synthesis(t, newClient(t)) })
	t.Run("synthesis gone wrong", func(t *testing.T) { wrongSynthesis(t, newClient(t)) })
	t.Run("our own cancel", func(t *testing.T) { cancelled(t, newClient(t)) })
}

const jsonType, textType = "application/json", "text/plain; charset=utf-8"

func answers(t *testing.T, client speech.Client) {
	one := []speech.Segment{{Start: 0, End: 5.15, Text: "one two"}}
	spoken := []speech.Segment{{Start: 0, End: 5.15, Text: "one two", Words: []speech.Word{{Word: "one", End: 1}}, Speaker: "SPK0"}}
	for _, tt := range []struct {
		server, contentType, body string
		want                      speech.Transcript
	}{
		{"OpenAI verbose_json", jsonType,
			`{"task":"transcribe","language":"english","duration":5.17,"text":"one two","words":[{"word":"one","start":0,"end":1}],"segments":[{"id":0,"seek":0,"start":0,"end":5.15,"text":"one two","tokens":[1,2],"temperature":0}],"usage":{"type":"duration","seconds":6}}`,
			speech.Transcript{Text: "one two", Language: "english", Duration: 5.17, Segments: one}},
		{"OpenAI json", jsonType, `{"text":"one two","usage":{"type":"tokens","total_tokens":30}}`, speech.Transcript{Text: "one two"}},
		{"vLLM json", jsonType, `{"text":" one two","usage":{"type":"duration","seconds":6}}`, speech.Transcript{Text: "one two", Duration: 6}},
		{"vLLM verbose_json, whose duration is a string", jsonType,
			`{"duration":"5.17","language":"en","text":"one two","segments":[{"id":0,"avg_logprob":-0.1,"compression_ratio":1,"end":5.15,"no_speech_prob":null,"seek":0,"start":0,"temperature":0,"text":"one two","tokens":[]}],"words":null}`,
			speech.Transcript{Text: "one two", Language: "en", Duration: 5.17, Segments: one}},
		{"speaches text", textType, "one two\n", speech.Transcript{Text: "one two"}},
		{"speaches verbose_json", jsonType, `{"task":"transcribe","language":"en","duration":5.17,"text":"one two","words":null,"segments":null}`, speech.Transcript{Text: "one two", Language: "en", Duration: 5.17}},
		{"whisper.cpp json", jsonType, `{"text":" one two\n"}`, speech.Transcript{Text: "one two"}},
		{"LocalAI, which counts in nanoseconds", jsonType, `{"segments":[{"id":0,"start":0,"end":5150000000,"text":"one two","tokens":[1]}],"text":"one two"}`, speech.Transcript{Text: "one two", Segments: one}},
		{"funasr-server verbose_json", jsonType,
			`{"task":"transcribe","language":"unknown","duration":5.17,"text":"one two","segments":[{"id":0,"start":0.0,"end":5.15,"text":"one two","words":[{"word":"one","start":0,"end":1}],"speaker":"SPK0"}]}`,
			speech.Transcript{Text: "one two", Language: "unknown", Duration: 5.17, Segments: spoken}},
		{"funasr-server text, which is a JSON string", jsonType, `"one \"two\""`, speech.Transcript{Text: `one "two"`}},
		{"funasr-server /asr", jsonType, `{"task":"transcribe","duration":5.17,"text":"one two","segments":[],"processing_time":0.2,"rtf":0.04}`, speech.Transcript{Text: "one two", Duration: 5.17}},
		{"plain text that begins with a quotation mark", textType, `"one two`, speech.Transcript{Text: `"one two`}},
		{"silence", jsonType, `{"text":""}`, speech.Transcript{}},
		{"silence in plain text", textType, "\n", speech.Transcript{}},
		{"odd types", jsonType, `{"text":"one two","language":null,"duration":"soon","segments":[{"start":"0","end":"5.15","text":"one two"}],"usage":7}`, speech.Transcript{Text: "one two", Segments: one}},
		{"segments that cannot be read", jsonType, `{"text":"one two","segments":"none"}`, speech.Transcript{Text: "one two"}},
		{"Chinese", jsonType, `{"text":"欢迎使用","language":"zh"}`, speech.Transcript{Text: "欢迎使用", Language: "zh"}},
	} {
		got, err := client.Transcribe(t.Context(), ask(answering(t, 200, tt.contentType, tt.body).URL))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v", tt.server, got, err, tt.want)
		}
	}
}

func refusals(t *testing.T, client speech.Client) {
	for _, tt := range []struct {
		server, contentType, body string
		status                    int
		want                      error
		says                      string
	}{
		{"OpenAI", jsonType, `{"error":{"message":"Invalid file format.","type":"invalid_request_error","param":null,"code":null}}`, 400, speech.ErrItem, "HTTP 400: Invalid file format."},
		{"whisper.cpp", jsonType, `{"error":"no 'file' field in the request"}`, 400, speech.ErrItem, "HTTP 400: no 'file' field"},
		{"funasr-server, unknown model", jsonType, `{"detail":"Unknown model: x"}`, 400, speech.ErrItem, "Unknown model: x"},
		{"FastAPI, a field is missing", jsonType, `{"detail":[{"type":"missing","loc":["body","file"],"msg":"Field required","input":null}]}`, 422, speech.ErrItem, "body.file: Field required"},
		{"speaches, model not installed", jsonType, `{"detail":"Model 'x' is not installed locally."}`, 404, speech.ErrItem, "not installed"},
		{"too large", "text/html", "<html><h1>413 Request Entity Too Large</h1></html>", 413, speech.ErrItem, "HTTP 413"},
		{"unsupported", jsonType, `{}`, 415, speech.ErrItem, "HTTP 415"},
		{"vLLM, engine dead", jsonType, `{"object":"error","message":"EngineCore encountered an issue.","code":500}`, 500, speech.ErrServer, "EngineCore"},
		{"funasr-server, inference failed", textType, "Internal Server Error", 500, speech.ErrServer, "HTTP 500: Internal Server Error"},
		{"gateway", "text/html", "<html>\x00\x1b[31m\n502</html>", 502, speech.ErrServer, "HTTP 502"},
		{"loading", jsonType, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, 503, speech.ErrServer, "Loading model"},
		{"request timeout", textType, "", 408, speech.ErrServer, "HTTP 408"},
		{"too early", textType, "", 425, speech.ErrServer, "HTTP 425"},
		{"too many", jsonType, `{"error":"slow down"}`, 429, speech.ErrServer, "slow down"},
		{"client left", textType, "", 499, speech.ErrServer, "HTTP 499"},
		{"unauthorized", textType, "who are you", 401, speech.ErrServer, "who are you"},
		{"redirect", textType, "", 307, speech.ErrServer, "HTTP 307"},
		{"200 and an error", jsonType, `{"error":"CUDA out of memory"}`, 200, speech.ErrServer, "CUDA out of memory"},
		{"200 and a code", jsonType, `{"code":1,"msg":"no audio"}`, 200, speech.ErrServer, "no audio"},
		{"200 and null", jsonType, "null", 200, speech.ErrServer, "null"},
		{"200 and nothing", jsonType, "", 200, speech.ErrServer, "empty"},
		{"200 and a list", jsonType, `["one"]`, 200, speech.ErrServer, "one"},
		{"200 and half an object", jsonType, `{"text":"one tw`, 200, speech.ErrServer, "one tw"},
		{"200 and a text that is none", jsonType, `{"text":17}`, 200, speech.ErrServer, "17"},
		{"200 and a page", "text/html", "<!doctype html><title>Log in</title>", 200, speech.ErrServer, "Log in"},
		{"200 and a page that is called text", textType, "<html>Log in</html>", 200, speech.ErrServer, "Log in"},
		{"200 and no text", textType, "\xff\xfe\x00", 200, speech.ErrServer, "no text"},
	} {
		_, err := client.Transcribe(t.Context(), ask(answering(t, tt.status, tt.contentType, tt.body).URL))
		check(t, tt.server, err, tt.want, tt.says)
	}
}

func requests(t *testing.T, client speech.Client) {
	audio := bytes.Repeat([]byte("\r\n--not a boundary\x00\xff"), 200_000) // 4 MB
	for _, tt := range []struct {
		name           string
		request        speech.TranscribeRequest
		path           string
		form           map[string]string
		fileName, kind string
	}{
		{"openai", speech.TranscribeRequest{Dialect: "openai", Model: "fun-asr-nano", Language: "zh", Hotwords: []string{"not for this dialect"}, Audio: speech.Audio{Name: "s3://models/canary/digits.wav"}},
			"/v1/audio/transcriptions", map[string]string{"model": "fun-asr-nano", "language": "zh", "response_format": "verbose_json"}, "digits.wav", "audio/wav"},
		{"no dialect", speech.TranscribeRequest{Audio: speech.Audio{Name: "a.MP3"}},
			"/v1/audio/transcriptions", map[string]string{"response_format": "verbose_json"}, "a.MP3", "audio/mpeg"},
		{"funasr", speech.TranscribeRequest{Dialect: "funasr", Language: "zh", Hotwords: []string{"阿里巴巴", "one, two", "", "three\nfour"}, Audio: speech.Audio{Name: "x.flac"}},
			"/asr", map[string]string{"language": "zh", "hotwords": "阿里巴巴,one two,three four"}, "x.flac", "audio/flac"},
		{"another path", speech.TranscribeRequest{Path: "/inference?fast=1"}, "/inference?fast=1", map[string]string{"response_format": "verbose_json"}, "audio.wav", "audio/wav"},
		{"hostile name", speech.TranscribeRequest{Audio: speech.Audio{Name: "a\";\r\nX-Evil: 1\r\n\r\n语音.xyz"}}, "/v1/audio/transcriptions", map[string]string{"response_format": "verbose_json"}, "a____X-Evil__1______.xyz", "application/octet-stream"},
	} {
		s := answering(t, 200, jsonType, `{"text":"one"}`)
		tt.request.URL, tt.request.Timeout, tt.request.TraceParent = s.URL+"/", time.Minute, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		tt.request.Audio.Bytes = audio
		if _, err := client.Transcribe(t.Context(), tt.request); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if s.got().path != tt.path || !reflect.DeepEqual(s.got().form, tt.form) || s.got().fileName != tt.fileName || s.got().kind != tt.kind {
			t.Errorf("%s: the server got %s %v %q %q", tt.name, s.got().path, s.got().form, s.got().fileName, s.got().kind)
		}
		if !bytes.Equal(s.got().file, audio) || s.got().length < int64(len(audio)) || s.got().traceParent != tt.request.TraceParent {
			t.Errorf("%s: %d bytes arrived in %d, trace %q", tt.name, len(s.got().file), s.got().length, s.got().traceParent)
		}
	}
}

func broken(t *testing.T, client speech.Client) {
	drop := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, tt := range []struct {
		name   string
		url    string
		want   error
		says   string
		hastes bool
	}{
		{name: "nobody there", url: "http://" + harness.Address(harness.FreePort()), want: speech.ErrGone, says: "refused"},
		{name: "dies of it", url: handling(t, drop).URL, want: speech.ErrGone},
		{name: "dies in its answer", url: handling(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"text":"one`)
			panic(http.ErrAbortHandler)
		}).URL, want: speech.ErrGone},
		{name: "never answers", url: handling(t, hang).URL, want: speech.ErrMute, hastes: true},
		{name: "never ends", url: handling(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"text":"`)
			_ = http.NewResponseController(w).Flush()
			hang(w, r)
		}).URL, want: speech.ErrMute, hastes: true},
		{name: "answers without end", url: handling(t, pour).URL, want: speech.ErrServer, says: "16 MiB"},
		{name: "headers without end", url: handling(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		}).URL, want: speech.ErrServer},
		{name: "no URL", url: "127.0.0.1:80", want: speech.ErrServer, says: "not usable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, say := ask(tt.url), speak(tt.url, "body")
			if tt.hastes {
				r.Timeout, say.Timeout = 100*time.Millisecond, 100*time.Millisecond
			}
			_, err := client.Transcribe(t.Context(), r)
			check(t, "transcribe", err, tt.want, tt.says)
			_, err = client.Synthesize(t.Context(), say)
			check(t, "synthesize", err, tt.want, tt.says)
		})
	}
}

func cancelled(t *testing.T, client speech.Client) {
	ctx, cancel := context.WithCancel(t.Context())
	s := handling(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		hang(w, r)
	})
	if _, err := client.Transcribe(ctx, ask(s.URL)); !errors.Is(err, context.Canceled) || errors.Is(err, speech.ErrItem) || errors.Is(err, speech.ErrGone) {
		t.Errorf("transcribe: %v", err)
	}
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func pour(w http.ResponseWriter, _ *http.Request) {
	for block := bytes.Repeat([]byte("語"), 1<<16); ; {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

func ask(url string) speech.TranscribeRequest {
	return speech.TranscribeRequest{URL: url, Audio: speech.Audio{Name: "a.wav", Bytes: Tone()}, Timeout: time.Minute}
}

// check holds an error against its kind, and its text against what people can read.
func check(t *testing.T, name string, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want an error that is %q", name, err, want)
		return
	}
	if !strings.Contains(err.Error(), says) || strings.ContainsAny(err.Error(), "\x00\x1b\n") || len([]rune(err.Error())) > 500 {
		t.Errorf("%s: %q does not say %q readably", name, err, says)
	}
	for _, other := range []error{speech.ErrItem, speech.ErrServer, speech.ErrGone, speech.ErrMute} {
		if other != want && errors.Is(err, other) {
			t.Errorf("%s: %v is also %q", name, err, other)
		}
	}
}
