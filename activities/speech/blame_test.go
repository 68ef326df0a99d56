package speech_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/speech/speechtest"
	"github.com/understudy-dr/understudy/tests/harness"
)

func TestBlame(t *testing.T) {
	request := speech.TranscribeRequest{Audio: speech.Audio{Name: "a.wav", Bytes: speechtest.Tone()}, Timeout: time.Minute}
	at := func(url string) error {
		r := request
		r.URL = url
		_, err := speech.NewClient().Transcribe(t.Context(), r)
		return err
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	broken := request
	broken.URL = says(t, 200, `{"text":"one"}`)
	_, brokeOff := speech.NewClient().Transcribe(over, broken)
	mute := request
	mute.URL, mute.Timeout = does(t, hangs), 100*time.Millisecond
	_, silent := speech.NewClient().Transcribe(t.Context(), mute)
	for _, tt := range []struct {
		name string
		err  error
		want speech.Blame
	}{
		{"an answer", at(says(t, 200, `{"text":"one"}`)), speech.Nobody},
		{"refused audio", at(says(t, 415, `{}`)), speech.TheItem},
		{"inference failed", at(says(t, 500, "Internal Server Error")), speech.Perhaps},
		{"a gateway saw the server break off", at(says(t, 502, "")), speech.Perhaps},
		{"a gateway waited for ever", at(says(t, 504, "")), speech.Perhaps},
		{"an answer that is no transcript", at(says(t, 200, `{"code":1}`)), speech.Perhaps},
		{"died of it", at(does(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })), speech.Perhaps},
		{"fell silent", silent, speech.Perhaps},
		{"nobody there", at("http://" + harness.Address(harness.FreePort())), speech.TheService},
		{"no server behind the gateway", at(says(t, 503, "")), speech.TheService},
		{"full", at(says(t, 429, "")), speech.TheService},
		{"locked", at(says(t, 401, "")), speech.TheService},
		{"moved", at(says(t, 302, "")), speech.TheService},
		{"no URL", at("nowhere"), speech.TheService},
		{"we broke off", brokeOff, speech.Ourselves},
	} {
		if got := speech.BlameOf(tt.err); got != tt.want {
			t.Errorf("%s: %v is blamed as %d, want %d", tt.name, tt.err, got, tt.want)
		}
	}
}

// source is audio that is read from somewhere.
type source struct {
	io.Reader
	closed *bool
}

func (s source) Close() error { *s.closed = true; return nil }

func TestAudioIsStreamed(t *testing.T) {
	const size = 64 << 20
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || r.ContentLength != n || n < size {
			http.Error(w, "cut off", http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, `{"text":"one"}`)
	}))
	defer server.Close()
	closed := false
	audio := speech.Audio{Name: "a.wav", Size: size, Open: func() (io.ReadCloser, error) {
		return source{io.MultiReader(io.LimitReader(zeros{}, size), strings.NewReader("more than was promised")), &closed}, nil
	}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := speech.NewClient().Transcribe(t.Context(), speech.TranscribeRequest{URL: server.URL, Audio: audio})
	runtime.ReadMemStats(&after)
	if err != nil || got.Text != "one" || !closed {
		t.Errorf("%+v, %v, closed %v", got, err, closed)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > size/4 {
		t.Errorf("%d bytes of memory for %d of audio", used, size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAudioThatCannotBeReadIsOurFault(t *testing.T) {
	url := does(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"text":"one"}`)
	})
	disk := errors.New("input/output error")
	closed := false
	for name, open := range map[string]func() (io.ReadCloser, error){
		"does not open": func() (io.ReadCloser, error) { return nil, disk },
		"breaks": func() (io.ReadCloser, error) {
			return source{io.MultiReader(bytes.NewReader(make([]byte, 100)), failing{disk}), &closed}, nil
		},
		"ends early": func() (io.ReadCloser, error) { return source{strings.NewReader("short"), &closed}, nil },
	} {
		_, err := speech.NewClient().Transcribe(t.Context(), speech.TranscribeRequest{URL: url, Audio: speech.Audio{Size: 1 << 20, Open: open}})
		if !errors.Is(err, speech.ErrAudio) || errors.Is(err, speech.ErrServer) || errors.Is(err, speech.ErrGone) || speech.BlameOf(err) != speech.Perhaps {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestLimitFor(t *testing.T) {
	if got := speech.LimitFor(60, 4); got != 6*time.Minute {
		t.Error(got)
	}
}
