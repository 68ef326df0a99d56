package haproxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/haproxy"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

// These tests show what happens at the sockets: strangers, missing rights, several HAProxy processes, reloads.

func TestASocketWithoutTheRight(t *testing.T) {
	t.Parallel()
	admin := harness.Address(harness.FreePort())
	config, _ := backend("server primary " + address(speaker(t)))
	traffictest.HAProxy(t, "global\n  stats socket "+admin+" level user\n"+config)
	b := newBalancer(t, admin)
	v, err := b.View(t.Context())
	if err != nil || !slices.Equal(v.Serving(), []string{"primary"}) || server(v, "primary").Requests == nil {
		t.Errorf("a user may look: %+v, %v", v, err)
	}
	_, err = b.Apply(t.Context(), set(to("primary", traffic.Maint)))
	if !errors.Is(err, traffic.ErrRefused) || !strings.Contains(err.Error(), "level admin") {
		t.Errorf("apply: %v, want ErrRefused with a hint", err)
	}
}

func TestAnUnknownBackend(t *testing.T) {
	t.Parallel()
	config, _ := backend("server primary " + address(speaker(t)))
	h := traffictest.HAProxy(t, config)
	b, err := haproxy.New(runbooks.Traffic{Sockets: []string{h.Socket}, Backend: "speech2"})
	if err != nil {
		t.Fatal(err)
	}
	_, viewed := b.View(t.Context())
	_, applied := b.Apply(t.Context(), set(to("primary", traffic.Maint)))
	for _, err := range []error{viewed, applied} {
		if !errors.Is(err, traffic.ErrNoServer) || !strings.Contains(err.Error(), "no backend speech2") {
			t.Errorf("%v, want ErrNoServer", err)
		}
	}
}

func TestAddressesMustBeNumeric(t *testing.T) {
	b := newBalancer(t, "/nowhere")
	_, err := b.Apply(t.Context(), set(traffic.Assignment{Server: "cold", State: traffic.Ready, Address: "gpu-b:7860"}))
	if !errors.Is(err, traffic.ErrRefused) {
		t.Errorf("%v, want ErrRefused", err)
	}
}

func TestOneOfTwoIsDown(t *testing.T) {
	t.Parallel()
	config, _ := backend("server primary "+address(speaker(t)), "server hot "+address(speaker(t))+" disabled")
	first := traffictest.HAProxy(t, config)
	other, _ := backend("server primary "+address(speaker(t)), "server hot "+address(speaker(t))+" disabled")
	second := traffictest.HAProxy(t, other)
	b := newBalancer(t, first.Socket, second.Socket)
	change := set(to("hot", traffic.Ready), to("primary", traffic.Maint))

	first.Kill()
	v, err := b.View(t.Context())
	if err != nil || !slices.Equal(v.Serving(), []string{"primary"}) {
		t.Errorf("view with one left: %+v, %v", v, err)
	}
	if s := server(v, "primary"); s.Requests != nil {
		t.Errorf("requests that come through a silent HAProxy cannot be known: %+v", s)
	}
	_, err = b.Apply(t.Context(), change)
	if !errors.Is(err, traffic.ErrUnreachable) || !strings.Contains(err.Error(), first.Socket) || strings.Contains(err.Error(), second.Socket) {
		t.Errorf("apply with one left: %v", err)
	}
	if v, err = newBalancer(t, second.Socket).View(t.Context()); err != nil || !slices.Equal(v.Serving(), []string{"hot"}) {
		t.Errorf("the one that is left was not changed: %+v, %v", v, err)
	}
	if err := first.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err = b.View(t.Context())
	if !errors.Is(err, traffic.ErrDisagree) || !slices.Equal(v.Serving(), []string{"primary"}) {
		t.Errorf("view of two that differ: %+v, %v", v, err)
	}
	if _, err = b.Apply(t.Context(), change); err != nil && !errors.Is(err, traffic.ErrDisagree) {
		t.Errorf("apply again: %v", err)
	}
}

