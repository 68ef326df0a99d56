package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

// SweepInput asks for the machines that carry our tags.
type SweepInput struct {
	// Remove removes those that nobody claims any more; else they are only named.
	Remove bool `json:"remove"`
}

// SweepResult is what was found.
type SweepResult struct {
	Timing
	Machines []SweptMachine `json:"machines,omitempty"`
	// Problems are providers and guards that could not be asked; what depends on them is left alone.
	Problems []string `json:"problems,omitempty"`
}

// SweptMachine is one machine with what is thought of it.
type SweptMachine struct {
	compute.Machine
	Service string `json:"service"`
	// Kind is that of its provider.
	Kind string `json:"kind"`
	// Remove says that nobody needs it any more, Needed that somebody does, or may; Reason says why either.
	Remove bool   `json:"remove"`
	Needed bool   `json:"needed,omitempty"`
	Reason string `json:"reason"`
	// Cost so far, where the runbook says a price; in the site's currency.
	Cost    float64 `json:"cost,omitempty"`
	Removed bool    `json:"removed,omitempty"`
	ref     compute.Ref
}

// listIn bounds how long one provider may take to list its machines.
const listIn = 10 * time.Second

// SweepMachines lists every machine that carries our tags, at every place that
// a runbook names, and removes those that are past their time and belong to no
// running recovery or drill, and on which no service runs. A service whose guard
// cannot be asked is left alone.
func (a *Activities) SweepMachines(ctx context.Context, in SweepInput) (SweepResult, error) {
	out := SweepResult{Timing: begin()}
	defer heartbeat(ctx)()
	library := a.Library()
	for _, service := range library.Services() {
		r, _ := library.Lookup(service)
		machines, err := a.listTagged(ctx, r)
		if err != nil {
			out.Problems = append(out.Problems, fmt.Sprintf("%s: %v", service, err))
		}
		if len(machines) == 0 {
			continue
		}
		if err := a.judge(ctx, r, machines); err != nil {
			out.Problems = append(out.Problems, err.Error())
		}
		for _, m := range machines {
			if in.Remove && m.Remove {
				if err := a.removeForgotten(ctx, r, m); err != nil {
					out.Problems = append(out.Problems, fmt.Sprintf("%s of %s: %v", m.ID, service, err))
				} else {
					m.Removed = true
				}
			}
			out.Machines = append(out.Machines, m)
		}
	}
	slices.SortFunc(out.Machines, func(x, y SweptMachine) int { return cmp.Or(cmp.Compare(x.Service, y.Service), cmp.Compare(x.ID, y.ID)) })
	out.Timing = out.Timing.end()
	return out, ctx.Err()
}

// judge decides about the machines of one service, from what its guard says now.
func (a *Activities) judge(ctx context.Context, r runbooks.Runbook, machines []SweptMachine) error {
	held, err := a.Guards.Holds(ctx, r.Service)
	in := compute.Inventory{Active: held.Machines, Now: time.Now(), Unsure: map[string]string{}}
	for _, m := range machines {
		in.Machines = append(in.Machines, m.Machine)
		for _, epoch := range held.Running {
			in.Runs = append(in.Runs, compute.Run{Service: r.Service, Epoch: epoch, Mode: m.Tags[compute.TagMode]})
		}
	}
	tier, _ := r.TierNamed(held.Active)
	switch {
	case err != nil:
		in.Unsure[r.Service] = "not known: the guard does not answer"
	case tier.Provision != nil && len(held.Machines) == 0:
		in.Unsure[r.Service] = fmt.Sprintf("%s runs on %s, and it is not known on which machine", r.Service, held.Active)
	}
	for i, f := range compute.Sweep(in) {
		machines[i].Remove, machines[i].Needed, machines[i].Reason, machines[i].Cost = f.Remove, f.Needed, f.Reason, f.Cost
	}
	return err
}

func (a *Activities) listTagged(ctx context.Context, r runbooks.Runbook) (all []SweptMachine, failed error) {
	for _, t := range r.Tiers {
		if t.Provision == nil {
			continue
		}
		provider, err := a.Providers(*t.Provision)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		found, err := listWithin(ctx, provider, *t.Provision, r.Service)
		if err != nil {
			failed = errors.Join(failed, err)
		}
		for _, m := range found {
			if m.State == compute.Gone || slices.ContainsFunc(all, func(known SweptMachine) bool { return known.ID == m.ID }) {
				continue
			}
			s := SweptMachine{Machine: m, Service: r.Service, Kind: t.Provision.Kind, ref: compute.Ref{ID: m.ID, Key: m.Key, Provision: *t.Provision, Placement: placeOf(*t.Provision, m)}}
			if m.Kept() {
				s.ref.Provision.Keep = "stopped"
			}
			s.Price = cmp.Or(m.Price, s.ref.Placement.Price)
			all = append(all, s)
		}
	}
	return all, failed
}

// placeOf is the placement where a machine stands, as far as its words tell.
func placeOf(p runbooks.Provision, m compute.Machine) runbooks.Placement {
	for _, place := range p.Places() {
		if place.Text() == m.Where {
			return place
		}
	}
	return runbooks.Placement{} // the provider then looks everywhere
}

func listWithin(ctx context.Context, provider compute.Provider, p runbooks.Provision, service string) ([]compute.Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, listIn)
	defer cancel()
	return provider.List(ctx, p, service)
}

// removeForgotten asks the guard once more, in the last moment, and removes.
func (a *Activities) removeForgotten(ctx context.Context, r runbooks.Runbook, m SweptMachine) error {
	again := []SweptMachine{m}
	if err := a.judge(ctx, r, again); err != nil {
		return err
	}
	if !again[0].Remove {
		return errors.New(again[0].Reason)
	}
	provider, err := a.Providers(m.ref.Provision)
	if err != nil {
		return err
	}
	return provider.Terminate(ctx, m.ref)
}
