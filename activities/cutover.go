package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// claimPatience is how long a hot switch waits for the epoch store. A store
// that answers takes a few milliseconds; one that does not must not cost the
// service more than this.
const claimPatience = 250 * time.Millisecond

// CutOverInput moves the traffic of a service from one server to another.
type CutOverInput struct {
	Effect
	Holder string           `json:"holder"`
	From   runbooks.Target  `json:"from"`
	To     runbooks.Target  `json:"to"`
	Health runbooks.Health  `json:"health"`
	Source runbooks.Traffic `json:"source"`
	// Destination is the load balancer of the standby, where it is another one.
	Destination *runbooks.Traffic `json:"destination,omitempty"`
	// Cut ends the requests that the failed server still holds.
	Cut bool `json:"cut,omitempty"`
}

// CutOverResult is what the load balancers show afterwards.
type CutOverResult struct {
	Timing
	// Fenced is when the failed server was seen off the traffic, Switched when the standby was seen on it.
	Fenced   time.Time    `json:"fenced"`
	Switched time.Time    `json:"switched"`
	View     traffic.View `json:"view"`
	// Claim says how the epoch was recorded outside Temporal.
	Claim string `json:"claim"`
	// Claimed is false where the store was away: the claim must be made good.
	Claimed bool `json:"claimed"`
}

// CutOver fences the failed server off the traffic, puts the standby on it, and
// reads both back: one effect, because nothing may come between its parts.
//
// It first records the epoch outside Temporal. Where somebody else holds it,
// nothing is touched (ErrTypeSuperseded); where the store is away, a hot switch
// goes on without it. It is idempotent: what already holds is left as it is.
func (a *Activities) CutOver(ctx context.Context, in CutOverInput) (CutOverResult, error) {
	out := CutOverResult{Timing: begin()}
	defer heartbeat(ctx)()
	done, err := a.effects.admit(in.Effect)
	if err != nil {
		return out, classify(err)
	}
	defer done()
	if out.Claim, out.Claimed, err = a.claim(ctx, in.Effect, in.Holder); err != nil {
		return out, classify(err)
	}
	source, err := a.Balancers(in.Source)
	if err != nil {
		return out, classify(err)
	}
	fence := traffic.Assignment{Server: in.From.Server, State: traffic.Maint}
	onto := traffic.Assignment{Server: in.To.Server, State: traffic.Ready}
	if in.Destination == nil {
		out.View, err = a.apply(ctx, in.Effect, source, traffic.Change{Set: []traffic.Assignment{fence, onto}, Cut: in.Cut})
		out.Fenced = time.Now()
	} else {
		out.View, err = a.moveAcross(ctx, in, source, fence, onto, &out.Fenced)
	}
	if err != nil {
		return out, classify(err)
	}
	out.Switched = time.Now()
	out.Timing = out.Timing.end()
	return out, nil
}

// moveAcross fences at one load balancer and switches at another.
func (a *Activities) moveAcross(ctx context.Context, in CutOverInput, source traffic.Balancer, fence, onto traffic.Assignment, fenced *time.Time) (traffic.View, error) {
	if _, err := a.apply(ctx, in.Effect, source, traffic.Change{Set: []traffic.Assignment{fence}, Cut: in.Cut}); err != nil {
		return traffic.View{}, fmt.Errorf("fence %s: %w", in.From.Server, err)
	}
	*fenced = time.Now()
	destination, err := a.Balancers(*in.Destination)
	if err != nil {
		return traffic.View{}, err
	}
	return a.apply(ctx, in.Effect, destination, traffic.Change{Set: []traffic.Assignment{onto}})
}

// apply is the last check of epoch and deadline, then the change.
func (a *Activities) apply(ctx context.Context, effect Effect, balancer traffic.Balancer, change traffic.Change) (traffic.View, error) {
	if err := a.effects.still(effect); err != nil {
		return traffic.View{}, err
	}
	if !effect.NotAfter.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, effect.NotAfter)
		defer cancel()
	}
	return balancer.Apply(ctx, change)
}

// claim records the epoch outside Temporal, without waiting for a store that is
// away. Where another engine holds it, or is at work under an earlier one, the
// store says so: two engines that hear of one outage do not both act.
func (a *Activities) claim(ctx context.Context, effect Effect, holder string) (text string, claimed bool, err error) {
	if a.Epochs == nil {
		return "no epoch store is configured", true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, claimPatience)
	defer cancel()
	err = a.Epochs.Write(ctx, epoch.Record{Service: effect.Service, Epoch: effect.Epoch, Holder: a.holder(holder), At: time.Now().UTC()})
	var held *epoch.HeldError
	switch {
	case err == nil:
		return fmt.Sprintf("epoch %d recorded in the epoch store", effect.Epoch), true, nil
	case errors.As(err, &held):
		return "", false, err
	default:
		return fmt.Sprintf("the epoch store is away (%v); a hot switch goes on without it", err), false, nil
	}
}

// holder is a recovery's name where other Understudys read it.
func (a *Activities) holder(recovery string) string { return epoch.HeldBy(recovery, a.Engine) }

// SetTrafficInput brings servers into given states: to take a standby out
// again, or to undo a fence.
type SetTrafficInput struct {
	Effect
	Traffic runbooks.Traffic `json:"traffic"`
	Change  traffic.Change   `json:"change"`
}

// SetTrafficResult is what the load balancer shows afterwards.
type SetTrafficResult struct {
	Timing
	View traffic.View `json:"view"`
}

// SetTraffic applies a change at a load balancer and reads it back. It is idempotent.
func (a *Activities) SetTraffic(ctx context.Context, in SetTrafficInput) (SetTrafficResult, error) {
	out := SetTrafficResult{Timing: begin()}
	defer heartbeat(ctx)()
	done, err := a.effects.admit(in.Effect)
	if err != nil {
		return out, classify(err)
	}
	defer done()
	balancer, err := a.Balancers(in.Traffic)
	if err != nil {
		return out, classify(err)
	}
	if out.View, err = a.apply(ctx, in.Effect, balancer, in.Change); err != nil {
		return out, classify(err)
	}
	out.Timing = out.Timing.end()
	return out, nil
}
