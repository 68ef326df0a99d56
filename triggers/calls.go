package triggers

import (
	"context"
	"fmt"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/triggers/audit"
	"github.com/understudy-dr/understudy/workflows"
)

// Call calls for a recovery.
type Call struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"why; somebody will ask"`
	Mode   string `json:"mode,omitempty" enum:"live" default:"live"`
	Tier   string `json:"tier,omitempty" maxLength:"20" doc:"only this tier; without it the whole ladder is climbed"`
	Plan   string `json:"plan,omitempty" maxLength:"64" doc:"hash of the plan that was shown: another one is refused. It stands for the approval of tiers that ask for one, where your role may give it"`
	Force  bool   `json:"force,omitempty" doc:"pass cooldown and pause, and move whatever the diagnosis says"`
	// Supersede goes with Force.
	Supersede bool `json:"supersede,omitempty" doc:"end a running recovery first; goes with force, and without a plan"`
}

// Called is what came of a call.
type Called struct {
	Started  bool   `json:"started"`
	Recovery string `json:"recovery,omitempty" doc:"id of the recovery, such as fun-asr-7"`
	Epoch    int64  `json:"epoch,omitempty"`
	Reason   string `json:"reason" doc:"why it was started, or not"`
	Leaves   string `json:"leaves" doc:"in which state it leaves the service"`
	Link     string `json:"link" doc:"the recovery, or else the guard, in the Temporal UI"`
}

func (a *API) recover(ctx context.Context, in *struct {
	ServicePath
	Keyed
	TraceParent string `header:"traceparent" hidden:"true"`
	Body        Call
}) (*Body[Called], error) {
	r, ok := a.Library().Lookup(in.Service)
	if !ok {
		return nil, a.unknown(in.Service)
	}
	if _, ok := r.TargetNamed(in.Body.Tier); in.Body.Tier != "" && !ok {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("%s has no tier %q; it has: %s", in.Service, in.Body.Tier, strings.Join(tierNames(r), ", ")))
	}
	if in.Body.Supersede && in.Body.Plan != "" {
		return nil, huma.Error422UnprocessableEntity("supersede ends the running recovery, and only then is it known where the next one begins: it goes without a plan")
	}
	person, c := access.Of(ctx), in.Body
	c.Reason = clean(c.Reason, 500)
	d := decision{
		order: Order{Service: in.Service, Update: workflows.RecoverUpdateName, Key: in.Key, Input: workflows.RecoverUpdate{
			By: person.Name, Role: string(person.Role), Reason: c.Reason, Tier: c.Tier, Plan: c.Plan, Force: c.Force, Supersede: c.Supersede, TraceParent: traceParent(in.TraceParent),
		}},
		entry: audit.Entry{Did: "recover", On: in.Service, Reason: c.Reason, Plan: c.Plan, Details: c.details()},
	}
	if c.Supersede {
		d.within = supersedeIn
	}
	return a.called(ctx, d, "a recovery runs; the traffic stays as it is until a standby has passed its gate")
}

// details are what was ordered besides, for the audit.
func (c Call) details() string {
	var all []string
	if c.Tier != "" {
		all = append(all, "tier "+c.Tier)
	}
	if c.Force {
		all = append(all, "force")
	}
	if c.Supersede {
		all = append(all, "supersede")
	}
	return strings.Join(all, ", ")
}

func tierNames(r runbooks.Runbook) []string {
	names := []string{runbooks.PrimaryName}
	for _, t := range r.Tiers {
		names = append(names, t.Name)
	}
	return names
}

type pauseInput struct {
	ServicePath
	Keyed
	Body Because
}

func (a *API) pause(ctx context.Context, in *pauseInput) (*Body[Decided], error) {
	return a.toGuard(ctx, in.Service, pausing(ctx, in.Key, in.Body.Reason))
}

type resumeInput struct {
	ServicePath
	Keyed
}

func (a *API) resume(ctx context.Context, in *resumeInput) (*Body[Decided], error) {
	return a.toGuard(ctx, in.Service, resuming(ctx, in.Key))
}

func pausing(ctx context.Context, key, reason string) decision {
	why := clean(reason, 500)
	return decision{
		order: Order{Update: workflows.PauseUpdateName, Key: key, Input: workflows.PauseUpdate{By: access.Of(ctx).Name, Reason: why}},
		entry: audit.Entry{Did: "pause", Reason: why},
	}
}

func resuming(ctx context.Context, key string) decision {
	return decision{
		order: Order{Update: workflows.ResumeUpdateName, Key: key, Input: workflows.ResumeUpdate{By: access.Of(ctx).Name}},
		entry: audit.Entry{Did: "resume"},
	}
}

// toGuard hands a decision to a guard; its answer is the state that it leaves.
func (a *API) toGuard(ctx context.Context, service string, d decision) (*Body[Decided], error) {
	if _, ok := a.Library().Lookup(service); !ok {
		return nil, a.unknown(service)
	}
	d.order.Service, d.entry.On = service, service
	done := Decided{On: service, Did: d.entry.Did, Link: a.Link(workflows.GuardID(service))}
	if err := a.decide(ctx, d, &done.Leaves, func() (string, string) { return audit.Done, done.Leaves }); err != nil {
		return nil, err
	}
	return &Body[Decided]{done}, nil
}

// EachAnswer is one service's answer to a decision about all.
type EachAnswer struct {
	Service string `json:"service"`
	OK      bool   `json:"ok"`
	Leaves  string `json:"leaves,omitempty" doc:"in which state it leaves the service"`
	Problem string `json:"problem,omitempty" doc:"why it was not done"`
}

func (a *API) pauseAll(ctx context.Context, in *struct {
	Keyed
	Body Because
}) (*Body[[]EachAnswer], error) {
	return a.everyGuard(func(service string) EachAnswer {
		return a.eachAnswer(ctx, service, pausing(ctx, in.Key, in.Body.Reason))
	}), nil
}

func (a *API) resumeAll(ctx context.Context, in *struct{ Keyed }) (*Body[[]EachAnswer], error) {
	return a.everyGuard(func(service string) EachAnswer {
		if state, err := a.state(ctx, service); err == nil && state.Paused == nil {
			return EachAnswer{Service: service, OK: true, Leaves: "it was not paused"}
		}
		return a.eachAnswer(ctx, service, resuming(ctx, in.Key))
	}), nil
}

// everyGuard shows every answer: there is no switch that could stop all at once
// and be wrong about one.
func (a *API) everyGuard(order func(service string) EachAnswer) *Body[[]EachAnswer] {
	services := a.Library().Services()
	answers := make([]EachAnswer, len(services))
	eachAtOnce(services, func(i int, service string) { answers[i] = order(service) })
	return &Body[[]EachAnswer]{answers}
}

func (a *API) eachAnswer(ctx context.Context, service string, d decision) EachAnswer {
	done, err := a.toGuard(ctx, service, d)
	if err != nil {
		return EachAnswer{Service: service, Problem: err.Error()}
	}
	return EachAnswer{Service: service, OK: true, Leaves: done.Body.Leaves}
}
