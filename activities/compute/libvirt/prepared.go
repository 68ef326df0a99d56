package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/understudy-dr/understudy/activities/compute"
)

// A prepared machine was made and stopped ahead of time, with its model on its
// disk. Somebody has written managed-by and service into its metadata. An order
// claims it with its own tags and starts it; stopped again, its mode is resting,
// and the key that had it is used.

// wake claims the prepared machine of a placement and starts it.
func (p *Provider) wake(ctx context.Context, at place, o compute.Order) (compute.Machine, error) {
	s, err := p.prepared(ctx, at, o)
	if err != nil {
		return compute.Machine{}, err
	}
	if s.notes[compute.TagKey] == o.Key && !s.off() {
		return p.machine(ctx, at, s)
	}
	changes := o.Tags()
	changes[compute.TagKeep] = "stopped"
	return p.turnOn(ctx, at, s, changes)
}

// prepared finds the machine that a placement names, if this order may have it.
func (p *Provider) prepared(ctx context.Context, at place, o compute.Order) (seen, error) {
	name := o.Placement.Instance
	if !idFormat.MatchString(name) {
		return seen{}, refused("%q is no name of a machine", name)
	}
	s, err := p.look(ctx, at, name)
	if errors.Is(err, errNoDomain) {
		return seen{}, fmt.Errorf("%w: the prepared machine %s is not there at %s; correct the runbook", compute.ErrCapacity, name, at.uri)
	}
	if err != nil {
		return seen{}, err
	}
	key, owner := s.notes[compute.TagKey], s.notes[compute.TagService]
	epoch, _ := strconv.ParseInt(s.notes[compute.TagEpoch], 10, 64)
	switch {
	case !s.ours() || owner != o.Service:
		return seen{}, fmt.Errorf("%w: %s; to be used it needs the tags %s=%s and %s=%s, and has service %q",
			compute.ErrForeign, name, compute.TagManagedBy, compute.ManagedBy, compute.TagService, o.Service, owner)
	case key == o.Key && s.notes[compute.TagMode] == compute.ModeResting:
		return seen{}, fmt.Errorf("%w: %s was started for key %s and stopped again", compute.ErrUsed, name, o.Key)
	case key != o.Key && epoch > o.Epoch:
		return seen{}, fmt.Errorf("%w: %s belongs to epoch %d by now", compute.ErrUsed, name, epoch)
	case key != o.Key && !s.off():
		return seen{}, fmt.Errorf("%w: the prepared machine %s runs already, for key %q", compute.ErrCapacity, name, key)
	}
	return s, nil
}
