package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
)

// patience is far beyond what any answer takes.
const patience = 30 * time.Second

// reply is an answer of a server, or the error instead of one.
type reply struct {
	status int
	kind   string
	body   []byte
	err    error
}

func send(ctx context.Context, method, url, kind string, body []byte) reply {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	r.Header.Set("Content-Type", kind)
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, kind: resp.Header.Get("Content-Type"), body: text, err: err}
}

func get(t *testing.T, url string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return send(ctx, http.MethodGet, url, "", nil)
}

// mute says whether a server takes the connection and then does not answer for a while.
func mute(t *testing.T, url string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	err := send(ctx, http.MethodGet, url, "", nil).err
	conn, dialed := net.Dial("tcp", url[len("http://"):len("http://127.0.0.1:12345")])
	if dialed != nil {
		t.Fatalf("it does not even take connections: %v", dialed)
	}
	conn.Close()
	return errors.Is(err, context.DeadlineExceeded)
}

// upload posts a file and fields as a form; a file without a name is left out.
func upload(t *testing.T, url, file string, content []byte, fields ...string) reply {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if file != "" {
		part, err := w.CreateFormFile("file", file)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = part.Write(content)
	}
	for i := 0; i < len(fields); i += 2 {
		_ = w.WriteField(fields[i], fields[i+1])
	}
	_ = w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return send(ctx, http.MethodPost, url, w.FormDataContentType(), form.Bytes())
}

// want fails the test unless the reply has the status; it reads the JSON of the reply into the value.
func want(t *testing.T, r reply, status int, into any) {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	if r.status != status {
		t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
}

// text is what a server hears in a recording.
func text(t *testing.T, site *harness.Site, content []byte) string {
	t.Helper()
	var heard struct{ Text string }
	want(t, upload(t, site.URL+"/v1/audio/transcriptions", "audio.wav", content), http.StatusOK, &heard)
	return heard.Text
}

func say(t *testing.T, words string) audio.Clip {
	t.Helper()
	clip, err := audio.Say(t.Context(), words)
	if err != nil {
		t.Fatal(err)
	}
	return clip
}

func decode(t *testing.T, wav []byte) audio.Clip {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audio")
	if err := os.WriteFile(path, wav, 0o644); err != nil {
		t.Fatal(err)
	}
	clip, err := audio.Decode(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return clip
}

func inFlight(t *testing.T, site *harness.Site, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		stats, err := site.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if stats.InFlight == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, want %d in flight", stats, n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
