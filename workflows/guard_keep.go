package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// keeper keeps the desired traffic while the service is away from home: one
// heartbeating activity reads the load balancer every few seconds, sets right
// what a reload brought back, and tells when the active seems lost.
type keeper struct {
	guard *guard
	// held is true while a recovery runs: it moves the traffic itself.
	held   bool
	cancel workflow.CancelFunc
}

func (k *keeper) start(ctx workflow.Context) {
	k.held = k.guard.state.Running != nil
	workflow.Go(ctx, func(ctx workflow.Context) {
		for {
			if workflow.Await(ctx, func() bool { return !k.held && !k.guard.renew && k.guard.state.away() }) != nil {
				return
			}
			k.keep(ctx)
		}
	})
}

// pause stops the keeping: the activity is told to stop, and its epoch is
// refused from the moment the recovery's first effect is admitted.
func (k *keeper) pause() {
	k.held = true
	if k.cancel != nil {
		k.cancel()
	}
}

func (k *keeper) resume() { k.held = false }

// keep runs the activity once; it ends after an hour, or with something to tell.
func (k *keeper) keep(ctx workflow.Context) {
	g := k.guard
	loaded, err := g.runbook(ctx)
	if err != nil {
		_ = workflow.Sleep(ctx, lookAfter)
		return
	}
	r, active := loaded.Runbook, g.state.Active
	target, ok := g.state.Target(r)
	if !ok {
		_ = workflow.Sleep(ctx, lookAfter)
		return
	}
	ctx, k.cancel = workflow.WithCancel(ctx)
	defer func() { k.cancel = nil }()
	balancer := r.TrafficOf(active)
	result, err := do(ctx, keepTraffic, "keep the traffic on "+active, acts.KeepTraffic, activities.KeepTrafficInput{
		Service: r.Service, Epoch: g.state.Epoch, Traffic: balancer, Want: want(r, target, g.state.Fenced), Elsewhere: elsewhere(r, target, g.state.Fenced), Active: target, Health: r.Health, For: runbooks.Duration(keepFor),
	})
	switch {
	case k.held:
		return // a recovery has begun meanwhile; what was seen before is old
	case err != nil:
		if errorType(err) == activities.ErrTypeSuperseded {
			g.post(func(ctx workflow.Context) error { g.adopt(ctx); return nil })
		}
		if ctx.Err() == nil {
			_ = workflow.Sleep(ctx, lookAfter)
		}
	case result.Drift != "":
		d := Decision{Event: "the traffic drifted", Action: Ignore, Reason: "set right again: " + result.Drift}
		g.decide(ctx, d)
		g.page(ctx, loaded, d)
	case result.Lost != "":
		now := workflow.Now(ctx)
		g.post(func(ctx workflow.Context) error {
			return g.consider(ctx, Ask{
				Trigger: Trigger{Kind: TriggerLost, Text: active + " failed: " + result.Lost, Received: now, OutageSince: result.Ended},
				Looked:  &Glance{Verdict: runbooks.Dead, Reason: result.Lost},
			})
		})
		// The decision may be to wait; do not ask again every second meanwhile.
		_ = workflow.Sleep(ctx, lookAfter)
	}
}

// want is what the active's load balancer should show: the active on the
// traffic, and off it everything that was fenced there, in an order that history
// can repeat.
func want(r runbooks.Runbook, active runbooks.Target, fenced []string) traffic.Change {
	c := traffic.Change{Set: []traffic.Assignment{{Server: active.Server, State: traffic.Ready, Address: active.Address}}}
	for _, server := range slices.Sorted(slices.Values(fenced)) {
		if server != active.Server && sameTraffic(r.TrafficOf(r.NameOf(server)), r.TrafficOf(active.Name)) {
			c.Set = append(c.Set, traffic.Assignment{Server: server, State: traffic.Maint})
		}
	}
	return c
}

// elsewhere is what the service's own load balancer should show while the
// active stands behind another one: when the site that was left comes back, its
// load balancer must not send anybody to what failed there.
func elsewhere(r runbooks.Runbook, active runbooks.Target, fenced []string) []activities.Desired {
	home := r.TrafficOf(runbooks.PrimaryName)
	if sameTraffic(home, r.TrafficOf(active.Name)) {
		return nil
	}
	var c traffic.Change
	for _, server := range slices.Sorted(slices.Values(fenced)) {
		if sameTraffic(home, r.TrafficOf(r.NameOf(server))) {
			c.Set = append(c.Set, traffic.Assignment{Server: server, State: traffic.Maint})
		}
	}
	if len(c.Set) == 0 {
		return nil
	}
	return []activities.Desired{{Traffic: home, Want: c}}
}
