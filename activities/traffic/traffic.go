// Package traffic moves a service's traffic between instances at its load
// balancer, and reads back what the load balancer truly does.
//
// A [Balancer] speaks of servers by the names that the runbook gives them. The
// implementations are haproxy (runtime sockets), nginx (an upstream file and a
// reload), route53 (weights of DNS records) and command (a program of the user's,
// which is also how Keepalived and Consul are driven).
package traffic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// State is what an administrator wants of a server.
type State string

// The states, as HAProxy names them.
const (
	Ready State = "ready" // takes traffic
	Drain State = "drain" // finishes what it has
	Maint State = "maint" // takes none
)

var (
	// ErrUnreachable means that a load balancer could not be asked or told. Nothing is known about its state.
	ErrUnreachable = errors.New("load balancer unreachable")
	// ErrNoServer means that the load balancer has no server of that name.
	ErrNoServer = errors.New("no such server at the load balancer")
	// ErrDisagree means that the load balancers of one service show different states.
	ErrDisagree = errors.New("load balancers disagree")
	// ErrRefused means that the load balancer does not take the change, and that a retry would not help.
	ErrRefused = errors.New("load balancer refused the change")
)

// Server is one server as the load balancer sees it.
type Server struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"`
	State   State  `json:"state"`
	// Up is the outcome of the load balancer's own checks; nil where it makes none (in maintenance, or of a kind without checks).
	Up *bool `json:"up,omitempty"`
	// Failing is true where the last check failed and the load balancer still counts the server as up, because one
	// failed check is not enough for it. It sends requests there.
	Failing bool `json:"failing,omitempty"`
	// Check explains Up and Failing, such as "L7OK 200 in 3ms, up for 31s", or says what else an operator should know
	// of the server; empty where unknown.
	Check string `json:"check,omitempty"`
	// Backup marks a server that takes traffic only when all others are down.
	Backup bool `json:"backup,omitempty"`
	// DNS marks a server that clients find by name: only the host of its address counts, the port is the front door's,
	// and drain and maint are the same, because clients go on with an address that they know.
	DNS bool `json:"dns,omitempty"`
	// Requests are those in flight at the server; nil where the load balancer cannot tell. The age of the oldest may
	// be less than the truth, never more: more could make a busy server seem to hang.
	Requests *runbooks.InFlight `json:"requests,omitempty"`
}

// Takes reports whether new requests would go to the server if no other were there.
func (s Server) Takes() bool { return s.State == Ready && (s.Up == nil || *s.Up) }

// is reports whether the server is in a state, as far as its load balancer tells states apart.
func (s Server) is(state State) bool {
	return s.State == state || s.DNS && s.State == Maint && state == Drain
}

// at reports whether the server is at an address.
func (s Server) at(address string) bool {
	if !s.DNS {
		return SameAddress(s.Address, address)
	}
	x, _, errX := net.SplitHostPort(s.Address)
	y, _, errY := net.SplitHostPort(address)
	return errX == nil && errY == nil && SameHost(x, y)
}

// View is the state of all servers of a service at one moment.
type View struct {
	Servers []Server  `json:"servers"`
	At      time.Time `json:"at"`
}

// Server finds a server by name.
func (v View) Server(name string) (Server, bool) {
	for _, s := range v.Servers {
		if s.Name == name {
			return s, true
		}
	}
	return Server{}, false
}

// Serving names the servers that new requests go to: those that take traffic,
// and the backups among them only where nobody else does.
func (v View) Serving() []string {
	var primaries, backups []string
	for _, s := range v.Servers {
		switch {
		case !s.Takes():
		case s.Backup:
			backups = append(backups, s.Name)
		default:
			primaries = append(primaries, s.Name)
		}
	}
	if len(primaries) > 0 {
		return primaries
	}
	return backups
}

// Shows reports whether every assignment of a change holds in the view, and if
// not, what differs.
func (v View) Shows(c Change) error {
	var differs []string
	for _, a := range c.Set {
		s, ok := v.Server(a.Server)
		switch {
		case !ok:
			return fmt.Errorf("%w: %s", ErrNoServer, a.Server)
		case !s.is(a.State):
			differs = append(differs, fmt.Sprintf("%s is %s, not %s", a.Server, s.State, a.State))
		case a.Address != "" && !s.at(a.Address):
			differs = append(differs, fmt.Sprintf("%s is at %s, not at %s", a.Server, s.Address, a.Address))
		}
	}
	if len(differs) > 0 {
		return fmt.Errorf("read back: %s", strings.Join(differs, ", "))
	}
	return nil
}

// Assignment puts one server into one state.
type Assignment struct {
	Server string `json:"server"`
	State  State  `json:"state"`
	// Address, as host:port, moves the server there first; empty leaves it where it is.
	Address string `json:"address,omitempty"`
}

// Change is a set of assignments that belong together.
type Change struct {
	// Set names each server once. Its order means nothing: see InOrder.
	Set []Assignment `json:"set"`
	// Cut ends the connections that the servers put into Maint still have.
	Cut bool `json:"cut,omitempty"`
}

// InOrder returns the assignments in the order in which a load balancer that
// takes one after the other must carry them out: servers go onto the traffic
// before others leave it. The other way round there is a moment without any
// server, and requests fail in it (under load, ten at each switch of HAProxy).
func (c Change) InOrder() []Assignment {
	return slices.SortedStableFunc(slices.Values(c.Set), func(a, b Assignment) int {
		return cmp.Compare(rank(a.State), rank(b.State))
	})
}

func rank(s State) int {
	if s == Ready {
		return 0
	}
	return 1
}

// Balancer is the load balancer of one service; where there are several, all of them.
type Balancer interface {
	// View reads the state of all servers. It changes nothing and returns within a second or fails with
	// ErrUnreachable; with several load balancers, one that answers is enough, and ErrDisagree comes together with
	// the view of the first.
	View(ctx context.Context) (View, error)
	// Apply brings the servers into the states of a change and reads back; it returns without error only when
	// every load balancer shows them. It is idempotent: applying what already holds changes nothing. It blocks
	// until done or the context ends. On an error the change may have happened in part; applying it again is safe.
	Apply(ctx context.Context, c Change) (View, error)
}
