package haproxy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// merge makes one view of what several HAProxy processes showed: states and
// addresses of the first that answered, health and requests of all.
func merge(readings []reading) (traffic.View, error) {
	var answered []reading
	var failed []error
	for _, r := range readings {
		if r.err == nil {
			answered = append(answered, r)
		} else {
			failed = append(failed, r.err)
		}
	}
	if len(answered) == 0 {
		return traffic.View{}, errors.Join(failed...)
	}
	view := answered[0].view()
	for i := range view.Servers {
		for _, other := range answered[1:] {
			if s, ok := other.view().Server(view.Servers[i].Name); ok {
				view.Servers[i] = both(view.Servers[i], s, other.socket)
			}
		}
		if len(answered) < len(readings) {
			view.Servers[i].Requests = nil // those that come through a silent HAProxy are unknown
		}
	}
	for _, err := range failed {
		if !errors.Is(err, traffic.ErrUnreachable) {
			return view, fmt.Errorf("%w: %w", traffic.ErrDisagree, err)
		}
	}
	return view, disagreement(answered)
}

// both adds what another HAProxy sees of a server. Traffic reaches the server
// as long as one of them holds it for up.
func both(s, other traffic.Server, at socket) traffic.Server {
	if s.Up != nil && other.Up != nil {
		if unwell(s) != unwell(other) || *s.Up != *other.Up {
			s.Check = fmt.Sprintf("%s; but at %s %s", s.Check, at, other.Check)
		}
		up := *s.Up || *other.Up
		s.Up, s.Failing = &up, up && unwell(s) && unwell(other)
	}
	if s.Requests == nil || other.Requests == nil {
		s.Requests = nil
		return s
	}
	s.Requests = &runbooks.InFlight{
		Requests: s.Requests.Requests + other.Requests.Requests,
		Oldest:   max(s.Requests.Oldest, other.Requests.Oldest),
	}
	return s
}

// unwell reports whether the last check of a server failed.
func unwell(s traffic.Server) bool { return s.Failing || !*s.Up }

// disagreement reports how the others differ from the first.
func disagreement(answered []reading) error {
	var differs []string
	first := answered[0]
	for _, other := range answered[1:] {
		if len(other.servers) != len(first.servers) {
			differs = append(differs, fmt.Sprintf("%s has %d servers, %s has %d", first.socket, len(first.servers), other.socket, len(other.servers)))
		}
		for _, s := range first.servers {
			o, ok := other.view().Server(s.Name)
			switch {
			case !ok:
				differs = append(differs, fmt.Sprintf("%s is not at %s", s.Name, other.socket))
			case o.State != s.State:
				differs = append(differs, fmt.Sprintf("%s is %s at %s, %s at %s", s.Name, s.State, first.socket, o.State, other.socket))
			case o.Address != s.Address:
				differs = append(differs, fmt.Sprintf("%s is at %s for %s, at %s for %s", s.Name, s.Address, first.socket, o.Address, other.socket))
			}
		}
	}
	if len(differs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", traffic.ErrDisagree, strings.Join(differs, "; "))
}
