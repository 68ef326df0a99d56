package haproxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

// These tests show what HAProxy itself does where the balancer's callers rely on it.

func set(a ...traffic.Assignment) traffic.Change { return traffic.Change{Set: a} }

func to(server string, state traffic.State) traffic.Assignment {
	return traffic.Assignment{Server: server, State: state}
}

// speaker answers every request but those for /hold, which it keeps until the end of the test.
func speaker(t *testing.T) *httptest.Server {
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			select {
			case <-done:
			case <-r.Context().Done():
			}
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(done) })
	return s
}

func address(s *httptest.Server) string { return s.Listener.Addr().String() }

// view waits until a view is as wanted, or the test's time is over.
func view(t *testing.T, b traffic.Balancer, want string, is func(traffic.View) bool) traffic.View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		v, err := b.View(ctx)
		if err == nil && is(v) {
			return v
		}
		select {
		case <-ctx.Done():
			t.Fatalf("never seen: %s; last %+v, %v", want, v, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func server(v traffic.View, name string) traffic.Server {
	s, _ := v.Server(name)
	return s
}

func isDown(name string) func(traffic.View) bool {
	return func(v traffic.View) bool { s := server(v, name); return s.Up != nil && !*s.Up }
}

func isUp(name string) func(traffic.View) bool {
	return func(v traffic.View) bool { s := server(v, name); return s.Up != nil && *s.Up }
}

// backend is a front door and the backend "speech" with the lines given.
func backend(lines ...string) (config, front string) {
	front = harness.Address(harness.FreePort())
	return defaults + "frontend front\n  bind " + front + "\n  default_backend speech\nbackend speech\n  " + strings.Join(lines, "\n  ") + "\n", "http://" + front
}

func TestAHeldStandbyTakesTrafficAtOnceAndUnproven(t *testing.T) {
	t.Parallel()
	// With an hour between checks, nothing but the change itself can make the standby take traffic.
	config, front := backend("option httpchk GET /health", "default-server check inter 1h",
		"server hot "+address(speaker(t))+" disabled")
	h := traffictest.HAProxy(t, config)
	b := newBalancer(t, h.Socket)
	v, err := b.Apply(t.Context(), set(to("hot", traffic.Ready)))
	if err != nil {
		t.Fatal(err)
	}
	hot := server(v, "hot")
	if !hot.Takes() || hot.Up == nil || !strings.Contains(hot.Check, "not checked yet") {
		t.Errorf("straight out of maintenance: %+v", hot)
	}
	resp, err := http.Get(front)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the first request: %v, %v", resp, err)
	}
	resp.Body.Close()
}

func TestADeadStandbySeemsUpUntilItsChecksFail(t *testing.T) {
	t.Parallel()
	config, _ := backend("default-server check inter 200ms fall 2",
		"server hot "+harness.Address(harness.FreePort())+" disabled")
	b := newBalancer(t, traffictest.HAProxy(t, config).Socket)
	v, err := b.Apply(t.Context(), set(to("hot", traffic.Ready)))
	if err != nil {
		t.Fatal(err)
	}
	if !server(v, "hot").Takes() {
		t.Errorf("straight out of maintenance: %+v", server(v, "hot"))
	}
	hot := server(view(t, b, "hot is down", isDown("hot")), "hot")
	if hot.State != traffic.Ready || !strings.Contains(hot.Check, "L4CON Connection refused") || !strings.Contains(hot.Check, "down for ") {
		t.Errorf("after its checks: %+v", hot)
	}
}

func TestABusyStandbyIsNotDroppedByItsFirstCheck(t *testing.T) {
	t.Parallel()
	// Like FunASR, it answers nothing while it works.
	var working sync.Mutex
	done := make(chan struct{})
	hot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		working.Lock()
		defer working.Unlock()
		if r.URL.Path != "/health" {
			<-done
		}
	}))
	t.Cleanup(hot.Close)
	finish := sync.OnceFunc(func() { close(done) })
	t.Cleanup(finish)
	config, front := backend("option httpchk GET /health", "timeout check 100ms", "server hot "+address(hot)+" disabled check inter 300ms fall 600")
	b := newBalancer(t, traffictest.HAProxy(t, config).Socket)
	if _, err := b.Apply(t.Context(), set(to("hot", traffic.Ready))); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int)
	go func() {
		status := 0
		if resp, err := http.Get(front + "/transcribe"); err == nil {
			status = resp.StatusCode
			resp.Body.Close()
		}
		answered <- status
	}()
	v := view(t, b, "its check fails", func(v traffic.View) bool { return server(v, "hot").Failing || isDown("hot")(v) })
	if s := server(v, "hot"); !s.Takes() || !s.Failing || !strings.Contains(s.Check, "L7TOUT") || s.Requests.Requests != 1 {
		t.Errorf("busy from its first second on: %+v", s)
	}
	finish()
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the request ended with %d", status)
	}
	view(t, b, "its check passes", func(v traffic.View) bool { return isUp("hot")(v) && !server(v, "hot").Failing })
}

