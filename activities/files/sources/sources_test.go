package sources_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/files"
	"github.com/understudy-dr/understudy/activities/files/sources"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

// check reads each reference and compares the content, or the error where none is wanted.
func check(t *testing.T, opener files.Opener, wants map[string]any) {
	t.Helper()
	for ref, want := range wants {
		got, err := opener.Read(t.Context(), ref)
		switch want := want.(type) {
		case error:
			if !errors.Is(err, want) || got != nil {
				t.Errorf("%s: got %d bytes, %v; want %v", ref, len(got), err, want)
			}
		case string:
			if err != nil || string(got) != want {
				t.Errorf("%s: got %.40q, %v; want %.40q", ref, got, err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}

func TestPaths(t *testing.T) {
	dir := t.TempDir()
	path := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	largest := bytes.Repeat([]byte("x"), files.MaxSize)
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	check(t, sources.New(s3client.New(nil)), map[string]any{
		path("digits one?.wav", []byte("RIFF")): "RIFF",
		"digits one?.wav":                       "RIFF",
		"file://" + dir + "/digits one?.wav":    "RIFF",
		path("largest", largest):                string(largest),
		path("larger", append(largest, 'x')):    files.ErrTooLarge,
		path("empty", nil):                      files.ErrMissing,
		dir + "/absent":                         files.ErrMissing,
		dir:                                     files.ErrUnavailable,
		pipe:                                    files.ErrUnavailable,
		dir + "/digits one?.wav/below":          files.ErrUnavailable,
		"":                                      files.ErrMissing,
	})
	for _, ref := range []string{"ftp://host/x", "file://host/x", "s3://bucket", "s3://Bucket/key", "s3://bucket/../x", "http://[bad"} {
		if got, err := sources.New(s3client.New(nil)).Read(t.Context(), ref); err == nil || got != nil || errors.Is(err, files.ErrUnavailable) {
			t.Errorf("%s: got %q, %v; want an error of its own", ref, got, err)
		}
	}
}

func TestWebAddresses(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(fmt.Sprint(r.URL, r.Header), "hidden") {
			t.Errorf("another host was told our query: %v %v", r.URL, r.Header)
		}
		_, _ = io.WriteString(w, "from elsewhere")
	}))
	defer elsewhere.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer secure.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a b.wav":
			_, _ = io.WriteString(w, "RIFF")
		case "/moved":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/empty":
		case "/announced":
			w.Header().Set("Content-Length", "99999999999")
			w.WriteHeader(http.StatusOK)
		case "/endless":
			for block := make([]byte, 1<<20); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "part")
		case "/error":
			w.WriteHeader(http.StatusInternalServerError)
		case "/part":
			w.WriteHeader(http.StatusPartialContent)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	const query = "?signature=hidden"
	check(t, sources.New(s3client.New(nil)), map[string]any{
		server.URL + "/a%20b.wav" + query:  "RIFF",
		server.URL + "/moved" + query:      "from elsewhere",
		server.URL + "/loop" + query:       files.ErrUnavailable,
		server.URL + "/empty" + query:      files.ErrMissing,
		server.URL + "/absent" + query:     files.ErrMissing,
		server.URL + "/announced" + query:  files.ErrTooLarge,
		server.URL + "/endless" + query:    files.ErrTooLarge,
		server.URL + "/cut" + query:        files.ErrUnavailable,
		server.URL + "/error" + query:      files.ErrUnavailable,
		server.URL + "/part" + query:       files.ErrUnavailable,
		secure.URL + "/x" + query:          files.ErrUnavailable,
		"http://127.0.0.1:1/x" + query:     files.ErrUnavailable,
		"http://user:hidden@127.0.0.1:1/x": files.ErrUnavailable,
	})
}

func TestObjects(t *testing.T) {
	server := harnesstest.MinIO(t, "models")
	client, err := server.Clients().For("models")
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string, content []byte) {
		_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("models"), Key: aws.String(key), Body: bytes.NewReader(content)})
		if err != nil {
			t.Fatal(err)
		}
	}
	largest := bytes.Repeat([]byte("x"), files.MaxSize)
	put("canary/digits.wav", []byte("RIFF"))
	put("canary/语音 1?#%20.wav", []byte("RIFF 1"))
	put("largest", largest)
	put("larger", append(largest, 'x'))
	put("empty", nil)
	opener := sources.New(server.Clients())
	check(t, opener, map[string]any{
		"s3://models/canary/digits.wav":         "RIFF",
		"s3://models/canary/语音 1?#%20.wav":      "RIFF 1",
		"s3://models/largest":                   string(largest),
		"s3://models/larger":                    files.ErrTooLarge,
		"s3://models/empty":                     files.ErrMissing,
		"s3://models/canary/absent.wav":         files.ErrMissing,
		"s3://no-such-bucket/canary/digits.wav": files.ErrUnavailable,
	})

	if err := server.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := opener.Read(ctx, "s3://models/canary/digits.wav"); !errors.Is(err, files.ErrUnavailable) {
		t.Errorf("a hanging store: %v", err)
	}
	server.Thaw()
	check(t, opener, map[string]any{"s3://models/canary/digits.wav": "RIFF"})
}
