package witness_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/probe/httpprobe"
	"github.com/understudy-dr/understudy/activities/probe/probetest"
	"github.com/understudy-dr/understudy/activities/probe/tcpprobe"
	"github.com/understudy-dr/understudy/activities/probe/witness"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

var key = []byte("a key that both sides know")

func TestConformance(t *testing.T) {
	for _, kind := range []string{"http", "tcp"} {
		t.Run(kind, func(t *testing.T) {
			probetest.Run(t, func(t *testing.T) probetest.Fixture {
				return probetest.Fixture{Kind: kind, Prober: asking(t, serve(t, witness.Serving{
					Prober: probe.ByKind(httpprobe.New(), tcpprobe.New()),
				}), key)}
			})
		})
	}
}

// counting is a prober that counts its looks and finds that an instance refuses.
type counting struct {
	looks   atomic.Int32
	finding runbooks.Finding
}

func (c *counting) Probe(context.Context, probe.Request) probe.Result {
	c.looks.Add(1)
	if c.finding == "" {
		c.finding = runbooks.Refuses
	}
	return probe.Result{Finding: c.finding, Detail: "by the witness", At: time.Unix(1, 0)}
}

func TestBlindWhereTheWitnessCannotBeBelieved(t *testing.T) {
	// The witness answers for everything but what a test puts before it.
	plain := func(h http.HandlerFunc) string {
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		return server.URL
	}
	clock := func(shift time.Duration) func() time.Time {
		return func() time.Time { return time.Now().Add(shift) }
	}
	looking := func() *counting { return &counting{} }
	for _, tt := range []struct {
		name, url string
		key       []byte
		detail    string
	}{
		{"nobody there", "http://" + harness.Address(harness.FreePort()), key, "refused"},
		{"another key", serve(t, witness.Serving{Prober: looking(), Key: []byte("quite another key")}), key, "not signed with our key"},
		{"its clock is ahead", serve(t, witness.Serving{Prober: looking(), Now: clock(5 * time.Minute)}), key, "5m0s apart"},
		{"its clock is behind", serve(t, witness.Serving{Prober: looking(), Now: clock(-2 * time.Hour)}), key, "2h0m0s apart"},
		{"not allowed", serve(t, witness.Serving{Prober: looking(), Allowed: func(string) bool { return false }}), key, "may not look at http://asr"},
		{"says what is no finding", serve(t, witness.Serving{Prober: &counting{finding: "is on fire"}}), key, "is on fire"},
		{"no witness at all", plain(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"finding":"refuses connections","detail":"trust me"}`)
		}), key, "not signed with our key"},
		{"redirects", plain(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}), key, "HTTP 307"},
		{"talks without end", plain(func(w http.ResponseWriter, _ *http.Request) {
			for block := bytes.Repeat([]byte("x"), 4096); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}), key, "not signed with our key"},
		{"hangs", plain(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // the server sees a client leave only once the body is read
			<-r.Context().Done()
		}), key, "no answer in time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := asking(t, tt.url, tt.key).Probe(t.Context(), probe.Request{URL: "http://asr", Health: runbooks.Health{Timeout: runbooks.Duration(100 * time.Millisecond)}})
			if got.Finding != runbooks.Blind || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("%q (%s), want %q with %q", got.Finding, got.Detail, runbooks.Blind, tt.detail)
			}
			if strings.Contains(got.Detail, string(tt.key)) {
				t.Errorf("the key is in the detail: %s", got.Detail)
			}
		})
	}
}

// A question that was overheard, or an answer, must be worth nothing to anybody else.
func TestNothingCanBePlayedAgain(t *testing.T) {
	prober := &counting{}
	real := serve(t, witness.Serving{Prober: prober})
	var question, answer recorded
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question = recorded{header: r.Header.Clone(), body: read(t, r.Body)}
		if answer.status == 0 {
			answer = send(t, real, question)
		}
		answer.write(w) // the second asker gets the first one's answer
	}))
	defer between.Close()

	ask := asking(t, between.URL, key)
	if got := ask.Probe(t.Context(), probe.Request{URL: "http://asr"}); got.Finding != runbooks.Refuses || got.Detail != "by the witness" || got.At.Year() == 1970 {
		t.Fatalf("the witness behind a proxy: %q (%s)", got.Finding, got.Detail)
	}
	if got := send(t, real, question); got.status != http.StatusConflict {
		t.Errorf("the question again: HTTP %d: %s", got.status, got.body)
	}
	altered := question
	altered.body = bytes.Replace(question.body, []byte("asr"), []byte("tts"), 1)
	if got := send(t, real, altered); got.status != http.StatusUnauthorized {
		t.Errorf("the question with another URL: HTTP %d: %s", got.status, got.body)
	}
	if looks := prober.looks.Load(); looks != 1 {
		t.Errorf("the witness looked %d times, want 1", looks)
	}
	if got := ask.Probe(t.Context(), probe.Request{URL: "http://asr"}); got.Finding != runbooks.Blind {
		t.Errorf("an old answer was believed: %q (%s)", got.Finding, got.Detail)
	}
}

// A witness that begins anew has no memory, so what was asked before is not answered.
func TestNothingFromBeforeTheWitnessIsAnswered(t *testing.T) {
	prober, began := &counting{}, time.Now()
	url := serve(t, witness.Serving{Prober: prober, Now: func() time.Time { return began.Add(5 * time.Second) }})
	got := asking(t, url, key).Probe(t.Context(), probe.Request{URL: "http://asr"})
	if got.Finding != runbooks.Blind || !strings.Contains(got.Detail, "has just begun") || prober.looks.Load() != 0 {
		t.Errorf("%q (%s), %d looks", got.Finding, got.Detail, prober.looks.Load())
	}
}

func TestWhatAWitnessNeeds(t *testing.T) {
	yes := func(string) bool { return true }
	for name, s := range map[string]witness.Serving{
		"no key":    {Allowed: yes, Prober: &counting{}},
		"short key": {Key: []byte("short"), Allowed: yes, Prober: &counting{}},
		"no list":   {Key: key, Prober: &counting{}},
		"no prober": {Key: key, Allowed: yes},
	} {
		if _, err := witness.Handler(s); err == nil {
			t.Errorf("%s: a witness was made", name)
		}
	}
	for name, c := range map[string]witness.Config{
		"no key":    {URL: "http://127.0.0.1:1"},
		"no URL":    {Key: key},
		"no scheme": {Key: key, URL: "127.0.0.1:1"},
	} {
		if _, err := witness.New(c); err == nil {
			t.Errorf("%s: a prober was made", name)
		}
	}
}

func serve(t *testing.T, s witness.Serving) string {
	t.Helper()
	if s.Key == nil {
		s.Key = key
	}
	if s.Allowed == nil {
		s.Allowed = func(string) bool { return true }
	}
	h, err := witness.Handler(s)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// asking makes a prober whose way is long, so that a busy machine does not blind it.
func asking(t *testing.T, url string, key []byte) probe.Prober {
	t.Helper()
	way := 10 * time.Second
	if t.Name() == "TestBlindWhereTheWitnessCannotBeBelieved/hangs" {
		way = 10 * time.Millisecond
	}
	p, err := witness.New(witness.Config{URL: url, Key: key, Way: way})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// recorded is a message as somebody between two machines sees it.
type recorded struct {
	status int
	header http.Header
	body   []byte
}

func send(t *testing.T, url string, question recorded) recorded {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url+"/probe", bytes.NewReader(question.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = question.header
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return recorded{status: resp.StatusCode, header: resp.Header, body: read(t, resp.Body)}
}

func (r recorded) write(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body)
}

func read(t *testing.T, from io.Reader) []byte {
	t.Helper()
	body, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
