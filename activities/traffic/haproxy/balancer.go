// Package haproxy moves traffic through the runtime sockets of HAProxy.
//
// A change is written in one line, servers that become ready first: HAProxy
// takes its commands one by one, and requests come in between. What it shows
// afterwards is read over the same connection. Where
// several HAProxy processes stand before a service, each has a socket, and a
// change holds only once all of them show it.
//
// What HAProxy 2.6 does, and what follows for those who call:
//
//   - What a socket changes is gone after a reload, unless the server state
//     file carries it over (deploy/haproxy shows how), and always after a
//     restart. Whoever cares reads again every few seconds.
//   - A server that comes out of maintenance counts as up at once and takes
//     requests before its first check, also where nothing listens. A switch to a
//     held standby loses no request for that reason, and nobody may switch to one
//     unproven. HAProxy would let the first failed check bring it down, however
//     many "fall" asks for, and a speech server that gets all the traffic at once
//     may well be mute for its first check: so it is also set healthy, which
//     gives it as much patience as any other server has.
//   - A server that its checks hold for down stays so when it is set ready. View
//     tells both, and only View.Serving says who takes traffic.
//   - A drained server may be drained by weight 0 instead; setting it ready
//     gives it its configured weight back.
//   - A server that tracks another, or whose name does not resolve, stays in
//     maintenance for that reason, whatever is set; the read-back says so.
package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// Balancer is one backend at one or several HAProxy processes.
type Balancer struct {
	sockets []socket
	backend string
}

var _ traffic.Balancer = (*Balancer)(nil)

// New makes the balancer of a runbook's traffic section of kind haproxy.
func New(t runbooks.Traffic) (*Balancer, error) {
	if err := traffic.ValidName(t.Backend); err != nil {
		return nil, fmt.Errorf("traffic.backend: %w", err)
	}
	if len(t.Sockets) == 0 {
		return nil, fmt.Errorf("%w: traffic.sockets names no HAProxy", traffic.ErrRefused)
	}
	b := &Balancer{backend: t.Backend}
	for _, text := range t.Sockets {
		s, err := parseSocket(text)
		if err != nil {
			return nil, err
		}
		b.sockets = append(b.sockets, s)
	}
	return b, nil
}

// View reads all sockets at once. Requests in flight are the sum over all of
// them, and unknown as soon as one does not answer.
func (b *Balancer) View(ctx context.Context) (traffic.View, error) {
	return merge(b.each(ctx, b.sockets, b.read))
}

// Apply changes every HAProxy that can be reached; the error names those that
// do not show the change. Each is read first: one that hangs is told nothing,
// because it would obey whenever it wakes, long after things have changed.
func (b *Balancer) Apply(ctx context.Context, c traffic.Change) (traffic.View, error) {
	if err := valid(c); err != nil {
		return traffic.View{}, err
	}
	before := b.each(ctx, b.sockets, b.read)
	if err := missing(before, c); err != nil {
		view, _ := merge(before)
		return view, err
	}
	var failed []error
	var reached []socket
	known := map[socket]reading{}
	for _, r := range before {
		if r.err != nil {
			failed = append(failed, r.err)
			continue
		}
		reached, known[r.socket] = append(reached, r.socket), r
	}
	after := b.each(ctx, reached, func(ctx context.Context, s socket) reading { return b.write(ctx, known[s], c) })
	for _, r := range after {
		if r.err != nil {
			failed = append(failed, r.err)
		}
	}
	view, err := merge(after)
	if len(failed) > 0 {
		return view, fmt.Errorf("%d of %d HAProxy processes lack the change: %w", len(failed), len(b.sockets), errors.Join(failed...))
	}
	if errors.Is(err, traffic.ErrDisagree) {
		err = nil // about servers that this change does not name; the next View tells
	}
	return view, err
}

// read asks one HAProxy for the state of the backend.
func (b *Balancer) read(ctx context.Context, s socket) reading {
	replies, err := s.ask(ctx, b.look()...)
	return b.parse(s, replies, err)
}

