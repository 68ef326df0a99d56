package triggers

import (
	"context"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// Service is one service as lists show it.
type Service struct {
	Service string    `json:"service"`
	Active  string    `json:"active" doc:"where it runs: primary, or a tier"`
	Since   time.Time `json:"since"`
	State   string    `json:"state" doc:"ready, recovering, cooling down, paused, away or unknown"`
	Epoch   int64     `json:"epoch"`
	Running string    `json:"running,omitempty" doc:"id of the recovery that runs"`
	Last    string    `json:"last,omitempty" doc:"outcome of the latest recovery"`
	Problem string    `json:"problem,omitempty"`
	// Standbys is nil where they were not looked at yet.
	Standbys []StandbyReady `json:"standbys,omitempty" doc:"whether each tier would work now, as of the latest look"`
}

// StandbyReady is whether one tier would work now.
type StandbyReady struct {
	Tier  string `json:"tier"`
	Ready bool   `json:"ready"`
	Why   string `json:"why,omitempty" doc:"the first reason why it would fail"`
}

// ServiceDetail is one service with all that its guard knows.
type ServiceDetail struct {
	Service
	Guard   workflows.GuardState `json:"guard"`
	Runbook string               `json:"runbook" doc:"hash of the runbook as it stands now"`
	Link    string               `json:"link" doc:"the guard in the Temporal UI"`
}

// ServicePath names a service.
type ServicePath struct {
	Service string `path:"service" maxLength:"63" doc:"name of the service"`
}

func (a *API) services(ctx context.Context, _ *struct{}) (*Body[[]Service], error) {
	return &Body[[]Service]{a.everyService(ctx)}, nil
}

// everyService asks all guards, some at a time.
func (a *API) everyService(ctx context.Context) []Service {
	names := a.Library().Services()
	all := make([]Service, len(names))
	eachAtOnce(names, func(i int, name string) {
		state, err := a.state(ctx, name)
		all[i] = summarize(name, state, err)
		all[i].Standbys = a.standbys(ctx, name, state, err)
	})
	return all
}

func (a *API) service(ctx context.Context, in *ServicePath) (*Body[ServiceDetail], error) {
	r, ok := a.Library().Lookup(in.Service)
	if !ok {
		return nil, a.unknown(in.Service)
	}
	state, err := a.state(ctx, in.Service)
	summary := summarize(in.Service, state, err)
	summary.Standbys = a.standbys(ctx, in.Service, state, err)
	return &Body[ServiceDetail]{ServiceDetail{
		Service: summary, Guard: state, Runbook: r.Hash(), Link: a.Link(workflows.GuardID(in.Service)),
	}}, nil
}

func (a *API) why(ctx context.Context, in *ServicePath) (*Body[[]workflows.Decision], error) {
	if _, ok := a.Library().Lookup(in.Service); !ok {
		return nil, a.unknown(in.Service)
	}
	state, err := a.state(ctx, in.Service)
	if err != nil {
		return nil, away("the guard of "+in.Service+" does not answer", err)
	}
	if state.Decisions == nil {
		state.Decisions = []workflows.Decision{}
	}
	return &Body[[]workflows.Decision]{state.Decisions}, nil
}

// standbys words the latest look at a service's tiers. A guard that does not
// answer is not asked twice.
func (a *API) standbys(ctx context.Context, name string, state workflows.GuardState, failed error) (all []StandbyReady) {
	r, ok := a.Library().Lookup(name)
	if failed != nil || !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, orderIn)
	defer cancel()
	seen, err := a.Lookouts.Readiness(ctx, name, false)
	if err != nil || seen.At.IsZero() {
		return nil
	}
	for _, t := range r.Tiers {
		if t.Name == state.Active {
			continue
		}
		one := StandbyReady{Tier: t.Name, Ready: true}
		if wrong := seen.Failing(t.Name); len(wrong) > 0 {
			one.Ready, one.Why = false, wrong[0].Check+": "+wrong[0].What
		}
		all = append(all, one)
	}
	return all
}

func summarize(name string, s workflows.GuardState, err error) Service {
	out := Service{Service: name, Active: s.Active, Since: s.Since, Epoch: s.Epoch}
	if s.Last != nil {
		out.Last = s.Last.Outcome
	}
	switch {
	case err != nil:
		out.State, out.Problem = "unknown", "the guard does not answer: "+err.Error()
	case s.Running != nil:
		out.State, out.Running = "recovering", RecoveryName(name, s.Running.Epoch)
	case s.Paused != nil:
		out.State = "paused"
	case time.Now().Before(s.CooldownUntil):
		out.State = "cooling down"
	case s.Active != runbooks.PrimaryName:
		out.State = "away"
	default:
		out.State = "ready"
	}
	return out
}

// eachAtOnce does something for each, so many at a time that a thousand do not
// wait for each other and do not crowd out everything else.
func eachAtOnce(names []string, do func(i int, name string)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(i, name)
		})
	}
	wg.Wait()
}
