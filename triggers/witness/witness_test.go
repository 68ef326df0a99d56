package witness_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/probe/httpprobe"
	signed "github.com/understudy-dr/understudy/activities/probe/witness"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/witness"
)

func TestWhatAWitnessMayLookAt(t *testing.T) {
	targets := witness.Of(runbooks.NewLibrary(runbooks.Runbook{
		Service: "asr", Primary: runbooks.Primary{URL: "http://192.168.1.10:7860/"}, Traffic: runbooks.Traffic{Front: "http://front:7860"},
		Tiers: []runbooks.Tier{
			{Name: "hot", URL: "http://192.168.1.11:7860"},
			{Name: "cold", URL: "http://{address}:7860/base", Traffic: &runbooks.Traffic{Front: "https://asr.example.com"}},
		},
	}, runbooks.Runbook{Service: "tts", Primary: runbooks.Primary{URL: "http://127.0.0.1:5000"}}))
	for _, url := range []string{
		"http://192.168.1.10:7860", "http://192.168.1.10:7860/", "http://192.168.1.11:7860", "http://front:7860", "https://asr.example.com", "http://127.0.0.1:5000",
		"http://10.0.0.7:7860/base", "http://[2001:db8::7]:7860/base", "http://ec2-54-1-2-3.us-west-2.compute.amazonaws.com:7860/base",
	} {
		if !targets.Allow(url) {
			t.Errorf("%s is refused", url)
		}
	}
	for _, url := range []string{
		"", "http://192.168.1.10:7861", "http://192.168.1.10:7860/admin", "https://192.168.1.10:7860", "http://{address}:7860/base", "http://:7860/base",
		"http://127.0.0.1:7860/base", "http://[::1]:7860/base", "http://[::ffff:127.0.0.1]:7860/base", "http://169.254.169.254:7860/base", "http://[fd00:ec2::254]:7860/base",
		"http://[fe80::1%25eth0]:7860/base", "http://0.0.0.0:7860/base", "http://224.0.0.1:7860/base", "http://localhost:7860/base", "http://2130706433:7860/base",
		"http://127.1:7860/base", "http://0177.0.0.1:7860/base", "http://1.2.3.0x7f:7860/base", "http://evil.example/x?:7860/base", "http://evil.example#:7860/base",
		"http://evil.example:80@x.example:7860/base", "http://a..b:7860/base", "http://a.b:1/:7860/base", "http://10.0.0.7:7860", "http://10.0.0.7:7860/base/x",
	} {
		if targets.Allow(url) {
			t.Errorf("%s may be looked at", url)
		}
	}
}

func TestListed(t *testing.T) {
	targets, err := witness.Listed("http://10.0.0.1:7860", "http://{address}:80", "tcp://10.0.0.2:5000")
	if err != nil || targets.Empty() || !targets.Allow("tcp://10.0.0.2:5000") || !targets.Allow("http://10.0.0.9:80") || targets.Allow("http://10.0.0.2:7860") {
		t.Errorf("%+v, %v", targets, err)
	}
	for _, url := range []string{"10.0.0.1:7860", "ftp://x", "", "http://"} {
		if _, err := witness.Listed(url); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
	if targets, err := witness.Listed(); err != nil || !targets.Empty() || targets.Allow("") {
		t.Errorf("nothing listed: %+v, %v", targets, err)
	}
}

// held is a prober whose looks last until they are released.
type held struct {
	looks    atomic.Int32
	begun    chan bool
	released chan bool
}

func (h *held) Probe(ctx context.Context, _ probe.Request) probe.Result {
	h.looks.Add(1)
	h.begun <- true
	select {
	case <-h.released:
	case <-ctx.Done():
	}
	return probe.Result{Finding: runbooks.Refuses, At: time.Now()}
}

// serve runs a whole witness, as the command does.
func serve(t *testing.T, key []byte, prober probe.Prober, targets witness.Targets) (url string, stop func() error) {
	t.Helper()
	handler, err := signed.Handler(signed.Serving{Key: key, Allowed: targets.Allow, Prober: prober})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- witness.Serve(ctx, witness.Config{Listener: l, Handler: handler, Log: slog.New(slog.DiscardHandler)})
	}()
	return "http://" + l.Addr().String(), func() error { cancel(); return <-ended }
}

var key = []byte("a key that both sides know")

func TestAWitnessLooks(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + gone.Addr().String()
	gone.Close()
	targets, err := witness.Listed(dead)
	if err != nil {
		t.Fatal(err)
	}
	url, stop := serve(t, key, httpprobe.New(), targets)
	for _, tt := range []struct {
		name, url string
		key       []byte
		want      runbooks.Finding
		detail    string
	}{
		{"a dead service", dead, key, runbooks.Refuses, ""},
		{"what it may not look at", "http://127.0.0.1:1", key, runbooks.Blind, "may not look"},
		{"a stranger", dead, []byte("somebody else's key"), runbooks.Blind, "not signed"},
	} {
		p, err := signed.New(signed.Config{URL: url, Key: tt.key})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Probe(t.Context(), probe.Request{URL: tt.url}); got.Finding != tt.want || !strings.Contains(got.Detail, tt.detail) {
			t.Errorf("%s: %q (%s)", tt.name, got.Finding, got.Detail)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/probe": 405, "/": 404} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAWitnessHasBounds(t *testing.T) {
	prober := &held{begun: make(chan bool, 2*witness.AtOnce), released: make(chan bool)}
	targets, err := witness.Listed("http://asr")
	if err != nil {
		t.Fatal(err)
	}
	url, stop := serve(t, key, prober, targets)
	p, err := signed.New(signed.Config{URL: url, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() probe.Result {
		return p.Probe(t.Context(), probe.Request{URL: "http://asr", Health: runbooks.Health{Timeout: runbooks.Duration(20 * time.Second)}})
	}
	answers := make(chan probe.Result, witness.AtOnce)
	for range witness.AtOnce {
		go func() { answers <- ask() }()
	}
	for range witness.AtOnce {
		<-prober.begun
	}
	if got := ask(); got.Finding != runbooks.Blind || !strings.Contains(got.Detail, "503") {
		t.Errorf("one too many: %q (%s)", got.Finding, got.Detail)
	}
	close(prober.released)
	for range witness.AtOnce {
		if got := <-answers; got.Finding != runbooks.Refuses {
			t.Errorf("%q (%s)", got.Finding, got.Detail)
		}
	}
	if err := errors.Join(stop()); err != nil {
		t.Error(err)
	}
}