func TestAReloadForgetsAndApplyRepeats(t *testing.T) {
	t.Parallel()
	config, _ := backend("server primary "+address(speaker(t)), "server hot "+address(speaker(t))+" disabled")
	h := traffictest.HAProxy(t, config)
	b := newBalancer(t, h.Socket)
	change := set(to("hot", traffic.Ready), to("primary", traffic.Maint))
	if _, err := b.Apply(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if err := h.Reload(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	v, err := b.View(t.Context())
	if err != nil || !slices.Equal(v.Serving(), []string{"primary"}) {
		t.Errorf("after a reload: %+v, %v", v, err)
	}
	if v, err = b.Apply(t.Context(), change); err != nil || !slices.Equal(v.Serving(), []string{"hot"}) {
		t.Errorf("after the change was repeated: %+v, %v", v, err)
	}
}

func TestViewsDuringReloads(t *testing.T) {
	t.Parallel()
	config, _ := backend("server primary " + address(speaker(t)))
	h := traffictest.HAProxy(t, config)
	b := newBalancer(t, h.Socket)
	reloaded := make(chan error)
	go func() {
		var err error
		for range 3 {
			err = errors.Join(err, h.Reload(t.Context(), config))
		}
		reloaded <- err
	}()
	for {
		if _, err := b.View(t.Context()); err != nil {
			t.Errorf("a view during a reload: %v", err)
		}
		select {
		case err := <-reloaded:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

// stranger listens at a TCP port and handles each connection by its number.
func stranger(t *testing.T, handle func(n int, conn net.Conn)) (address string, connections func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	count := make(chan int, 1)
	count <- 0
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n := <-count
			count <- n + 1
			go handle(n, conn)
		}
	}()
	return l.Addr().String(), func() int { n := <-count; count <- n; return n }
}

func TestNothingIsSentBeforeAChangeIsValid(t *testing.T) {
	address, connections := stranger(t, func(_ int, conn net.Conn) { conn.Close() })
	b := newBalancer(t, address)
	for _, name := range []string{"", "hot;", "hot\nset server x/y state maint", "hot state ready", "\x00"} {
		if _, err := b.Apply(t.Context(), set(to("primary", traffic.Maint), to(name, traffic.Ready))); !errors.Is(err, traffic.ErrRefused) {
			t.Errorf("%q: %v, want ErrRefused", name, err)
		}
	}
	if n := connections(); n > 0 {
		t.Errorf("%d connections were opened", n)
	}
}

func TestWhatIsNoHAProxy(t *testing.T) {
	for name, handle := range map[string]func(int, net.Conn){
		"closes at once":     func(_ int, c net.Conn) { c.Close() },
		"says nothing":       func(_ int, c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"speaks HTTP":        func(_ int, c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); c.Close() },
		"says nothing known": func(_ int, c net.Conn) { fmt.Fprint(c, "\n\n"); c.Close() },
		"never stops": func(_ int, c net.Conn) {
			for chunk := strings.Repeat("x", 1<<16); ; {
				if _, err := io.WriteString(c, chunk); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, _ := stranger(t, handle)
			b := newBalancer(t, address)
			if _, err := b.View(t.Context()); !errors.Is(err, traffic.ErrUnreachable) {
				t.Errorf("view: %v, want ErrUnreachable", err)
			}
			if _, err := b.Apply(t.Context(), set(to("primary", traffic.Maint))); !errors.Is(err, traffic.ErrUnreachable) {
				t.Errorf("apply: %v, want ErrUnreachable", err)
			}
		})
	}
}

func TestABrokenConnectionIsTriedOnceMore(t *testing.T) {
	t.Parallel()
	config, _ := backend("server primary " + address(speaker(t)))
	h := traffictest.HAProxy(t, config)
	address, connections := stranger(t, func(n int, conn net.Conn) {
		defer conn.Close()
		if n == 0 {
			return
		}
		line, _ := bufio.NewReader(conn).ReadString('\n')
		answer, _ := h.Command(context.Background(), strings.TrimSpace(line))
		fmt.Fprint(conn, answer)
	})
	if v, err := newBalancer(t, address).View(t.Context()); err != nil || len(v.Servers) != 1 || connections() != 2 {
		t.Errorf("%+v, %v after %d connections", v, err, connections())
	}
}

func TestNew(t *testing.T) {
	for name, config := range map[string]runbooks.Traffic{
		"no socket":         {Backend: "speech"},
		"a relative path":   {Backend: "speech", Sockets: []string{"run/admin.sock"}},
		"a port is missing": {Backend: "speech", Sockets: []string{"127.0.0.1"}},
		"no backend":        {Sockets: []string{"/run/admin.sock"}},
		"a hostile backend": {Backend: "a;b", Sockets: []string{"/run/admin.sock"}},
	} {
		if _, err := haproxy.New(config); !errors.Is(err, traffic.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", name, err)
		}
	}
}
