package speechtest

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/runbooks"
)

func speak(url, audio string) speech.SynthesizeRequest {
	return speech.SynthesizeRequest{URL: url, Timeout: time.Minute, Say: runbooks.Synthesize{
		Path: "/synthesize", JSON: map[string]any{"text": "欢迎使用", "speed": 1.0}, Audio: audio,
	}}
}

func synthesis(t *testing.T, client speech.Client) {
	tone := Tone()
	raw := base64.RawURLEncoding.EncodeToString(tone)
	for _, tt := range []struct{ name, where, contentType, body string }{
		{"the answer is the audio", "body", "audio/wav", string(tone)},
		{"the usual place", "", "application/octet-stream", string(tone)},
		{"base64", "json:audio", jsonType, inJSON("audio", tone)},
		{"base64 of another variety, in lines", "json:audio", jsonType, `{"audio":"` + raw[:76] + `\n` + raw[76:] + `"}`},
		{"a data URL", "json:audio", jsonType, `{"audio":"data:audio/wav;base64,` + base64.StdEncoding.EncodeToString(tone) + `"}`},
		{"within an object", "json:data.audio", jsonType, `{"data":` + inJSON("audio", tone) + `}`},
		{"a field with a dot", "json:data.audio", jsonType, inJSON("data.audio", tone)},
		{"a data URL where a URL was promised", "url:audio", jsonType, `{"audio":"data:audio/wav;base64,` + base64.StdEncoding.EncodeToString(tone) + `"}`},
	} {
		s := answering(t, 200, tt.contentType, tt.body)
		got, err := client.Synthesize(t.Context(), speak(s.URL, tt.where))
		if err != nil || !bytes.Equal(got.Bytes, tone) || got.Name != "speech.wav" {
			t.Errorf("%s: %q with %d bytes, %v", tt.name, got.Name, len(got.Bytes), err)
		}
		if s.got().path != "/synthesize" || !reflect.DeepEqual(s.got().json, map[string]any{"text": "欢迎使用", "speed": 1.0}) {
			t.Errorf("%s: the server got %s %v", tt.name, s.got().path, s.got().json)
		}
	}
	for _, link := range []string{"/files/1.wav?x=1", "files/1.wav?x=1", "{base}/files/1.wav?x=1"} {
		var s *server
		s = handling(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.URL.RequestURI() == "/files/1.wav?x=1" {
				_, _ = w.Write(tone)
				return
			}
			_, _ = w.Write([]byte(`{"url":"` + strings.Replace(link, "{base}", s.URL, 1) + `"}`))
		})
		if got, err := client.Synthesize(t.Context(), speak(s.URL, "url:url")); err != nil || !bytes.Equal(got.Bytes, tone) {
			t.Errorf("by URL %s: %d bytes, %v", link, len(got.Bytes), err)
		}
	}
}

func wrongSynthesis(t *testing.T, client speech.Client) {
	elsewhere := handling(t, func(http.ResponseWriter, *http.Request) { t.Error("the client went elsewhere") })
	for _, tt := range []struct {
		name, where, contentType, body string
		status                         int
		want                           error
		says                           string
	}{
		{"200 and an error", "body", jsonType, `{"error":"CUDA out of memory"}`, 200, speech.ErrServer, "CUDA out of memory"},
		{"an error that is called audio", "body", "audio/wav", `{"error":"CUDA out of memory"}`, 200, speech.ErrServer, "CUDA out of memory"},
		{"a page", "body", "text/html", "<html>Log in", 200, speech.ErrServer, "Log in"},
		{"text too long", "body", jsonType, `{"error":"at most 500 characters"}`, 400, speech.ErrItem, "500 characters"},
		{"no such field", "json:audio", jsonType, `{"error":"emotion unknown"}`, 200, speech.ErrServer, "emotion unknown"},
		{"no text in the field", "json:audio", jsonType, `{"audio":7}`, 200, speech.ErrServer, `no text "audio"`},
		{"nothing in the field", "json:audio", jsonType, `{"audio":""}`, 200, speech.ErrServer, `no text "audio"`},
		{"no base64", "json:audio", jsonType, `{"audio":"$$$"}`, 200, speech.ErrServer, "not base64"},
		{"no JSON", "json:audio", "audio/wav", string(Tone()), 200, speech.ErrServer, "no JSON object"},
		{"another host", "url:url", jsonType, `{"url":"` + elsewhere.URL + `/1.wav"}`, 200, speech.ErrServer, "elsewhere"},
		{"another host without a scheme", "url:url", jsonType, `{"url":"//127.0.0.9/1.wav"}`, 200, speech.ErrServer, "elsewhere"},
		{"a file of ours", "url:url", jsonType, `{"url":"file:///etc/passwd"}`, 200, speech.ErrServer, "elsewhere"},
		{"a URL that is none", "url:url", jsonType, `{"url":"http://[::1"}`, 200, speech.ErrServer, "elsewhere"},
	} {
		_, err := client.Synthesize(t.Context(), speak(answering(t, tt.status, tt.contentType, tt.body).URL, tt.where))
		check(t, tt.name, err, tt.want, tt.says)
	}
	// The link is fine, what lies there is not.
	for says, there := range map[string]http.HandlerFunc{
		"HTTP 404": http.NotFound,
		"HTTP 302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"empty":    func(http.ResponseWriter, *http.Request) {},
		"16 MiB":   pour,
	} {
		s := handling(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				there(w, r)
				return
			}
			_, _ = w.Write([]byte(`{"url":"/1.wav"}`))
		})
		want := speech.ErrServer
		if says == "HTTP 404" {
			want = speech.ErrItem
		}
		_, err := client.Synthesize(t.Context(), speak(s.URL, "url:url"))
		check(t, "by URL", err, want, says)
	}
}
