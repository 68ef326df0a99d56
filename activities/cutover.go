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
	// Planned says that both servers work, so that the new one gets its traffic before the old one loses it.
	Planned bool `json:"planned,omitempty"`
	// Prove is the canary to send through the front door once the switch has been read back; nil sends none. It saves
	// the way back to the workflow while people wait; one that does not pass at once is sent again from there.
	Prove *ProveInput `json:"prove,omitempty"`
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
	// Proof is the canary's answer; nil where none was sent.
	Proof *Proof `json:"proof,omitempty"`
	// Unfenced is why the failed server could not be taken off the traffic of its own load balancer; empty where it was.
	Unfenced string `json:"unfenced,omitempty"`
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
	defer heartbeat(ctx)()
	out, err := a.cutOver(ctx, in)
	if err != nil || in.Prove == nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, ProveAtOnce)
	defer cancel()
	first := *in.Prove
	first.Until = time.Time{}
	if proof, err := a.Prove(ctx, first); err == nil && proof.Passed {
		out.Proof = &proof
	}
	return out, nil
}

// ProveAtOnce is how long the first canary may take within the switch.
const ProveAtOnce = time.Second

// cutOver is the effect itself.
func (a *Activities) cutOver(ctx context.Context, in CutOverInput) (CutOverResult, error) {
	out := CutOverResult{Timing: begin()}
	if err := fresh(ctx); err != nil {
		return out, classify(err)
	}
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
	onto := traffic.Assignment{Server: in.To.Server, State: traffic.Ready, Address: in.To.Address}
	if in.Destination == nil {
		out.View, err = a.apply(ctx, in.Effect, source, traffic.Change{Set: []traffic.Assignment{fence, onto}, Cut: in.Cut})
		out.Fenced = time.Now()
	} else {
		out.View, err = a.moveAcross(ctx, in, source, fence, onto, &out)
	}
	if err != nil {
		return out, classify(err)
	}
	out.Switched = time.Now()
	out.Timing = out.Timing.end()
	return out, nil
}

// patienceOf is how long a change at a load balancer may take: DNS is slow.
func patienceOf(t runbooks.Traffic, otherwise time.Duration) time.Duration {
	if t.Kind == "route53" {
		return dnsPatience
	}
	return otherwise
}

// dnsPatience is how long Route 53 may take until all its servers know a change: usually within 60 s, as AWS says.
const dnsPatience = 90 * time.Second

// sourcePatience is how long the load balancer of a failed site is tried before
// the service moves without it.
const sourcePatience = 2 * time.Second

// moveAcross fences at one load balancer and switches at another. A load
// balancer that is gone with its site cannot be told anything, and sends nobody
// anywhere; once it is back, what keeps the traffic fences there.
func (a *Activities) moveAcross(ctx context.Context, in CutOverInput, source traffic.Balancer, fence, onto traffic.Assignment, out *CutOverResult) (traffic.View, error) {
	destination, err := a.Balancers(*in.Destination)
	if err != nil {
		return traffic.View{}, err
	}
	if in.Planned {
		// Both places work: nobody is sent where nothing is on yet.
		if _, err := a.apply(ctx, in.Effect, destination, traffic.Change{Set: []traffic.Assignment{onto}}); err != nil {
			return traffic.View{}, err
		}
	}
	patient, cancel := context.WithTimeout(ctx, patienceOf(in.Source, sourcePatience))
	_, err = a.apply(patient, in.Effect, source, traffic.Change{Set: []traffic.Assignment{fence}, Cut: in.Cut})
	cancel()
	switch {
	case err == nil:
	case ctx.Err() == nil && (errors.Is(err, traffic.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded)):
		out.Unfenced = err.Error()
	default:
		return traffic.View{}, fmt.Errorf("fence %s: %w", in.From.Server, err)
	}
	out.Fenced = time.Now()
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
	ctx, cancel := context.WithTimeout(ctx, a.EpochPatience)
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
	if err := fresh(ctx); err != nil {
		return out, classify(err)
	}
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
