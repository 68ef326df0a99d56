package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/haproxy"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

// gate is an HAProxy with a shipped configuration, moved to this machine.
type gate struct {
	*harness.HAProxyServer
	config, front, state string
	balancer             traffic.Balancer
	primary, hot         *speech
}

// speech is a server that says its name. The primary hangs at /transcribe until
// it is let go, and everywhere once it is mute.
type speech struct {
	*httptest.Server
	mute    atomic.Bool
	arrived chan struct{}
	letGo   chan struct{}
}

func speak(t *testing.T, name string) *speech {
	s := &speech{arrived: make(chan struct{}, 100), letGo: make(chan struct{})}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if s.mute.Load() || (r.URL.Path == "/transcribe" && name == "primary") {
			s.arrived <- struct{}{}
			select {
			case <-s.letGo:
			case <-r.Context().Done():
			}
		}
		fmt.Fprint(w, name)
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(s.letGo) })
	return s
}

// replace changes texts that must be there, so that a changed example cannot slip through.
func replace(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the shipped file no longer has %q", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func startGate(t *testing.T, file string) *gate {
	t.Helper()
	front := harness.Address(harness.FreePort())
	g := &gate{front: "http://" + front, state: filepath.Join(t.TempDir(), "server-state"), primary: speak(t, "primary"), hot: speak(t, "hot")}
	if err := os.WriteFile(g.state, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	g.config = replace(t, read(t, shipped(t, "haproxy/"+file)),
		"    log /dev/log local0\n", "", "    user haproxy\n", "", "    group haproxy\n", "",
		"    stats socket /run/haproxy/admin.sock mode 660 level admin\n", "", // the harness has one of its own
		"/var/lib/haproxy/server-state", g.state,
		"bind :7860", "bind "+front,
		"bind 127.0.0.1:8405", "bind "+harness.Address(harness.FreePort()),
		"192.168.1.10:7860", g.primary.Listener.Addr().String(),
		"192.168.1.11:7860", g.hot.Listener.Addr().String())
	g.HAProxyServer = traffictest.HAProxy(t, g.config)
	b, err := haproxy.New(runbooks.Traffic{Sockets: []string{g.Socket}, Backend: "fun_asr"})
	if err != nil {
		t.Fatal(err)
	}
	g.balancer = b
	return g
}

// post sends a request with a body over a connection of its own.
func (g *gate) post(ctx context.Context, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.front+path, strings.NewReader(strings.Repeat("audio", 10_000)))
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never seen: " + what)
		}
	}
}

var haproxyFiles = []string{"fun-asr.cfg", "fun-asr-held.cfg"}

