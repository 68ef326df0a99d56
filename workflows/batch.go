package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// batchPart is how many items one activity works off: 16 pages. Its events are few, and what it did is in the store.
	batchPart = 16 * jobs.Page
	// batchParts is how many parts a run has before it continues as new: an activity with its timers stays below 20 events.
	batchParts = 200
	// batchEvents is the length of history after which a run continues as new in any case: each look at a service that
	// is away for hours adds some.
	batchEvents = 5000
	// batchLooks is the pause between two looks at a service that is away or recovers; batchLater that once it has
	// been so for a minute.
	batchLooks = 2 * time.Second
	batchLater = 15 * time.Second
	// batchWaits is how long a service may be away before people are told that the batch waits.
	batchWaits = 10 * time.Minute
)

// How a batch ends.
const (
	BatchDone      = "done"
	BatchCancelled = "cancelled"
	BatchStopped   = "stopped" // it cannot go on without a person
	BatchHeld      = "held"    // somebody else works on the job
)

// runBatch: a part bounds itself by its items; a lost worker is missed within seconds, and the next one goes on where
// the store says.
var runBatch = workflow.ActivityOptions{
	StartToCloseTimeout: 7 * 24 * time.Hour,
	HeartbeatTimeout:    8 * time.Second,
	WaitForCancellation: true,
	RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
}

// BatchInput starts a batch, or carries it over.
type BatchInput struct {
	Service string `json:"service"`
	Job     string `json:"job"`
	// Takeover continues a job whose runner is gone.
	Takeover bool        `json:"takeover,omitempty"`
	State    *BatchState `json:"state,omitempty"`
	// Slow makes the next part begin with one request at a time.
	Slow bool `json:"slow,omitempty"`
}

