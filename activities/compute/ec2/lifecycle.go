package ec2

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/understudy-dr/understudy/activities/compute"
)

// Stop stops an instance and keeps its volumes. See compute.Provider.
func (p *Provider) Stop(ctx context.Context, r compute.Ref) error {
	s, err := p.living(ctx, r)
	if err != nil {
		return err
	}
	return p.turnOff(ctx, s)
}

// Start starts a stopped instance. See compute.Provider.
func (p *Provider) Start(ctx context.Context, r compute.Ref) (compute.Machine, error) {
	s, err := p.living(ctx, r)
	if err != nil {
		return compute.Machine{}, err
	}
	m := s.machine(r.Provision, r.Placement)
	if !s.isOff() {
		return m, nil
	}
	if err := p.turnOn(ctx, s); err != nil {
		return compute.Machine{}, err
	}
	m.State, m.Detail = compute.Pending, ""
	return m, nil
}

// Terminate removes an instance with its volumes; a prepared one it stops. By
// key it removes all that the key has made. What cannot be seen counts as gone,
// which right after a launch it may not be. See compute.Provider.
func (p *Provider) Terminate(ctx context.Context, r compute.Ref) error {
	found, err := p.find(ctx, r)
	errs := []error{err}
	for _, s := range found {
		switch {
		case s.ending():
		case !s.ours() && !(r.Key != "" && aws.ToString(s.ClientToken) == r.Key):
			errs = append(errs, foreign(s))
		case s.kept() || s.id() == r.Placement.Instance:
			errs = append(errs, p.turnOff(ctx, s))
		default:
			_, err := call(ctx, p, request[*api.TerminateInstancesOutput]{what: "terminate " + s.id(), region: s.region, again: notYet,
				do: func(ctx context.Context, c *api.Client) (*api.TerminateInstancesOutput, error) {
					return c.TerminateInstances(ctx, &api.TerminateInstancesInput{InstanceIds: []string{s.id()}})
				}})
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// living finds an instance of ours that is there.
func (p *Provider) living(ctx context.Context, r compute.Ref) (seen, error) {
	s, err := p.one(ctx, r)
	switch {
	case err != nil:
		return seen{}, err
	case s.ending():
		return seen{}, fmt.Errorf("%w: %s is gone: %s", compute.ErrNone, s.id(), s.reason())
	case !s.ours():
		return seen{}, foreign(s)
	}
	return s, nil
}

// turnOff stops an instance. One that is still being made cannot be stopped
// yet; the call is repeated until it can. A prepared one is marked first: with
// its key used up, a call that comes late cannot start it again.
func (p *Provider) turnOff(ctx context.Context, s seen) error {
	if s.kept() {
		if err := p.rest(ctx, s); err != nil {
			return err
		}
	}
	if s.isOff() {
		return nil
	}
	_, err := call(ctx, p, request[*api.StopInstancesOutput]{what: "stop " + s.id(), region: s.region, again: notYet,
		do: func(ctx context.Context, c *api.Client) (*api.StopInstancesOutput, error) {
			return c.StopInstances(ctx, &api.StopInstancesInput{InstanceIds: []string{s.id()}})
		}})
	return err
}

// turnOn starts an instance. One that is still stopping cannot be started yet;
// the call is repeated until it can.
func (p *Provider) turnOn(ctx context.Context, s seen) error {
	_, err := call(ctx, p, request[*api.StartInstancesOutput]{what: "start " + s.id(), region: s.region, zone: s.zone(), again: notYet,
		do: func(ctx context.Context, c *api.Client) (*api.StartInstancesOutput, error) {
			return c.StartInstances(ctx, &api.StartInstancesInput{InstanceIds: []string{s.id()}})
		}})
	return err
}

// notYet recognizes refusals of an instance that was found a moment ago: it is
// on its way to another state, or not all of EC2 has heard of it.
func notYet(err error) bool {
	code := codeOf(err)
	return code == "IncorrectInstanceState" || code == "InvalidInstanceID.NotFound"
}

func foreign(s seen) error {
	return fmt.Errorf("%w: %s lacks the tag %s=%s", compute.ErrForeign, s.id(), compute.TagManagedBy, compute.ManagedBy)
}