func TestReadyDoesNotRaiseAServerThatIsDown(t *testing.T) {
	t.Parallel()
	config, _ := backend("server primary " + harness.Address(harness.FreePort()) + " check inter 100ms fall 1")
	b := newBalancer(t, traffictest.HAProxy(t, config).Socket)
	view(t, b, "primary is down", isDown("primary"))
	for _, state := range []traffic.State{traffic.Drain, traffic.Ready} {
		v, err := b.Apply(t.Context(), set(to("primary", state)))
		if err != nil {
			t.Fatal(err)
		}
		if s := server(v, "primary"); s.State != state || s.Up == nil || *s.Up || len(v.Serving()) > 0 {
			t.Errorf("set %s while down: %+v", state, s)
		}
	}
}

func TestABackupTakesOverByItself(t *testing.T) {
	t.Parallel()
	primary, hot := speaker(t), speaker(t)
	config, _ := backend("default-server check inter 100ms fall 2 rise 1",
		"server primary "+address(primary), "server hot "+address(hot)+" backup")
	b := newBalancer(t, traffictest.HAProxy(t, config).Socket)
	v := view(t, b, "both are up", func(v traffic.View) bool { return isUp("primary")(v) && isUp("hot")(v) })
	if !server(v, "hot").Backup || server(v, "primary").Backup || !slices.Equal(v.Serving(), []string{"primary"}) {
		t.Errorf("in good times: %+v", v.Servers)
	}
	primary.Close()
	v = view(t, b, "primary is down", isDown("primary"))
	if !slices.Equal(v.Serving(), []string{"hot"}) {
		t.Errorf("serving %v", v.Serving())
	}
	// The pin: a primary that comes back must not take the traffic with it.
	v, err := b.Apply(t.Context(), set(to("primary", traffic.Maint)))
	if err != nil {
		t.Fatal(err)
	}
	if s := server(v, "primary"); s.Up != nil || !slices.Equal(v.Serving(), []string{"hot"}) {
		t.Errorf("pinned: %+v", v.Servers)
	}
}

func TestReadyUndoesADrainByWeight(t *testing.T) {
	t.Parallel()
	config, _ := backend("server primary " + address(speaker(t)) + " weight 7")
	h := traffictest.HAProxy(t, config)
	b := newBalancer(t, h.Socket)
	if _, err := h.Command(t.Context(), "set server speech/primary weight 0"); err != nil {
		t.Fatal(err)
	}
	v, err := b.View(t.Context())
	if err != nil || server(v, "primary").State != traffic.Drain {
		t.Errorf("weight 0: %+v, %v", v, err)
	}
	if v, err = b.Apply(t.Context(), set(to("primary", traffic.Ready))); err != nil || !server(v, "primary").Takes() {
		t.Errorf("ready: %+v, %v", v, err)
	}
	if weight, _ := h.Command(t.Context(), "get weight speech/primary"); !strings.Contains(weight, "7 (initial 7)") {
		t.Errorf("weight is %q", weight)
	}
}

func TestATrackingServerFollows(t *testing.T) {
	t.Parallel()
	s := address(speaker(t))
	config, _ := backend("server primary " + s + " track other/primary")
	config += "backend other\n  server primary " + s + " check inter 100ms\n"
	h := traffictest.HAProxy(t, config)
	b := newBalancer(t, h.Socket)
	v := view(t, b, "primary is up", isUp("primary"))
	if check := server(v, "primary").Check; !strings.Contains(check, "follows other/primary") {
		t.Errorf("check %q", check)
	}
	if _, err := h.Command(t.Context(), "set server other/primary state maint"); err != nil {
		t.Fatal(err)
	}
	_, err := b.Apply(t.Context(), set(to("primary", traffic.Ready)))
	if err == nil || !strings.Contains(err.Error(), "primary is maint, not ready") || !strings.Contains(err.Error(), "follows other/primary") {
		t.Errorf("apply: %v", err)
	}
}