// BatchState is how far a batch is. The items' outcomes are in the batch store.
type BatchState struct {
	Progress jobs.Progress `json:"progress"`
	// Epoch and Active are those of the latest part.
	Epoch  int64  `json:"epoch"`
	Active string `json:"active"`
	// Waits says what the batch waits for; empty while it works. Since is when it could not work first.
	Waits string    `json:"waits,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Moves counts how often it went on at another place or epoch.
	Moves   int       `json:"moves"`
	Started time.Time `json:"started"`
	Told    bool      `json:"told,omitempty"`
}

// BatchResult is how a batch ended.
type BatchResult struct {
	Outcome string       `json:"outcome"`
	Reason  string       `json:"reason,omitempty"`
	Moves   int          `json:"moves"`
	Report  *jobs.Report `json:"report,omitempty"`
}

// Batch works off one batch-transcription job, wherever its service runs: it
// waits while the service recovers, and goes on at the new epoch, slowly at
// first. All that it knows is in the store, so that whatever dies, only what was
// in flight is done again.
func Batch(ctx workflow.Context, in BatchInput) (BatchResult, error) {
	b := &batch{in: in, slow: in.Slow, state: BatchState{Started: workflow.Now(ctx)}}
	if in.State != nil {
		b.state = *in.State
	}
	if err := workflow.SetQueryHandler(ctx, ProgressQueryName, func() (BatchState, error) { return b.state, nil }); err != nil {
		return BatchResult{}, err
	}
	away := "" // why the last part ended, where the service went away under it
	for part := 0; part < batchParts && workflow.GetInfo(ctx).GetCurrentHistoryLength() < batchEvents; {
		// Step 1. Where does the service run, and under which epoch?
		where, ok := b.place(ctx)
		if ctx.Err() != nil {
			return b.end(BatchCancelled, "cancelled"), nil
		}
		if !ok {
			continue
		}
		if away != "" && !where.moved {
			b.wait(ctx, where, away)
			away = ""
			continue
		}
		away = ""
		// Step 2. Work off a part there.
		err := b.work(ctx, where)
		switch errorType(err) {
		case "":
			if err != nil {
				if ctx.Err() != nil {
					return b.end(BatchCancelled, "cancelled; what was done is kept"), nil
				}
				return b.end(BatchStopped, reason(err)), nil
			}
		case activities.ErrTypeAway:
			away, b.slow = reason(err), true
			b.state.Waits = away
			continue
		case activities.ErrTypeHeld:
			if where.moved {
				continue // our own earlier part is still known under the epoch before
			}
			return b.end(BatchHeld, reason(err)), nil
		case activities.ErrTypeOver:
			return b.end(BatchCancelled, reason(err)), nil
		default:
			b.tell(ctx, where, "stopped: "+reason(err))
			return b.end(BatchStopped, reason(err)), nil
		}
		part++
		if b.state.Progress.Done {
			// Step 3. Write the output and the report.
			return b.finish(ctx, where)
		}
	}
	return BatchResult{}, workflow.NewContinueAsNewError(ctx, Batch, BatchInput{Service: in.Service, Job: in.Job, Takeover: b.in.Takeover, State: &b.state, Slow: b.slow})
}

type batch struct {
	in    BatchInput
	state BatchState
	// slow makes the next part begin with one request at a time.
	slow bool
	// told counts what this run has told people: each is a story of its own.
	told int
}

// batchPlace is where a part is worked off.
type batchPlace struct {
	runbook activities.LoadRunbookResult
	batches runbooks.Batches
	active  runbooks.Target
	epoch   int64
	moved   bool
}

// place asks the guard; false where the service cannot be used now.
func (b *batch) place(ctx workflow.Context) (p batchPlace, ok bool) {
	loaded, err := do(ctx, handOver, "load the runbook", acts.LoadRunbook, activities.LoadRunbookInput{Service: b.in.Service})
	if err != nil {
		return p, b.idle(ctx, "no runbook: "+reason(err))
	}
	held, err := do(ctx, handOver, "ask the guard where "+b.in.Service+" runs", acts.AskGuard, activities.AskGuardInput{Service: b.in.Service})
	switch {
	case err != nil:
		return p, b.idle(ctx, "the guard does not answer: "+reason(err))
	case held.Recovering && held.Provisional == nil:
		return p, b.idle(ctx, b.in.Service+" recovers")
	}
	active := held.Active
	if held.Recovering { // it has switched and works; the confirm window is no reason to wait
		active, held.Target = held.Provisional.Name, *held.Provisional
	}
	store := loaded.Runbook.BatchesOf(active)
	if store == nil {
		return p, b.idle(ctx, "the runbook has no batch store for "+active)
	}
	p = batchPlace{runbook: loaded, batches: *store, active: held.Target, epoch: held.Epoch}
	if p.moved = b.state.Active != "" && (b.state.Active != active || b.state.Epoch != held.Epoch); p.moved {
		b.state.Moves++
		b.slow = true
	}
	b.state.Active, b.state.Epoch = active, held.Epoch
	return p, true
}

// idle waits a moment, and says what for.
func (b *batch) idle(ctx workflow.Context, why string) bool {
	if b.state.Since.IsZero() {
		b.state.Since = workflow.Now(ctx)
	}
	b.state.Waits = why
	workflow.SetCurrentDetails(ctx, b.details())
	_ = workflow.NewTimerWithOptions(ctx, b.pause(ctx), workflow.TimerOptions{Summary: cut(plain(why), 200)}).Get(ctx, nil)
	return false
}

// pause is how long to wait before the next look.
func (b *batch) pause(ctx workflow.Context) time.Duration {
	if workflow.Now(ctx).Sub(b.state.Since) > time.Minute {
		return batchLater
	}
	return batchLooks
}

// work has a part worked off.
func (b *batch) work(ctx workflow.Context, p batchPlace) error {
	b.state.Waits = ""
	began := workflow.Now(ctx)
	options := runBatch
	options.Summary = cut(fmt.Sprintf("%s on %s: from item %d", b.in.Job, p.active.Name, b.state.Progress.Next.Item), 200)
	result, err := do(ctx, options, options.Summary, acts.RunBatch, activities.RunBatchInput{
		Service: b.in.Service, Job: b.in.Job, Batches: p.batches, Epoch: p.epoch, Active: p.active, Version: p.runbook.Runbook.Version,
		Health: p.runbook.Runbook.Health, Items: batchPart, SlowStart: b.slow, Takeover: b.in.Takeover,
	})
	if err == nil {
		b.slow, b.in.Takeover = false, false
		b.state.Progress = result.Progress
	}
	if err == nil || workflow.Now(ctx).Sub(began) > time.Minute { // it did work in between
		b.state.Since, b.state.Told = time.Time{}, false
	}
	workflow.SetCurrentDetails(ctx, b.details())
	return err
}

// wait waits until the service answers again, or its guard begins to recover it.
func (b *batch) wait(ctx workflow.Context, p batchPlace, why string) {
	if b.state.Since.IsZero() {
		b.state.Since = workflow.Now(ctx)
	}
	workflow.SetCurrentDetails(ctx, b.details())
	if !b.state.Told && workflow.Now(ctx).Sub(b.state.Since) > batchWaits {
		b.state.Told = true
		b.tell(ctx, p, fmt.Sprintf("waits since %s: %s", clock(b.state.Since), why))
	}
	options := longLook
	options.ScheduleToCloseTimeout = time.Minute
	_, _ = do(ctx, options, "wait until "+p.active.Name+" answers", acts.AwaitService, activities.AwaitServiceInput{
		Active: p.active, Health: p.runbook.Runbook.Health, Until: workflow.Now(ctx).Add(b.pause(ctx)),
	})
}

func (b *batch) finish(ctx workflow.Context, p batchPlace) (BatchResult, error) {
	options := runBatch
	options.StartToCloseTimeout = 24 * time.Hour
	result, err := do(ctx, options, "write the output of "+b.in.Job, acts.FinishBatch, activities.FinishBatchInput{
		Service: b.in.Service, Job: b.in.Job, Batches: p.batches, Epoch: p.epoch,
	})
	if err != nil {
		b.tell(ctx, p, "stopped: "+reason(err))
		return b.end(BatchStopped, reason(err)), nil
	}
	r := result.Report
	b.tell(ctx, p, fmt.Sprintf("done: %d of %d items, %d failed, %d quarantined, %.0f s of audio, %.0f s of it done again, %d moves",
		r.Succeeded, r.Items, r.Failed, r.Quarantined, r.AudioSeconds, r.RedoneSeconds, b.state.Moves))
	out := b.end(BatchDone, "")
	out.Report = &r
	return out, nil
}

// tell tells people one line about the batch.
func (b *batch) tell(ctx workflow.Context, p batchPlace, what string) {
	notify := p.runbook.Runbook.Notify
	if len(notify) == 0 {
		return
	}
	color := chat.Asking
	if b.state.Progress.Done {
		color = chat.Good
	}
	b.told++
	_ = perform(ctx, handOver, "tell people: "+what, acts.Announce, activities.AnnounceInput{
		Service: b.in.Service, Story: fmt.Sprintf("batch-%s-%s-%d", b.in.Job, workflow.GetInfo(ctx).WorkflowExecution.RunID, b.told), Seq: 1, Notify: notify, Final: true,
		Message: chat.Message{Color: color, Headline: fmt.Sprintf("%s: batch %s", b.in.Service, cut(b.in.Job, 80)), Lines: []string{what}},
	})
}

func (b *batch) end(outcome, why string) BatchResult {
	return BatchResult{Outcome: outcome, Reason: why, Moves: b.state.Moves}
}

// details is what the Temporal UI shows.
func (b *batch) details() string {
	p := b.state.Progress
	text := fmt.Sprintf("**%s** of %s on %s, epoch %d: %d of %d items, %d failed, %d quarantined, %.0f of %.0f s of audio\n",
		plain(b.in.Job), b.in.Service, b.state.Active, b.state.Epoch, p.Succeeded, p.Items, p.Failed, p.Quarantined, p.AudioSeconds, p.TotalSeconds)
	if b.state.Waits != "" {
		text += "\n⏳ " + plain(b.state.Waits) + "\n"
	}
	return cut(text, 4000)
}
