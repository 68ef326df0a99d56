package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// KeepTrafficInput says what the load balancer should show while the active is
// not the primary.
type KeepTrafficInput struct {
	Service string           `json:"service"`
	Epoch   int64            `json:"epoch"`
	Traffic runbooks.Traffic `json:"traffic"`
	Want    traffic.Change   `json:"want"`
	// Elsewhere are other load balancers that must keep failed servers off: those of a site that was left.
	Elsewhere []Desired       `json:"elsewhere,omitempty"`
	Active    runbooks.Target `json:"active"`
	Health    runbooks.Health `json:"health"`
	// For is how long to keep on; the guard then asks again, so that its history shows a sign of life.
	For runbooks.Duration `json:"for"`
}

// Desired is what one more load balancer should show.
type Desired struct {
	Traffic runbooks.Traffic `json:"traffic"`
	Want    traffic.Change   `json:"want"`
}

// KeepTrafficResult says why the keeping ended.
type KeepTrafficResult struct {
	Timing
	// Drift is what the load balancer showed instead; empty where nothing drifted.
	Drift string `json:"drift,omitempty"`
	// Lost is why the active seems to have failed; empty where it has not.
	Lost string `json:"lost,omitempty"`
	// Unread is why the load balancer could not be read for as long as this lasted.
	Unread string `json:"unread,omitempty"`
}

// activeFailures is how many looks in a row must find the active down before
// the guard is told; the recovery's own diagnosis decides.
const activeFailures = 3

// KeepTraffic reads the load balancer again and again, and sets right what
// drifted: a reload brings an old server back as its configuration says. It
// returns when it has set something right, when the active seems lost, or when
// its time is over. Before it changes anything it asks the guard whether its
// epoch still holds, and the epoch store whether another Understudy acts.
func (a *Activities) KeepTraffic(ctx context.Context, in KeepTrafficInput) (KeepTrafficResult, error) {
	out := KeepTrafficResult{Timing: begin()}
	balancer, err := a.Balancers(in.Traffic)
	if err != nil {
		return out, classify(err)
	}
	every := time.NewTicker(in.Traffic.Reconcile.Or(5 * time.Second))
	defer every.Stop()
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	over := time.After(in.For.D())
	failures := 0
	for {
		drift, err := a.setRight(ctx, in, in.Want, balancer)
		for i := 0; err == nil && drift == "" && i < len(in.Elsewhere); i++ {
			var other traffic.Balancer
			if other, err = a.Balancers(in.Elsewhere[i].Traffic); err == nil {
				drift, err = a.setRight(ctx, in, in.Elsewhere[i].Want, other)
			}
		}
		if err != nil {
			return out, classify(err)
		}
		if drift != "" {
			out.Drift = drift
			out.Timing = out.Timing.end()
			return out, nil
		}
		if seen := a.Prober.Probe(ctx, probe.Request{URL: in.Active.URL, Health: in.Health}); saysDown(seen.Finding, in.Health) {
			if failures++; failures >= activeFailures {
				out.Lost = string(seen.Finding) + " (" + seen.Detail + ")"
				out.Timing = out.Timing.end()
				return out, nil
			}
		} else {
			failures = 0
		}
		if !waitFor(ctx, every.C, beat.C, over) {
			if stopping(ctx) {
				return out, classify(errStopping)
			}
			out.Timing = out.Timing.end()
			return out, ctx.Err()
		}
	}
}

// setRight compares what the load balancer shows with what it should, and
// changes it where the guard still wants that.
func (a *Activities) setRight(ctx context.Context, in KeepTrafficInput, want traffic.Change, balancer traffic.Balancer) (drift string, err error) {
	view, err := balancer.View(ctx)
	if err != nil && len(view.Servers) == 0 {
		return "", nil // A load balancer that is away cannot be set right; it is read again soon.
	}
	differs := view.Shows(want)
	if differs == nil && err == nil {
		return "", nil
	}
	if differs == nil {
		differs = err // Several load balancers that disagree among themselves.
	}
	if err := a.Guards.May(ctx, in.Service, in.Epoch); err != nil {
		return "", err
	}
	if err := a.movedElsewhere(ctx, in); err != nil {
		return "", err
	}
	effect := Effect{Service: in.Service, Epoch: in.Epoch, Key: "keep traffic", NotAfter: time.Now().Add(patienceOf(in.Traffic, 2*time.Second))}
	done, err := a.effects.admit(effect)
	if err != nil {
		return "", err
	}
	defer done()
	if _, err := a.apply(ctx, effect, balancer, want); err != nil {
		return "", err
	}
	return differs.Error(), nil
}

// movedElsewhere reports, as an error, that another Understudy has moved the
// service, or is about to: what drifted here is its work. A store that is away
// stops nothing.
func (a *Activities) movedElsewhere(ctx context.Context, in KeepTrafficInput) error {
	if a.Epochs == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.EpochPatience)
	defer cancel()
	r, err := a.Epochs.Read(ctx, in.Service)
	if err != nil || r.Engine() == a.Engine || r.Active == in.Active.Name {
		return nil
	}
	return &epoch.HeldError{Current: r}
}

// saysDown is a first suspicion: a mute health check is none where inferences hold it up.
func saysDown(f runbooks.Finding, health runbooks.Health) bool {
	switch f {
	case runbooks.Refuses, runbooks.Unreachable:
		return true
	case runbooks.Silent:
		return health.Busy == 0
	default:
		return false
	}
}

// errStopping ends what would go on for long when this worker stops: the next
// one takes it up, and nobody waits for the end of the hour.
var errStopping = errors.New("this worker stops; the next one goes on")

// stopping reports whether this worker was told to stop.
func stopping(ctx context.Context) bool {
	select {
	case <-activity.GetWorkerStopChannel(ctx):
		return true
	default:
		return false
	}
}

// waitFor waits for the next turn with a heartbeat each second; false means that it is over.
func waitFor(ctx context.Context, turn, beat, over <-chan time.Time) bool {
	for {
		select {
		case <-turn:
			return true
		case <-beat:
			activity.RecordHeartbeat(ctx)
		case <-over:
			return false
		case <-activity.GetWorkerStopChannel(ctx):
			return false
		case <-ctx.Done():
			return false
		}
	}
}
