package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/understudy-dr/understudy/runbooks"
)

// ObserveInput asks to keep looking while nothing can be decided.
type ObserveInput struct {
	DiagnoseInput
	// Extra are observations from outside, such as the alert, that count with each look.
	Extra []runbooks.Observation `json:"extra,omitempty"`
	// SilentSince is since when the health check fails.
	SilentSince time.Time `json:"silent_since"`
	// Verdict is the one to wait out: Busy or Unknown.
	Verdict runbooks.Verdict `json:"verdict"`
	// Until bounds the wait.
	Until time.Time `json:"until"`
}

// observeEvery is the pause between two looks; a hang must be seen within two seconds.
const observeEvery = 250 * time.Millisecond

// Observe looks again and again until the verdict is another one than that to
// be waited out, or the time is over, and returns the last look. It only looks.
func (a *Activities) Observe(ctx context.Context, in ObserveInput) (Diagnosis, error) {
	for {
		d, err := a.Diagnose(ctx, in.DiagnoseInput)
		if err != nil {
			return d, err
		}
		d.Evidence.Others = append(d.Evidence.Others, in.Extra...)
		verdict, _ := runbooks.Judge(d.Evidence, in.Health, d.Started.Sub(in.SilentSince))
		if verdict != in.Verdict || !time.Now().Before(in.Until) {
			return d, nil
		}
		activity.RecordHeartbeat(ctx)
		select {
		case <-ctx.Done():
			return d, ctx.Err()
		case <-time.After(observeEvery):
		}
	}
}

// ConfirmInput watches a switched service through its front door.
type ConfirmInput struct {
	ProveInput
	// For is the confirm window, Every the pause between two canaries.
	For   runbooks.Duration `json:"for"`
	Every runbooks.Duration `json:"every"`
	// Failures in a row end the window.
	Failures int `json:"failures"`
}

// Confirmation is how the confirm window ended.
type Confirmation struct {
	Timing
	// Canaries passed in the window.
	Canaries int `json:"canaries"`
	// Lost is why the active seems to have failed; empty where the window passed.
	Lost string `json:"lost,omitempty"`
}

// Confirm sends canaries for the confirm window. It ends early when several in
// a row fail. After a crash it begins where its heartbeat left off.
func (a *Activities) Confirm(ctx context.Context, in ConfirmInput) (Confirmation, error) {
	c := Confirmation{Timing: begin()}
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &c); err != nil {
			return c, err
		}
	}
	in.Until = time.Time{}
	over := c.Started.Add(in.For.D())
	failures := 0
	// A canary may take longer than the engine waits for a heartbeat.
	tell, stop := progress(ctx)
	defer stop()
	tell(c)
	for time.Now().Before(over) {
		if seen := a.proveOnce(ctx, in.ProveInput); seen.Finding == runbooks.Answers {
			c.Canaries, failures = c.Canaries+1, 0
		} else if failures++; failures >= in.Failures {
			c.Lost = string(seen.Finding) + " (" + seen.Detail + ")"
			break
		}
		tell(c)
		activity.RecordHeartbeat(ctx, c)
		wait := min(in.Every.D(), time.Until(over))
		if failures > 0 {
			wait = min(wait, time.Second) // A doubt is cleared up at once.
		}
		select {
		case <-time.After(wait):
		case <-activity.GetWorkerStopChannel(ctx):
			return c, classify(errStopping)
		case <-ctx.Done():
			return c, ctx.Err()
		}
	}
	c.Timing = c.Timing.end()
	return c, nil
}
