package traffictest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/traffic"
)

func set(a ...traffic.Assignment) traffic.Change { return traffic.Change{Set: a} }

func to(server string, state traffic.State) traffic.Assignment {
	return traffic.Assignment{Server: server, State: state}
}

var (
	// Written in the unlucky order on purpose: see traffic.Change.InOrder.
	toHot     = set(to(Primary, traffic.Maint), to(Hot, traffic.Ready))
	toPrimary = set(to(Hot, traffic.Maint), to(Primary, traffic.Ready))
)

func fresh(t *testing.T, s *site) {
	v := s.serves(t, Primary)
	for name, address := range s.addresses {
		server, ok := v.Server(name)
		if !ok {
			t.Errorf("no server %s in %+v", name, v)
		}
		if want := map[bool]traffic.State{true: traffic.Ready, false: traffic.Maint}[name == Primary]; server.State != want {
			t.Errorf("%s is %s, want %s", name, server.State, want)
		}
		if server.Address != address {
			t.Errorf("%s is at %s, want %s", name, server.Address, address)
		}
	}
	if len(v.Servers) != len(s.addresses) || v.At.IsZero() {
		t.Errorf("view of %d servers at %v", len(v.Servers), v.At)
	}
}

func switchAndBack(t *testing.T, s *site) {
	for _, step := range []struct {
		change traffic.Change
		want   string
	}{{toHot, Hot}, {toPrimary, Primary}, {toHot, Hot}} {
		s.apply(t, step.change)
		s.serves(t, step.want)
	}
}

func idempotent(t *testing.T, s *site) {
	first := s.apply(t, toHot)
	second := s.apply(t, toHot)
	if !slices.EqualFunc(first.Servers, second.Servers, sameServer) {
		t.Errorf("first %+v, then %+v", first.Servers, second.Servers)
	}
	s.serves(t, Hot)
}

func empty(t *testing.T, s *site) {
	s.apply(t, traffic.Change{})
	s.serves(t, Primary)
}

func unknown(t *testing.T, s *site) {
	change := set(to(Hot, traffic.Ready), to("nobody", traffic.Ready), to(Primary, traffic.Maint))
	if _, err := s.Balancer.Apply(t.Context(), change); !errors.Is(err, traffic.ErrNoServer) {
		t.Errorf("apply: %v, want ErrNoServer", err)
	}
	s.unchanged(t)
}

func hostile(t *testing.T, s *site) {
	for _, text := range []string{"", " ", "hot;", "hot; set server x/y state ready", "hot\nquit", "hot\r", "hot\x00", "$(id)", "`id`", "../hot", "-h", "hot\"", "{}"} {
		if _, err := s.Balancer.Apply(t.Context(), set(to(Hot, traffic.Ready), to(text, traffic.Ready))); !errors.Is(err, traffic.ErrRefused) {
			t.Errorf("server %q: %v, want ErrRefused", text, err)
		}
		if text == "" {
			continue
		}
		if _, err := s.Balancer.Apply(t.Context(), set(traffic.Assignment{Server: Hot, State: traffic.Ready, Address: text + ":80"})); !errors.Is(err, traffic.ErrRefused) {
			t.Errorf("address %q: %v, want ErrRefused", text+":80", err)
		}
		if _, err := s.Balancer.Apply(t.Context(), set(to(Hot, traffic.State(text)))); !errors.Is(err, traffic.ErrRefused) {
			t.Errorf("state %q: %v, want ErrRefused", text, err)
		}
	}
	if _, err := s.Balancer.Apply(t.Context(), set(to(Hot, traffic.Ready), to(Hot, traffic.Maint))); !errors.Is(err, traffic.ErrRefused) {
		t.Errorf("one server in two states: %v, want ErrRefused", err)
	}
	s.unchanged(t)
}

func several(t *testing.T, s *site) {
	change := set(to(Primary, traffic.Maint), to(Hot, traffic.Ready), to(Cold, traffic.Maint))
	v := s.apply(t, change)
	if err := v.Shows(change); err != nil {
		t.Errorf("the view that apply returned: %v", err)
	}
	s.serves(t, Hot)
}

func concurrent(t *testing.T, s *site) {
	failed := make(chan error)
	const callers = 6
	for range callers {
		go func() {
			_, err := s.Balancer.Apply(t.Context(), toHot)
			failed <- err
		}()
	}
	for range callers {
		if err := <-failed; err != nil {
			t.Errorf("apply: %v", err)
		}
	}
	s.serves(t, Hot)
}

