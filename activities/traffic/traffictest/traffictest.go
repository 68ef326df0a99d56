// Package traffictest is the conformance suite of package traffic.
//
// It runs small speech servers, lets an implementation put a real load balancer
// in front of them, and sends real requests through the front door: what a view
// says is believed only where the requests go there too.
package traffictest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/tests/harness"
)

// The servers that a load balancer starts with: Primary is ready, Hot and Cold
// are in maintenance, and nothing listens where Cold is.
const (
	Primary = "primary"
	Hot     = "hot"
	Cold    = "cold"
)

// Fixture is a balancer with the load balancer that it drives.
type Fixture struct {
	Balancer traffic.Balancer
	// Front is the base URL at which the load balancer serves.
	Front string
	// Break makes the load balancer unreachable for good.
	Break func()
	// Freeze makes it hang: it still accepts connections, and says nothing. Nil where that cannot be had.
	Freeze func()
	// Cuts is true where Change.Cut ends connections.
	Cuts bool
	// Drains is true where the state drain is known.
	Drains bool
	// Moves is true where a server's address can be changed.
	Moves bool
	// Seamless is true where a switch loses no request.
	Seamless bool
}

// Run holds an implementation against the contract. start is called for each
// case, with the addresses of the servers by name; it ends with the test.
func Run(t *testing.T, start func(t *testing.T, servers map[string]string) Fixture) {
	run(t, false, start)
}

// RunByHost is Run for a load balancer that sends to hosts and knows no ports,
// as DNS does: each server has a host of its own, and all have one port.
func RunByHost(t *testing.T, start func(t *testing.T, servers map[string]string) Fixture) {
	run(t, true, start)
}

func run(t *testing.T, byHost bool, start func(t *testing.T, servers map[string]string) Fixture) {
	for name, test := range map[string]func(*testing.T, *site){
		"a fresh view shows what was configured":        fresh,
		"a switch and the way back":                     switchAndBack,
		"the same change again changes nothing":         idempotent,
		"an empty change changes nothing":               empty,
		"an unknown server spoils the whole change":     unknown,
		"what could be a command is refused":            hostile,
		"several servers show in one read-back":         several,
		"concurrent changes to the same end":            concurrent,
		"a server moves to another address":             moves,
		"a drained server finishes what it has":         drains,
		"a cut ends the connections that hang":          cuts,
		"a switch loses no request":                     seamless,
		"a load balancer that is gone is unreachable":   unreachable,
		"a load balancer that hangs is unreachable":     hanging,
		"a context that has ended leaves all unchanged": ended,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := places(byHost)
			s := &site{primary: serve(t, Primary, at[0]), hot: serve(t, Hot, at[1]), spare: serve(t, "spare", at[2])}
			s.addresses = map[string]string{Primary: s.primary.address, Hot: s.hot.address, Cold: at[3]}
			s.Fixture = start(t, s.addresses)
			test(t, s)
		})
	}
}

// places are the addresses of three servers that listen and one that does not.
func places(byHost bool) [4]string {
	if !byHost {
		return [4]string{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", harness.Address(harness.FreePort())}
	}
	port, network := harness.FreePort(), fmt.Sprintf("127.%d.%d", 1+rand.IntN(254), rand.IntN(256))
	var at [4]string
	for i := range at {
		at[i] = fmt.Sprintf("%s.%d:%d", network, i+1, port)
	}
	return at
}

// site is a fixture with the speech servers behind it.
type site struct {
	Fixture
	primary, hot, spare *speaker
	addresses           map[string]string
}

// apply carries out a change that must succeed, and holds the view against it.
func (s *site) apply(t *testing.T, c traffic.Change) traffic.View {
	t.Helper()
	v, err := s.Balancer.Apply(t.Context(), c)
	if err != nil {
		t.Fatalf("apply %+v: %v", c, err)
	}
	if err := v.Shows(c); err != nil {
		t.Fatalf("apply returned without error, and %v", err)
	}
	return v
}

// unchanged holds the state against that of the start.
func (s *site) unchanged(t *testing.T) {
	t.Helper()
	fresh(t, s)
}

// serves checks that new requests go to one server, by the view and by what answers.
func (s *site) serves(t *testing.T, name string) traffic.View {
	t.Helper()
	return s.servesBy(t, name, map[string]*speaker{Primary: s.primary, Hot: s.hot}[name])
}

func (s *site) servesBy(t *testing.T, name string, who *speaker) traffic.View {
	t.Helper()
	v, err := s.Balancer.View(t.Context())
	for range 5 {
		// A machine that runs many tests may be too slow for the second that a view has.
		if !errors.Is(err, traffic.ErrUnreachable) {
			break
		}
		v, err = s.Balancer.View(t.Context())
	}
	if err != nil {
		t.Fatalf("view: %v", err)
	}
	if got := v.Serving(); !slices.Equal(got, []string{name}) {
		t.Errorf("serving %v, want %s: %+v", got, name, v.Servers)
	}
	for range 10 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		text, err := get(t.Context(), client, s.Front)
		if err != nil || text != who.name {
			t.Fatalf("the front door answers %q, %v; want %s", text, err, who.name)
		}
	}
	return v
}

// hold sends a request that hangs at a server, and returns once it hangs there.
func (s *site) hold(t *testing.T, at *speaker) <-chan answer {
	t.Helper()
	held := make(chan answer, 1)
	go func() {
		text, err := get(t.Context(), &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, s.Front+holdPath)
		held <- answer{text, err}
	}()
	select {
	case <-at.arrived:
	case got := <-held:
		t.Fatalf("the request that should hang ended with %q, %v", got.text, got.err)
	}
	return held
}

func sameServer(a, b traffic.Server) bool {
	return fmt.Sprint(a.Name, a.Address, a.State, a.Backup) == fmt.Sprint(b.Name, b.Address, b.State, b.Backup)
}
