package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
)

// listIn bounds how long one provider may take to list its machines.
const listIn = 10 * time.Second

// machineLister lists what the tiers' providers have made, for people.
type machineLister struct {
	library   func() *runbooks.Library
	providers func(runbooks.Provision) (compute.Provider, error)
	guards    triggers.Guards
}

var _ triggers.Machines = machineLister{}

// List asks the provider of each tier that makes machines.
func (l machineLister) List(ctx context.Context) (all []triggers.MachineDetail, failed error) {
	library := l.library()
	for _, service := range library.Services() {
		r, _ := library.Lookup(service)
		for _, tier := range r.Tiers {
			if tier.Provision == nil {
				continue
			}
			found, err := l.listTier(ctx, service, tier)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s, tier %s: %w", service, tier.Name, err))
			}
			for _, m := range found {
				// Two tiers of one kind list the same machines.
				if !slices.ContainsFunc(all, func(other triggers.MachineDetail) bool { return other.ID == m.ID && other.Kind == m.Kind }) {
					all = append(all, m)
				}
			}
		}
	}
	return all, failed
}

func (l machineLister) listTier(ctx context.Context, service string, tier runbooks.Tier) ([]triggers.MachineDetail, error) {
	provider, err := l.providers(*tier.Provision)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, listIn)
	defer cancel()
	machines, err := provider.List(ctx, *tier.Provision, service)
	if err != nil {
		return nil, err
	}
	state, unknown := l.guards.State(ctx, service)
	var all []triggers.MachineDetail
	for _, m := range machines {
		detail := triggers.MachineDetail{Machine: m, Service: service, Kind: tier.Provision.Kind}
		switch {
		case unknown != nil:
			detail.Held = "not known: the guard does not answer"
		case state.Made != nil && state.Made.Machine.ID == m.ID:
			detail.Tier, detail.Held = state.Made.Tier, service+" runs on it"
		case state.Running != nil && m.Tags[compute.TagEpoch] == strconv.FormatInt(state.Running.Epoch, 10):
			detail.Held = "recovery " + triggers.RecoveryName(service, state.Running.Epoch)
		case m.Kept():
			detail.Held = "prepared"
		}
		all = append(all, detail)
	}
	return all, nil
}
