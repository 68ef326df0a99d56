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
	// Remove says that nobody claims it any more; Reason says why, or why it stays.
	Remove bool   `json:"remove"`
	Reason string `json:"reason"`
	// Cost so far, where the runbook says a price; in the site's currency.
	Cost    float64 `json:"cost,omitempty"`
	Removed bool    `json:"removed,omitempty"`
	ref     compute.Ref
}

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
		held, err := a.Guards.Holds(ctx, service)
		if err != nil {
			out.Problems = append(out.Problems, err.Error())
		}
		for _, m := range machines {
			m.Remove, m.Reason = Forgotten(m.Machine, held, err == nil, time.Now())
			if in.Remove && m.Remove {
				if err := a.removeForgotten(ctx, m); err != nil {
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

// Forgotten decides whether a machine is past its time and nobody's. It is pure.
func Forgotten(m compute.Machine, held Held, known bool, now time.Time) (remove bool, reason string) {
	expires, says := m.Expires()
	switch {
	case !m.Ours():
		return false, "it does not carry our tags"
	case m.State == compute.Gone:
		return false, "it is gone"
	case slices.Contains(held.Machines, m.ID):
		return false, "the service runs on it"
	case slices.Contains(held.Running, epochOf(m)):
		return false, fmt.Sprintf("%s %d is running", cmp.Or(m.Tags[compute.TagMode], "recovery"), epochOf(m))
	case !known:
		return false, "the guard of its service cannot be asked"
	case !says:
		return false, "it does not say when it expires; look at it by hand"
	case now.Before(expires):
		return false, "nobody uses it; it is removed after " + expires.UTC().Format("2006-01-02 15:04 UTC")
	default:
		return true, "it expired " + expires.UTC().Format("2006-01-02 15:04 UTC") + ", and nobody uses it"
	}
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
		found, err := provider.List(ctx, *t.Provision, r.Service)
		if err != nil {
			failed = errors.Join(failed, err)
		}
		for _, m := range found {
			if m.State == compute.Gone || slices.ContainsFunc(all, func(known SweptMachine) bool { return known.ID == m.ID }) {
				continue
			}
			s := SweptMachine{Machine: m, Service: r.Service, ref: compute.Ref{ID: m.ID, Key: m.Key, Provision: *t.Provision, Placement: placeOf(*t.Provision, m)}}
			if m.Kept() {
				s.ref.Provision.Keep = "stopped"
			}
			if price := cmp.Or(m.Price, s.ref.Placement.Price); price > 0 && !m.Made.IsZero() && m.State != compute.Stopped {
				s.Cost = price * time.Since(m.Made).Hours()
			}
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

// removeForgotten asks the guard once more, in the last moment, and removes.
func (a *Activities) removeForgotten(ctx context.Context, m SweptMachine) error {
	held, err := a.Guards.Holds(ctx, m.Service)
	if err != nil {
		return err
	}
	if remove, reason := Forgotten(m.Machine, held, true, time.Now()); !remove {
		return errors.New(reason)
	}
	provider, err := a.Providers(m.ref.Provision)
	if err != nil {
		return err
	}
	return provider.Terminate(ctx, m.ref)
}
