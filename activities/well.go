package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// canaryShare: so many canaries are sent while a primary is awaited for as long
// as it must be well; health checks are free, inferences are not.
const canaryShare = 6

// AwaitWellInput names what must be well, and for how long.
type AwaitWellInput struct {
	ProveInput
	// For is how long it must have been well without a break.
	For runbooks.Duration `json:"for"`
	// Every is the pause between two health checks.
	Every runbooks.Duration `json:"every"`
	// Within bounds one call; what was well until then counts in the next one, as Since.
	Within runbooks.Duration `json:"within"`
	Since  time.Time         `json:"since,omitzero"`
}

// Wellness is how long something has been well.
type Wellness struct {
	Timing
	// Since is from when on every look was good; zero where the last one was not.
	Since time.Time `json:"since,omitzero"`
	// Well says that it has been for long enough.
	Well bool `json:"well"`
	// Problem is what was wrong at the last look.
	Problem string `json:"problem,omitempty"`
	// canary is when one was sent last.
	canary time.Time
}

// AwaitWell looks at an instance until it has been well for long enough, or its
// time is over: health checks all the time, a canary now and then and at the end.
// It only looks. After a crash it goes on where its heartbeat left off.
func (a *Activities) AwaitWell(ctx context.Context, in AwaitWellInput) (Wellness, error) {
	w := Wellness{Timing: begin(), Since: in.Since}
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &w); err != nil {
			return w, err
		}
	}
	in.Until = time.Time{}
	over := time.After(time.Until(w.Started.Add(in.Within.D())))
	every := time.NewTicker(in.Every.D())
	defer every.Stop()
	// A canary may take longer than the engine waits for a heartbeat.
	tell, stop := progress(ctx)
	defer stop()
	for {
		tell(w)
		a.lookForWellness(ctx, in, &w)
		tell(w)
		if w.Well {
			w.Timing = w.Timing.end()
			return w, nil
		}
		select {
		case <-every.C:
		case <-over:
			w.Timing = w.Timing.end()
			return w, nil
		case <-activity.GetWorkerStopChannel(ctx):
			return w, classify(errStopping)
		case <-ctx.Done():
			return w, ctx.Err()
		}
	}
}

// lookForWellness looks once.
func (a *Activities) lookForWellness(ctx context.Context, in AwaitWellInput, w *Wellness) {
	now := time.Now()
	seen := a.Prober.Probe(ctx, probe.Request{URL: in.URL, Health: in.Health})
	long := !w.Since.IsZero() && now.Sub(w.Since) >= in.For.D()
	if seen.Finding == runbooks.Answers && in.Canary != nil && (long || now.Sub(w.canary) >= in.For.D()/canaryShare) {
		w.canary = now
		if proof := a.proveOnce(ctx, in.ProveInput); proof.Finding != runbooks.Answers {
			seen.Finding, seen.Detail = proof.Finding, "canary: "+proof.Detail
		}
	}
	switch {
	case seen.Finding != runbooks.Answers:
		w.Since, w.Problem = time.Time{}, string(seen.Finding)+" ("+seen.Detail+")"
	case w.Since.IsZero():
		w.Since, w.Problem, w.Well = now, "", in.For == 0
	default:
		w.Well, w.Problem = long, ""
	}
}
