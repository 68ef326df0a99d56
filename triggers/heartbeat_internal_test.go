package triggers

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// What is silent for a minute is closed by proxies: a stream says that it lives.
func TestASilentStreamSaysThatItLives(t *testing.T) {
	f := newFeed(NewAPI(APIConfig{Library: func() *runbooks.Library { return runbooks.NewLibrary() }}))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, _ := f.join(everything)
		defer leave()
		l := &listener{feed: f, topic: everything, out: w, control: http.NewResponseController(w), beat: 10 * time.Millisecond}
		l.run(r.Context())
	}))
	defer server.Close()
	defer f.close()
	answer, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for alive := 0; alive < 3; {
		if !lines.Scan() {
			t.Fatal("the stream has ended")
		}
		if strings.HasPrefix(lines.Text(), ":") {
			alive++
		}
	}
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("Content-Type %q", kind)
	}
}
