package fence_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/fence"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

func TestHTTPFences(t *testing.T) {
	var got *http.Request
	var body string
	status, answer := http.StatusNoContent, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got, body = r, string(text)
		if status == http.StatusTemporaryRedirect {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	order := fence.Order{Fence: runbooks.Fence{
		Kind: "http", URL: server.URL + "/off?outlet=3", Method: "PUT", Body: `{"state":"off"}`,
		Headers: map[string]runbooks.Secret{"Authorization": {Env: "PDU"}},
	}}
	if _, err := newFencer().Set(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	if got.Method != "PUT" || got.RequestURI != "/off?outlet=3" || body != `{"state":"off"}` || got.Header.Get("Authorization") != "Bearer secret-of-PDU" {
		t.Errorf("the server got %s %s %v %s", got.Method, got.RequestURI, got.Header, body)
	}
	for _, s := range []int{http.StatusTemporaryRedirect, http.StatusUnauthorized, http.StatusInternalServerError} {
		status, answer = s, "I was sent secret-of-PDU and\n\x1b[31m"+got.Header.Get("Authorization")
		_, err := newFencer().Set(t.Context(), order)
		if !errors.Is(err, fence.ErrFailed) || !strings.Contains(err.Error(), fmt.Sprint(s)) {
			t.Errorf("HTTP %d: %v", s, err)
			continue
		}
		if strings.Contains(err.Error(), "secret-of") || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("HTTP %d: %q", s, err)
		}
	}
	order.Fence.Headers["X-Key"] = runbooks.Secret{}
	if _, err := newFencer().Set(t.Context(), order); !errors.Is(err, fence.ErrFailed) || !strings.Contains(err.Error(), "X-Key: no such secret") {
		t.Errorf("a secret that is not there: %v", err)
	}
	order.Fence = runbooks.Fence{Kind: "http", URL: "http://" + harness.Address(harness.FreePort())}
	if _, err := newFencer().Set(t.Context(), order); !errors.Is(err, fence.ErrFailed) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody there: %v", err)
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	order.Fence = runbooks.Fence{Kind: "http", URL: "http://" + mute.Addr().String(), Timeout: runbooks.Duration(50 * time.Millisecond)}
	if _, err := newFencer().Set(t.Context(), order); !errors.Is(err, fence.ErrFailed) || !strings.Contains(err.Error(), "not done within 50ms") {
		t.Errorf("a mute server: %v", err)
	}
}