func TestHAProxyLoadsTheConfigurations(t *testing.T) {
	program := needs(t, "haproxy", "haproxy")
	for _, file := range haproxyFiles {
		out, err := exec.CommandContext(t.Context(), program, "-c", "-f", shipped(t, "haproxy/"+file)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
		for line := range strings.Lines(string(out)) {
			// Its own state file is made at the service's first start.
			if strings.Contains(line, "WARNING") && !strings.Contains(line, "Can't open global server state file") {
				t.Errorf("%s: %s", file, line)
			}
		}
	}
}

func TestHAProxyHasWhatTheRunbookNames(t *testing.T) {
	r, problems := runbooks.ParseRunbook("fun-asr.yaml", []byte(read(t, "../../runbooks/fun-asr.yaml")))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for _, file := range haproxyFiles {
		g := startGate(t, file)
		v, err := g.balancer.View(t.Context())
		if err != nil || !slices.Equal(v.Serving(), []string{r.Primary.Server}) {
			t.Errorf("%s: serving %v, %v", file, v.Serving(), err)
		}
		for _, tier := range r.Tiers {
			s, ok := v.Server(tier.Server)
			if tier.Server == "" || tier.Traffic != nil {
				continue
			}
			if !ok {
				t.Errorf("%s has no server %s", file, tier.Server)
			}
			if held := file == "fun-asr-held.cfg"; tier.Name == runbooks.TierHot && (s.Backup == held || (s.State == traffic.Maint) != held) {
				t.Errorf("%s: hot is %+v", file, s)
			}
		}
		if text := read(t, shipped(t, "haproxy/"+file)); !strings.Contains(text, r.Traffic.Sockets[0]) || !strings.Contains(text, "\nbackend "+r.Traffic.Backend+"\n") {
			t.Errorf("%s has another socket or backend than the runbook", file)
		}
	}
}

func TestHAProxyMovesByItselfWithoutALostRequest(t *testing.T) {
	t.Parallel()
	g := startGate(t, "fun-asr.cfg")
	if got, err := g.post(t.Context(), "/"); got != "primary" || err != nil {
		t.Fatal(got, err)
	}
	g.primary.Close()
	for i := range 20 {
		if got, err := g.post(t.Context(), "/"); got != "hot" || err != nil {
			t.Errorf("request %d after the crash: %q, %v", i, got, err)
		}
	}
	v, err := g.balancer.View(t.Context())
	if err != nil || !slices.Equal(v.Serving(), []string{"hot"}) {
		t.Errorf("serving %v, %v", v.Serving(), err)
	}
}

func TestHAProxyKeepsABusyServerAndSaysThatItIsMute(t *testing.T) {
	t.Parallel()
	g := startGate(t, "fun-asr.cfg")
	// As HAProxy starts, the first check decides; patience begins with the first that passed.
	eventually(t, "a check passed", func() bool {
		v, err := g.balancer.View(t.Context())
		s, _ := v.Server("primary")
		return err == nil && strings.Contains(s.Check, "L7OK")
	})
	// It connects and says nothing, as FunASR does during an inference.
	g.primary.mute.Store(true)
	eventually(t, "a check fails and the server stays", func() bool {
		v, err := g.balancer.View(t.Context())
		s, _ := v.Server("primary")
		if err != nil || !s.Takes() {
			t.Fatalf("primary: %+v, %v", s, err)
		}
		return s.Failing && strings.Contains(s.Check, "L7TOUT")
	})
}

func TestHAProxyHandsWaitingRequestsOver(t *testing.T) {
	t.Parallel()
	g := startGate(t, "fun-asr-held.cfg")
	const sent, atOnce = 6, 2
	answers := make(chan string, sent)
	for range sent {
		go func() {
			text, err := g.post(t.Context(), "/transcribe")
			answers <- fmt.Sprint(text, err)
		}()
	}
	for range atOnce {
		<-g.primary.arrived
	}
	waiting := regexp.MustCompile(fmt.Sprintf(`(?m)^fun_asr,BACKEND,%d,`, sent-atOnce))
	eventually(t, "the others wait", func() bool {
		stat, err := g.Command(t.Context(), "show stat fun_asr 2 -1")
		return err == nil && waiting.MatchString(stat)
	})
	change := toHot
	change.Cut = true
	if _, err := g.balancer.Apply(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for range sent {
		got[<-answers]++
	}
	if got["hot<nil>"] != sent-atOnce {
		t.Errorf("answers %v; want %d from hot, and the %d that hung cut off", got, sent-atOnce, atOnce)
	}
}

func TestHAProxyReloadKeepsTheStates(t *testing.T) {
	t.Parallel()
	needs(t, "socat", "socat")
	g := startGate(t, "fun-asr-held.cfg")
	change := toHot
	change.Set = append(slices.Clone(change.Set), traffic.Assignment{Server: "cold", State: traffic.Maint, Address: "127.0.0.1:2"})
	if _, err := g.balancer.Apply(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	// The line of the drop-in that saves the state before a reload.
	line := regexp.MustCompile(`(?m)^ExecReload=/bin/sh -c '(.*)'$`).FindStringSubmatch(read(t, shipped(t, "haproxy/keep-state.conf")))
	if line == nil {
		t.Fatal("keep-state.conf saves no state")
	}
	save := replace(t, line[1], "/run/haproxy/admin.sock", g.Socket, "/var/lib/haproxy/server-state", g.state,
		"/var/lib/haproxy/.server-state", filepath.Join(filepath.Dir(g.state), ".server-state"))
	if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", save).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := g.Reload(t.Context(), g.config); err != nil {
		t.Fatal(err)
	}
	v, err := g.balancer.View(t.Context())
	if err == nil {
		err = v.Shows(change)
	}
	if err != nil {
		t.Errorf("after the reload: %v", err)
	}
	if got, err := g.post(t.Context(), "/"); got != "hot" || err != nil {
		t.Errorf("after the reload %q answers, %v", got, err)
	}
}

func TestHAProxyTellsPrometheusOfErrors(t *testing.T) {
	t.Parallel()
	g := startGate(t, "fun-asr.cfg")
	if _, err := g.post(t.Context(), "/"); err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`frontend metrics\n    bind (\S+)`).FindStringSubmatch(g.config)[1]
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	// The metric that the shipped alert rule is about.
	for _, want := range []string{`haproxy_backend_http_responses_total{proxy="fun_asr",code="2xx"} 1`, `haproxy_backend_http_responses_total{proxy="fun_asr",code="5xx"} 0`} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}