func moves(t *testing.T, s *site) {
	if !s.Moves {
		t.Log("not asked of it: addresses cannot be changed at this load balancer")
		return
	}
	change := set(traffic.Assignment{Server: Cold, State: traffic.Ready, Address: s.spare.address}, to(Primary, traffic.Maint))
	v := s.apply(t, change)
	if cold, _ := v.Server(Cold); cold.Address != s.spare.address {
		t.Errorf("cold is at %s, want %s", cold.Address, s.spare.address)
	}
	s.servesBy(t, Cold, s.spare)
	// A change without an address leaves it where it is.
	s.apply(t, set(to(Cold, traffic.Maint), to(Primary, traffic.Ready)))
	if cold, _ := s.serves(t, Primary).Server(Cold); cold.Address != s.spare.address {
		t.Errorf("cold moved on to %s", cold.Address)
	}
}

func drains(t *testing.T, s *site) {
	change := set(to(Hot, traffic.Ready), to(Primary, traffic.Drain))
	if !s.Drains {
		if _, err := s.Balancer.Apply(t.Context(), change); !errors.Is(err, traffic.ErrRefused) {
			t.Errorf("apply: %v, want ErrRefused of a load balancer that cannot drain", err)
		}
		s.unchanged(t)
		return
	}
	held := s.hold(t, s.primary)
	s.apply(t, change)
	s.serves(t, Hot)
	s.primary.release()
	if got := <-held; got.err != nil || got.text != Primary {
		t.Errorf("the request in flight ended with %q, %v", got.text, got.err)
	}
}

func cuts(t *testing.T, s *site) {
	if !s.Cuts {
		t.Log("not asked of it: this load balancer cannot end connections")
		return
	}
	held := s.hold(t, s.primary)
	change := toHot
	change.Cut = true
	s.apply(t, change)
	if got := <-held; got.err == nil && got.text == Primary {
		t.Error("the hanging request was answered by the server that was cut off")
	}
	s.serves(t, Hot)
	s.apply(t, change)
	s.serves(t, Hot)
}

func seamless(t *testing.T, s *site) {
	if !s.Seamless {
		t.Log("not asked of it: a switch of this load balancer interrupts")
		return
	}
	ctx, stop := context.WithCancel(t.Context())
	const clients, switches = 8, 20
	answered, failed := make(chan struct{}), make(chan error)
	for range clients {
		go func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			var last error
			for last == nil && ctx.Err() == nil {
				if _, last = get(t.Context(), client, s.Front); last == nil {
					select {
					case answered <- struct{}{}:
					case <-ctx.Done():
					default:
					}
				}
			}
			failed <- last
		}()
	}
	waiting := clients
	for i := 0; i < switches && waiting == clients; i++ {
		s.apply(t, []traffic.Change{toHot, toPrimary}[i%2])
		// The requests keep coming all the time; a few of them must get through between two switches.
		for n := 0; n < clients && waiting == clients; {
			select {
			case <-answered:
				n++
			case err := <-failed:
				waiting--
				t.Errorf("a request failed during a switch: %v", err)
			}
		}
	}
	stop()
	for range waiting {
		if err := <-failed; err != nil {
			t.Errorf("a request failed during a switch: %v", err)
		}
	}
}

func unreachable(t *testing.T, s *site) {
	s.Break()
	s.isUnreachable(t, t.Context())
}

func hanging(t *testing.T, s *site) {
	if s.Freeze == nil {
		t.Log("not asked of it: this load balancer cannot be made to hang")
		return
	}
	s.Freeze()
	// Without a deadline of the caller's, the balancer's own must end it; a test that hangs here fails.
	if _, err := s.Balancer.View(t.Context()); !errors.Is(err, traffic.ErrUnreachable) {
		t.Errorf("view: %v, want ErrUnreachable", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	s.isUnreachable(t, ctx)
}

func ended(t *testing.T, s *site) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"view":  second(s.Balancer.View(ctx)),
		"apply": second(s.Balancer.Apply(ctx, toHot)),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want the context's error", name, err)
		}
	}
	s.unchanged(t)
}

func second(_ traffic.View, err error) error { return err }

func (s *site) isUnreachable(t *testing.T, ctx context.Context) {
	t.Helper()
	for name, err := range map[string]error{
		"view":  second(s.Balancer.View(ctx)),
		"apply": second(s.Balancer.Apply(ctx, toHot)),
	} {
		if !errors.Is(err, traffic.ErrUnreachable) {
			t.Errorf("%s: %v, want ErrUnreachable", name, err)
		}
	}
}