func TestAnAgentTakesAServerDown(t *testing.T) {
	t.Parallel()
	agent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Close() })
	go func() {
		for {
			conn, err := agent.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "down #model not loaded\n")
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(agent.Addr().String())
	config, _ := backend("server primary " + address(speaker(t)) + " check agent-check agent-inter 100ms agent-port " + port)
	b := newBalancer(t, traffictest.HAProxy(t, config).Socket)
	v := view(t, b, "primary is down", isDown("primary"))
	if check := server(v, "primary").Check; !strings.Contains(check, "its agent says so") {
		t.Errorf("check %q", check)
	}
}

func TestACheckQuotesAHostileServer(t *testing.T) {
	t.Parallel()
	primary, _ := stranger(t, func(_ int, conn net.Conn) {
		defer conn.Close()
		_, _ = bufio.NewReader(conn).ReadString('\n')
		fmt.Fprint(conn, "HTTP/1.0 500 say \"no\", then,\"\x1b[2J\r\n\r\n\n\n# pxname,svname\n")
	})
	config, _ := backend("option httpchk GET /health", "server primary "+primary+" check inter 100ms", "server hot 127.0.0.1:1 disabled")
	b := newBalancer(t, traffictest.HAProxy(t, config).Socket)
	v := view(t, b, "primary is down", isDown("primary"))
	check := server(v, "primary").Check
	if len(v.Servers) != 2 || !strings.Contains(check, "500") || strings.ContainsFunc(check, unicode.IsControl) {
		t.Errorf("check %q of %+v", check, v.Servers)
	}
}

func TestRequestsInFlight(t *testing.T) {
	t.Parallel()
	config, front := backend("server primary " + address(speaker(t)) + " check inter 100ms")
	h := traffictest.HAProxy(t, config)
	b := newBalancer(t, h.Socket)
	requests := func() runbooks.InFlight {
		v, err := b.View(t.Context())
		in := server(v, "primary").Requests
		if err != nil || in == nil {
			t.Fatalf("%+v, %v", v, err)
		}
		return *in
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(front, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	view(t, b, "an idle connection counts for nothing", func(v traffic.View) bool { return server(v, "primary").Requests.Requests == 0 })

	// The client stays idle for more than two of HAProxy's seconds, and asks again over the same connection.
	started := uptime(t, h)
	for uptime(t, h) < started+3 {
		time.Sleep(50 * time.Millisecond)
	}
	if in := requests(); in != (runbooks.InFlight{}) {
		t.Errorf("idle: %+v", in)
	}
	fmt.Fprintf(conn, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
	view(t, b, "one in flight", func(v traffic.View) bool { return server(v, "primary").Requests.Requests == 1 })
	in := requests()
	sessions, err := h.Command(t.Context(), "show sess")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`srv=primary .*age=(\d+)s`).FindStringSubmatch(sessions)
	if shown == nil {
		t.Fatalf("no session at primary: %s", sessions)
	}
	if age, _ := strconv.Atoi(shown[1]); in.Oldest.D() >= time.Duration(age)*time.Second {
		t.Errorf("the oldest for %s, though the session's %ds count the client's pause", in.Oldest, age)
	}
	view(t, b, "a request grows old", func(v traffic.View) bool { return server(v, "primary").Requests.Oldest.D() >= time.Second })
}

func uptime(t *testing.T, h *harness.HAProxyServer) int {
	t.Helper()
	info, err := h.Command(t.Context(), "show info")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "\nUptime_sec: ")
	seconds, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(seconds)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestABackendLargerThanABuffer(t *testing.T) {
	t.Parallel()
	lines := []string{"server primary " + address(speaker(t))}
	for i := range 500 {
		lines = append(lines, fmt.Sprintf("server slot-%d-with-a-long-name-that-fills-the-buffers 127.0.0.1:1 disabled", i))
	}
	config, _ := backend(lines...)
	b := newBalancer(t, traffictest.HAProxy(t, config).Socket)
	v, err := b.Apply(t.Context(), set(to("slot-499-with-a-long-name-that-fills-the-buffers", traffic.Ready)))
	if err != nil || len(v.Servers) != 501 || len(v.Serving()) != 2 {
		t.Errorf("%d servers, serving %v, %v", len(v.Servers), v.Serving(), err)
	}
	var all []traffic.Assignment
	for _, s := range v.Servers {
		all = append(all, to(s.Name, traffic.Maint))
	}
	if _, err := b.Apply(t.Context(), set(all...)); !errors.Is(err, traffic.ErrRefused) {
		t.Errorf("a change that fits no line: %v, want ErrRefused", err)
	}
}
