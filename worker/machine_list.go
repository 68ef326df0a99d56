package worker

import (
	"context"
	"errors"
	"strings"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
)

// machineLister lists what the tiers' providers have made, for people: with the
// sweeper's eyes, so that they see what it would do.
type machineLister struct {
	library   func() *runbooks.Library
	providers func(runbooks.Provision) (compute.Provider, error)
	guards    activities.Guards
}

var _ triggers.Machines = machineLister{}

// List asks the provider of each tier that makes machines.
func (l machineLister) List(ctx context.Context) (all []triggers.MachineDetail, failed error) {
	found, err := activities.New(activities.Deps{Library: l.library, Providers: l.providers, Guards: l.guards}).SweepMachines(ctx, activities.SweepInput{})
	if err != nil {
		return nil, err
	}
	for _, m := range found.Machines {
		detail := triggers.MachineDetail{Machine: m.Machine, Service: m.Service, Kind: m.Kind, Remove: m.Remove, Reason: m.Reason, Cost: m.Cost}
		if m.Needed {
			detail.Held = m.Reason
		}
		all = append(all, detail)
	}
	if len(found.Problems) > 0 {
		failed = errors.New(strings.Join(found.Problems, "; "))
	}
	return all, failed
}
