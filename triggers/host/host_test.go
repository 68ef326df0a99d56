package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/triggers/host"
)

// taker counts what it is asked, and does it when it may.
type taker struct {
	sync.Mutex
	asked []string
	err   error
	may   chan struct{}
}

func (f *taker) do(ctx context.Context, what string) (string, error) {
	f.Lock()
	f.asked = append(f.asked, what)
	f.Unlock()
	if f.may != nil {
		select {
		case <-f.may:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return "did " + what, f.err
}

func (f *taker) TakeOver(ctx context.Context, from, epoch int64) (string, error) {
	return f.do(ctx, fmt.Sprintf("take %d after %d", epoch, from))
}
func (f *taker) GiveBack(ctx context.Context, epoch int64) (string, error) {
	return f.do(ctx, fmt.Sprintf("return %d", epoch))
}

// serve starts a door and returns its URL, and what ends it.
func serve(t *testing.T, f *taker, token string) (url string, end func() error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- host.Serve(ctx, host.Config{Listener: listener, Taker: f, Token: token, Log: slog.New(slog.DiscardHandler)})
	}()
	end = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = end() })
	return "http://" + listener.Addr().String(), end
}

func ask(t *testing.T, method, url, token string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, strings.TrimSpace(string(text))
}

func TestOrders(t *testing.T) {
	f := &taker{}
	url, _ := serve(t, f, "secret")
	for _, test := range []struct {
		method, path, token string
		code                int
		says                string
	}{
		{"POST", "/take-over?from=5&epoch=7", "secret", 200, "did take 7 after 5"},
		{"POST", "/give-back?epoch=7", "secret", 200, "did return 7"},
		{"GET", "/healthz", "", 200, "alive"},
		{"POST", "/take-over?from=5&epoch=7", "", 401, "token"},
		{"POST", "/give-back?epoch=7", "secret2", 401, "token"},
		{"GET", "/take-over?from=5&epoch=7", "secret", 405, ""},
		{"POST", "/take-over?from=5", "secret", 400, "epoch="},
		{"POST", "/take-over?epoch=7", "secret", 400, "from="},
		{"POST", "/take-over?from=-1&epoch=7", "secret", 400, "from="},
		{"POST", "/take-over?from=7&epoch=7", "secret", 400, "later"},
		{"POST", "/give-back?epoch=7;rm", "secret", 400, "epoch="},
		{"POST", "/", "secret", 404, ""},
	} {
		if code, says := ask(t, test.method, url+test.path, test.token); code != test.code || !strings.Contains(says, test.says) {
			t.Errorf("%s %s: %d %s", test.method, test.path, code, says)
		}
	}
	if len(f.asked) != 2 {
		t.Errorf("the taker was asked %q", f.asked)
	}
	f.err = errors.New("the store is away")
	if code, says := ask(t, "POST", url+"/give-back?epoch=8", "secret"); code != 503 || !strings.Contains(says, "store") {
		t.Errorf("what may work later: %d %s", code, says)
	}
	f.err = fmt.Errorf("%w: epoch 9 is taken over here", host.ErrRefused)
	if code, says := ask(t, "POST", url+"/give-back?epoch=8", "secret"); code != 409 || !strings.Contains(says, "epoch 9") {
		t.Errorf("what never will: %d %s", code, says)
	}
}

// Who asks for the same again joins the work that it has begun, and the end waits for it.
func TestWorkIsDoneOnce(t *testing.T) {
	f := &taker{may: make(chan struct{})}
	url, end := serve(t, f, "")
	order := url + "/take-over?from=5&epoch=7"
	first := make(chan string, 1)
	go func() {
		_, says := ask(t, "POST", order, "")
		first <- says
	}()
	for asked := 0; asked == 0; {
		f.Lock()
		asked = len(f.asked)
		f.Unlock()
	}
	impatient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(impatient, http.MethodPost, order, nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := http.DefaultClient.Do(request); err == nil {
		answer.Body.Close()
		t.Errorf("the work is not done, and the answer is %s", answer.Status)
	}
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	close(f.may)
	if says := <-first; says != "did take 7 after 5" {
		t.Errorf("it says %q", says)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(f.asked) != 1 {
		t.Errorf("asked %q", f.asked)
	}
}