// write brings one HAProxy into the states of a change, if it is not there yet, and reads back.
func (b *Balancer) write(ctx context.Context, before reading, c traffic.Change) reading {
	if before.view().Shows(c) == nil && !c.Cut {
		return before
	}
	s, commands := before.socket, b.commands(before, c)
	replies, err := s.ask(ctx, append(commands, b.look()...)...)
	if err != nil {
		return reading{socket: s, err: err}
	}
	for i, command := range commands {
		if err := refusal(command, replies[i]); err != nil {
			return reading{socket: s, err: fmt.Errorf("haproxy at %s: %w", s, err)}
		}
	}
	r := b.parse(s, replies[len(commands):], nil)
	if r.err == nil {
		r.err = r.shows(c)
	}
	return r
}

// look is the pair of commands that show a backend: only the first knows what
// an administrator wants of a server that is down, only the second its checks.
func (b *Balancer) look() []string {
	const servers = 4
	return []string{"show servers state " + b.backend, fmt.Sprintf("show stat %s %d -1", b.backend, servers)}
}

func (b *Balancer) commands(before reading, c traffic.Change) []string {
	var commands []string
	for _, a := range c.InOrder() {
		server := b.backend + "/" + a.Server
		if at, err := netip.ParseAddrPort(a.Address); err == nil {
			commands = append(commands, fmt.Sprintf("set server %s addr %s port %d", server, at.Addr(), at.Port()))
		}
		was := before.server(a.Server)
		if a.State == traffic.Ready && was.weightless {
			commands = append(commands, fmt.Sprintf("set server %s weight 100%%", server))
		}
		commands = append(commands, fmt.Sprintf("set server %s state %s", server, a.State))
		if a.State == traffic.Ready && was.State == traffic.Maint && was.checks {
			commands = append(commands, fmt.Sprintf("set server %s health up", server))
		}
		if a.State == traffic.Maint && c.Cut {
			commands = append(commands, "shutdown sessions server "+server)
		}
	}
	// Requests that wait in the backend's queue when a server goes down stay there, and every new one joins them, also
	// behind a healthy backup (HAProxy 2.6): setting a limit again, to what it is, has the queue looked at.
	for _, a := range c.InOrder() {
		if limit := before.server(a.Server).limit; a.State == traffic.Ready && limit != "" {
			commands = append(commands, fmt.Sprintf("set maxconn server %s/%s %s", b.backend, a.Server, limit))
		}
	}
	return commands
}

// each asks several sockets at once and keeps their order.
func (b *Balancer) each(ctx context.Context, sockets []socket, ask func(context.Context, socket) reading) []reading {
	readings := make([]reading, len(sockets))
	var wait sync.WaitGroup
	for i, s := range sockets {
		wait.Go(func() {
			at := time.Now()
			readings[i] = ask(ctx, s)
			readings[i].at = at
		})
	}
	wait.Wait()
	return readings
}

// valid reports what HAProxy would not take, before anything is sent.
func valid(c traffic.Change) error {
	if err := c.Validate(); err != nil {
		return err
	}
	for _, a := range c.Set {
		if _, err := netip.ParseAddrPort(a.Address); a.Address != "" && err != nil {
			return fmt.Errorf("%w: HAProxy's socket takes IP addresses only, and %s is at %q; write its IP address", traffic.ErrRefused, a.Server, a.Address)
		}
	}
	return nil
}

// missing reports a server of the change that some HAProxy does not have.
func missing(readings []reading, c traffic.Change) error {
	for _, r := range readings {
		if errors.Is(r.err, traffic.ErrNoServer) {
			return r.err
		}
		for _, a := range c.Set {
			if _, ok := r.view().Server(a.Server); !ok && r.err == nil {
				return fmt.Errorf("%w: %s, at haproxy %s", traffic.ErrNoServer, a.Server, r.socket)
			}
		}
	}
	return nil
}

// refusal reads the reply to a command that changes something. HAProxy says
// nothing when all is well, except about addresses.
func refusal(command, reply string) error {
	switch {
	case reply == "":
		return nil
	case strings.Contains(command, " addr ") && (strings.Contains(reply, "changed from") || strings.Contains(reply, "no need to change")):
		return nil
	case strings.HasPrefix(reply, "Permission denied"):
		return fmt.Errorf("%w: permission denied; the socket is not of level admin, add it to the stats socket's line in haproxy.cfg", traffic.ErrRefused)
	case strings.HasPrefix(reply, "No such"):
		return fmt.Errorf("%w: %q says %q", traffic.ErrNoServer, command, reply)
	default:
		return fmt.Errorf("%w: %q says %q", traffic.ErrRefused, command, probe.Printable(reply, 200))
	}
}
