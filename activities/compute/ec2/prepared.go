package ec2

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-dr/understudy/activities/compute"
)

// A prepared instance was launched and stopped ahead of time, with its model on
// a volume that is warm. Somebody has given it the tags managed-by and service.
// An order claims it with its own tags and starts it; stopped again, its mode is
// resting, and the key that had it is used.

// wake claims the prepared instance of a placement and starts it.
func (p *Provider) wake(ctx context.Context, o compute.Order) (compute.Machine, error) {
	s, err := p.prepared(ctx, o)
	if err != nil {
		return compute.Machine{}, err
	}
	machine := func() compute.Machine {
		m := s.machine(o.Provision, o.Placement)
		m.Key, m.Tags = o.Key, keptTags(o)
		return m
	}
	mine := s.tags[compute.TagKey] == o.Key
	if mine && !s.isOff() {
		return machine(), nil
	}
	if !mine || !s.kept() {
		if err := p.tag(ctx, s, keptTags(o)); err != nil {
			return compute.Machine{}, err
		}
	}
	if err := p.turnOn(ctx, s); err != nil {
		return compute.Machine{}, err
	}
	m := machine()
	m.State, m.Detail = compute.Pending, ""
	return m, nil
}

// prepared finds the instance that a placement names, if this order may have it.
func (p *Provider) prepared(ctx context.Context, o compute.Order) (seen, error) {
	s, err := p.one(ctx, compute.Ref{ID: o.Placement.Instance, Placement: o.Placement})
	if errors.Is(err, compute.ErrNone) {
		return seen{}, fmt.Errorf("%w: the prepared instance %s is not there in %s; correct the runbook", compute.ErrCapacity, o.Placement.Instance, o.Placement.Region)
	}
	if err != nil {
		return seen{}, err
	}
	key, owner := s.tags[compute.TagKey], s.tags[compute.TagService]
	epoch, _ := strconv.ParseInt(s.tags[compute.TagEpoch], 10, 64)
	switch {
	case !s.ours() || owner != o.Service:
		return seen{}, fmt.Errorf("%w: %s; to be used it needs the tags %s=%s and %s=%s, and has service %q",
			compute.ErrForeign, s.id(), compute.TagManagedBy, compute.ManagedBy, compute.TagService, o.Service, owner)
	case s.ending():
		return seen{}, fmt.Errorf("%w: the prepared instance %s is gone: %s", compute.ErrCapacity, s.id(), s.reason())
	case key == o.Key && s.tags[compute.TagMode] == compute.ModeResting:
		return seen{}, fmt.Errorf("%w: %s was started for key %s and stopped again", compute.ErrUsed, s.id(), o.Key)
	case key != o.Key && epoch > o.Epoch:
		return seen{}, fmt.Errorf("%w: %s belongs to epoch %d by now", compute.ErrUsed, s.id(), epoch)
	case key != o.Key && !s.isOff():
		return seen{}, fmt.Errorf("%w: the prepared instance %s runs already, for key %q", compute.ErrCapacity, s.id(), key)
	}
	return s, nil
}

// keptTags are those of an order on an instance that was prepared.
func keptTags(o compute.Order) map[string]string {
	tags := o.Tags()
	tags[compute.TagKeep] = "stopped"
	return tags
}

// rest marks a prepared instance as free, and its key as used.
func (p *Provider) rest(ctx context.Context, s seen) error {
	if s.tags[compute.TagMode] == compute.ModeResting || s.tags[compute.TagKey] == "" {
		return nil
	}
	return p.tag(ctx, s, map[string]string{compute.TagMode: compute.ModeResting})
}

// tag sets tags on an instance that exists.
func (p *Provider) tag(ctx context.Context, s seen, tags map[string]string) error {
	in := &api.CreateTagsInput{Resources: []string{s.id()}}
	for key, value := range tags {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	_, err := call(ctx, p, request[*api.CreateTagsOutput]{what: "tag " + s.id(), region: s.region, again: notYet, do: func(ctx context.Context, c *api.Client) (*api.CreateTagsOutput, error) {
		return c.CreateTags(ctx, in)
	}})
	return err
}

// isOff reports whether an instance is stopped, or will be.
func (s seen) isOff() bool { return s.state() == compute.Stopped || s.state() == compute.Stopping }

// kept reports whether an instance was prepared.
func (s seen) kept() bool { return compute.Machine{Tags: s.tags}.Kept() }

// ours reports whether an instance carries our tag.
func (s seen) ours() bool { return s.tags[compute.TagManagedBy] == compute.ManagedBy }
