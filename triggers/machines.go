package triggers

import (
	"context"

	"github.com/understudy-dr/understudy/activities/compute"
)

// Machines lists what providers have made.
type Machines interface {
	// List returns every machine that carries our tags. Where a provider does not answer, it returns the others'
	// machines with the error.
	List(ctx context.Context) ([]MachineDetail, error)
}

// MachineDetail is one machine, and what it is there for.
type MachineDetail struct {
	compute.Machine
	Service string `json:"service"`
	// Kind is the provider's: local, ec2, libvirt.
	Kind string `json:"kind"`
	// Held is why it is there: a recovery makes it, or the service runs on it. One that nothing holds is on its way out.
	Held string `json:"held,omitempty" doc:"why it is there; empty for one that nothing holds"`
	// Remove says that the sweeper removes it next; Reason why, or why it stays.
	Remove bool   `json:"remove,omitempty" doc:"whether the sweeper removes it next"`
	Reason string `json:"reason,omitempty" doc:"why it is removed, or stays"`
	// Cost so far, where the runbook says a price, in the currency of that price.
	Cost float64 `json:"cost,omitempty" doc:"what it has cost so far, in the currency of its price"`
}

// MachineList is what could be listed.
type MachineList struct {
	Machines []MachineDetail `json:"machines"`
	// Problem says which provider did not answer; then there may be more machines.
	Problem string `json:"problem,omitempty" doc:"which provider did not answer; there may be more machines"`
}

func (a *API) machines(ctx context.Context, _ *struct{}) (*Body[MachineList], error) {
	all, err := a.Machines.List(ctx)
	list := MachineList{Machines: all}
	if list.Machines == nil {
		list.Machines = []MachineDetail{}
	}
	if err != nil {
		list.Problem = err.Error()
	}
	return &Body[MachineList]{list}, nil
}
