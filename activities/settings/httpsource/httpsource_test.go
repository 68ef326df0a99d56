package httpsource_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/activities/settings"
	"github.com/understudy-dr/understudy/activities/settings/httpsource"
	"github.com/understudy-dr/understudy/activities/settings/settingstest"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestSource(t *testing.T) {
	settingstest.Run(t, func(t *testing.T) settingstest.Fixture {
		server := startConsul(t)
		return settingstest.Fixture{
			Source: httpsource.New(),
			Ref: func(key string) runbooks.Source {
				return ref("http://" + server.address + "/v1/kv/" + url.PathEscape(key) + "?raw")
			},
			Put:      server.put,
			Delete:   server.delete,
			Stop:     server.freeze,
			Continue: server.thaw,
			Kill:     server.kill,
			Restart:  func() { server.start(t) },
		}
	})
}

func ref(url string) runbooks.Source { return runbooks.Source{Kind: settings.KindHTTP, URL: url} }

func TestHeadersAreSecretsByReference(t *testing.T) {
	server := startConsul(t)
	server.put("model/version", "2512.1")
	server.token = "consul-token"
	t.Setenv("UNDERSTUDY_TEST_TOKEN", "consul-token")
	source, in := httpsource.New(), ref("http://"+server.address+"/v1/kv/model/version?raw&dc=a")
	if _, err := source.Read(t.Context(), in); !errors.Is(err, settings.ErrUnavailable) || !strings.Contains(err.Error(), "403") {
		t.Errorf("without a token: %v", err)
	}
	in.Headers = map[string]runbooks.Secret{"X-Consul-Token": {Env: "UNDERSTUDY_TEST_TOKEN"}}
	got, err := source.Read(t.Context(), in)
	if err != nil || got["http://"+server.address+"/v1/kv/model/version"] != "2512.1" {
		t.Errorf("with a token: %q, %v", got, err)
	}
	in.Headers["X-Other"] = runbooks.Secret{Env: "UNDERSTUDY_TEST_ABSENT"}
	if _, err := source.Read(t.Context(), in); !errors.Is(err, settings.ErrUnavailable) || !errors.Is(err, secrets.ErrUnresolved) {
		t.Errorf("a secret that is not there: %v", err)
	}
	t.Setenv("UNDERSTUDY_TEST_ABSENT", "two\nlines")
	if _, err := source.Read(t.Context(), in); !errors.Is(err, settings.ErrUnavailable) || strings.Contains(err.Error(), "two") {
		t.Errorf("a secret that is no header: %v", err)
	}
}

func TestAnswers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the token went elsewhere: %v", r.Header)
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			_, _ = io.WriteString(w, "value")
		case "/created":
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "value")
		case "/moved":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/elsewhere":
			http.Redirect(w, r, elsewhere.URL+"/?token=hidden", http.StatusFound)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "part")
		case "/endless":
			for block := []byte(strings.Repeat("x", 1<<16)); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		default:
			w.WriteHeader(map[string]int{"/204": 204, "/304": 304, "/400": 400, "/401": 401, "/404": 404, "/429": 429, "/500": 500, "/503": 503}[r.URL.Path])
		}
	}))
	defer server.Close()
	source := httpsource.New()
	t.Setenv("UNDERSTUDY_TEST_TOKEN", "hidden")
	for path, want := range map[string]error{
		"/good": nil, "/created": nil, "/moved": nil,
		"/204": settings.ErrMissing, "/404": settings.ErrMissing,
		"/304": settings.ErrUnavailable, "/400": settings.ErrUnavailable, "/401": settings.ErrUnavailable, "/429": settings.ErrUnavailable,
		"/500": settings.ErrUnavailable, "/503": settings.ErrUnavailable, "/loop": settings.ErrUnavailable, "/elsewhere": settings.ErrUnavailable,
		"/cut": settings.ErrUnavailable, "/endless": settings.ErrUnavailable,
	} {
		in := ref(server.URL + path + "?token=hidden")
		in.Headers = map[string]runbooks.Secret{"X-Token": {Env: "UNDERSTUDY_TEST_TOKEN"}}
		got, err := source.Read(t.Context(), in)
		switch {
		case want == nil && (err != nil || got[server.URL+path] != "value"):
			t.Errorf("%s: got %q, %v", path, got, err)
		case want != nil && (!errors.Is(err, want) || got != nil):
			t.Errorf("%s: got %.80q, %v; want %v", path, got, err, want)
		case err != nil && (strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), path)):
			t.Errorf("%s: the error tells too much or too little: %v", path, err)
		}
	}
	for _, text := range []string{"", "::", "http://127.0.0.1:bad/?token=hidden", "ftp://127.0.0.1/x", "http://127.0.0.1:1/x?token=hidden"} {
		got, err := source.Read(t.Context(), ref(text))
		if err == nil || got != nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}
