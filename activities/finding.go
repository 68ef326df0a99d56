package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

// FindMachineInput names the tier on which a service runs.
type FindMachineInput struct {
	Service string `json:"service"`
	Tier    string `json:"tier"`
}

// FindMachine finds the machine on which a service runs, for a guard that knows
// only the tier: of the machines that run with the service's tag, the one of the
// newest epoch. It only looks; nil means that there is none here.
func (a *Activities) FindMachine(ctx context.Context, in FindMachineInput) (*Made, error) {
	defer heartbeat(ctx)()
	r, ok := a.Library().Lookup(in.Service)
	if !ok {
		return nil, nil
	}
	tier, ok := r.TierNamed(in.Tier)
	if !ok || tier.Provision == nil {
		return nil, nil
	}
	all, err := a.machinesOf(ctx, ListMachinesInput{Service: in.Service, Provision: *tier.Provision})
	if err != nil {
		return nil, classify(err)
	}
	var newest *compute.Machine
	for i, m := range all {
		if m.Ours() && m.Tags[compute.TagMode] == ModeLive && m.State == compute.Running && (newest == nil || epochOf(m) > epochOf(*newest)) {
			newest = &all[i]
		}
	}
	if newest == nil {
		return nil, nil
	}
	ref := compute.Ref{ID: newest.ID, Key: newest.Key, Provision: *tier.Provision, Placement: placeOf(*tier.Provision, *newest)}
	return &Made{Tier: in.Tier, Machine: ref, Address: newest.Address, Where: newest.Where, Since: newest.Made, Price: newest.Price}, nil
}

func epochOf(m compute.Machine) int64 {
	n, _ := strconv.ParseInt(m.Tags[compute.TagEpoch], 10, 64)
	return n
}

// FindOrphansInput looks for what a recovery should have taken back.
type FindOrphansInput struct {
	Service    string               `json:"service"`
	Epoch      int64                `json:"epoch"`
	Mode       string               `json:"mode"`
	Provisions []runbooks.Provision `json:"provisions"`
}

// FindOrphansResult is what is still there.
type FindOrphansResult struct {
	Timing
	// Listed is how many machines were looked at.
	Listed   int      `json:"listed"`
	Machines []string `json:"machines,omitempty"`
}

// FindOrphans lists the machines of a recovery that are still alive. It only looks.
func (a *Activities) FindOrphans(ctx context.Context, in FindOrphansInput) (FindOrphansResult, error) {
	out := FindOrphansResult{Timing: begin()}
	defer heartbeat(ctx)()
	var failed error
	for _, p := range in.Provisions {
		provider, err := a.Providers(p)
		if err != nil {
			return out, classify(err)
		}
		all, err := provider.List(ctx, p, in.Service)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("list the machines of kind %s: %w", p.Kind, err))
			continue
		}
		out.Listed += len(all)
		for _, m := range all {
			alive := m.State != compute.Gone && m.State != compute.Stopped
			if alive && epochOf(m) == in.Epoch && m.Tags[compute.TagMode] == in.Mode && !slices.Contains(out.Machines, m.ID) {
				out.Machines = append(out.Machines, m.ID)
			}
		}
	}
	out.Timing = out.Timing.end()
	return out, classify(failed)
}

// AskDrillInput asks a service's guard for a drill.
type AskDrillInput struct {
	Service string   `json:"service"`
	Tiers   []string `json:"tiers,omitempty"`
	// Key makes the request one: asked again, it is answered again.
	Key string `json:"key"`
}

// AskDrillResult is the guard's answer.
type AskDrillResult struct {
	Started bool   `json:"started"`
	Epoch   int64  `json:"epoch,omitempty"`
	Reason  string `json:"reason"`
}

// AskDrill asks a guard for a scheduled drill. It is idempotent for its key.
func (a *Activities) AskDrill(ctx context.Context, in AskDrillInput) (AskDrillResult, error) {
	result, err := a.Guards.Drill(ctx, in)
	return result, classify(err)
}
