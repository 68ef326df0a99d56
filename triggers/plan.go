package triggers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// gatesIn bounds how long the standbys and the clouds may take to answer, all at once.
	gatesIn = 15 * time.Second
	// pastRuns are so many of the latest recoveries from which a plan's seconds are taken.
	pastRuns = 20
)

// PlanDetail is a plan with what would be found at its gates now.
type PlanDetail struct {
	Plan  runbooks.Plan              `json:"plan"`
	Gates map[string]activities.Gate `json:"gates" doc:"answers of the running standbys, by tier"`
	// Machines are the looks at what the other tiers need: machines, model volumes, data.
	Machines map[string]activities.MachineGate `json:"machines,omitempty" doc:"whether the machines of the other tiers could be made now, by tier"`
	// Expected is how long steps took before.
	Expected []Expected `json:"expected,omitempty" doc:"how long steps took in the latest recoveries"`
}

// Expected is how long a step took before.
type Expected struct {
	Tier string `json:"tier,omitempty" doc:"empty for steps that belong to no tier, such as diagnose"`
	Step string `json:"step"`
	// Seconds is the median.
	Seconds float64 `json:"seconds" doc:"the median"`
	P95     float64 `json:"p95_seconds" doc:"95 of 100 took no longer; the longest, where it was measured fewer than 20 times"`
	Runs    int     `json:"runs" doc:"how many times it was measured"`
}

// Refusals are why a rung would be refused now; empty where it would be tried.
func (d PlanDetail) Refusals(rung runbooks.Rung) []string {
	if rung.Refused != "" {
		return []string{rung.Refused}
	}
	return append(slices.Clone(d.Gates[rung.Tier].Refusals), d.Machines[rung.Tier].Refusals...)
}

type planInput struct {
	ServicePath
	Tier  string `query:"tier" maxLength:"20" doc:"only this tier: hot, warm, cold, cross-region, or primary"`
	Force bool   `query:"force" doc:"as with force: what is left out until the end of the cooldown may be tried"`
}

func (a *API) plan(ctx context.Context, in *planInput) (*Body[PlanDetail], error) {
	r, ok := a.Library().Lookup(in.Service)
	if !ok {
		return nil, a.unknown(in.Service)
	}
	state, err := a.state(ctx, in.Service)
	if err != nil {
		state.Active = runbooks.PrimaryName // the plan for the day when even the guard is away
	}
	active, ok := state.Target(r)
	if !ok {
		return nil, huma.Error409Conflict(fmt.Sprintf("%s runs on tier %s, which its runbook no longer has", in.Service, state.Active))
	}
	failed := failedNow(state, time.Now())
	if in.Force {
		failed = nil
	}
	plan := runbooks.NewPlan(r, active, failed)
	if err := hasTier(plan, in.Tier); err != nil {
		return nil, err
	}
	detail := PlanDetail{Plan: plan.Only(in.Tier)}
	ctx, cancel := context.WithTimeout(ctx, gatesIn)
	defer cancel()
	detail.Gates, detail.Machines = a.gates(ctx, r, state, detail.Plan)
	if detail.Expected, err = a.expected(ctx, in.Service); err != nil {
		a.Log.Warn("a plan says nothing of earlier recoveries", "service", in.Service, "error", err)
	}
	return &Body[PlanDetail]{detail}, nil
}

// failedNow are the targets that the guard's ladder leaves out, so that the
// plan shown is the plan carried out, hash and all.
func failedNow(s workflows.GuardState, now time.Time) []string {
	if now.Before(s.CooldownUntil) {
		return s.Failed
	}
	return nil
}

func hasTier(plan runbooks.Plan, tier string) error {
	var names []string
	for _, rung := range plan.Rungs {
		names = append(names, rung.Tier)
	}
	if tier == "" || slices.Contains(names, tier) {
		return nil
	}
	return huma.Error422UnprocessableEntity(fmt.Sprintf("%s cannot move to %q from where it runs; its ladder has: %s", plan.Service, tier, strings.Join(names, ", ")))
}

// gates asks all tiers at once: running standbys whether they could be used, the
// others whether their machines could be made.
func (a *API) gates(ctx context.Context, r runbooks.Runbook, s workflows.GuardState, plan runbooks.Plan) (map[string]activities.Gate, map[string]activities.MachineGate) {
	running, made := map[string]activities.Gate{}, map[string]activities.MachineGate{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, rung := range plan.Rungs {
		tier, _ := r.TierNamed(rung.Tier)
		switch {
		case rung.Refused != "" || tier.Activate != nil: // an instance that rests has nothing to say
		case tier.Provision != nil:
			wg.Go(func() {
				gate, err := a.Makers.CheckMachine(ctx, machineInput(r, s, tier))
				if err != nil {
					gate.Refusals = append(gate.Refusals, "it could not be asked: "+err.Error())
				}
				mu.Lock()
				defer mu.Unlock()
				made[rung.Tier] = gate
			})
		default:
			wg.Go(func() {
				gate, err := a.Standbys.CheckStandby(ctx, activities.CheckStandbyInput{Target: rung.Target, Health: r.Health, Version: r.Version, Settings: r.Settings})
				if err != nil {
					gate.Refusals = append(gate.Refusals, err.Error())
				}
				mu.Lock()
				defer mu.Unlock()
				running[rung.Tier] = gate
			})
		}
	}
	wg.Wait()
	return running, made
}

// machineInput asks as the next recovery would.
func machineInput(r runbooks.Runbook, s workflows.GuardState, tier runbooks.Tier) activities.CheckMachineInput {
	next := s.Epoch + 1
	in := activities.CheckMachineInput{
		Service: r.Service, Epoch: next, Mode: workflows.ModeLive, Tier: tier, Limits: r.Policy.Limits, Depends: r.Depends,
		Data: activities.DataInput{Data: r.DataOf(tier.Name), From: s.DataEpoch, Known: s.DataKnown, Before: next},
	}
	if s.Made != nil {
		in.Besides = []string{s.Made.Machine.ID}
	}
	return in
}

// expected is how long each step took in the latest recoveries.
func (a *API) expected(ctx context.Context, service string) ([]Expected, error) {
	runs, err := a.past.runs(ctx, service, pastRuns)
	if err != nil {
		return nil, err
	}
	var all []Expected
	for _, p := range reports.Paces(runs) {
		all = append(all, Expected{Tier: p.Tier, Step: p.Step, Seconds: p.Median, P95: p.P95, Runs: p.Runs})
	}
	return all, nil
}
