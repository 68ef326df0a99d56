package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// Types of the errors of batches.
const (
	// ErrTypeAway: the speech service is away; the batch waits for its recovery.
	ErrTypeAway = "Away"
	// ErrTypeHeld: a newer epoch, or somebody else, works on the job.
	ErrTypeHeld = "Held"
	// ErrTypeOver: the job is cancelled, finished or gone.
	ErrTypeOver = "Over"
	// ErrTypeStopped: the batch cannot go on without a person.
	ErrTypeStopped = "Stopped"
)

// BatchTools are what batches are run with; nil where they cannot be.
type BatchTools struct {
	// Store opens the batch store at an s3:// URL.
	Store func(url string) (*jobs.Store, error)
	// Runner makes the runner of a store.
	Runner func(*jobs.Store) *jobs.Runner
}

// RunBatchInput has a part of a job worked off.
type RunBatchInput struct {
	Service string           `json:"service"`
	Job     string           `json:"job"`
	Batches runbooks.Batches `json:"batches"`
	// Epoch of the service, Active where it runs.
	Epoch  int64           `json:"epoch"`
	Active runbooks.Target `json:"active"`
	// Version says how the model's revision is asked.
	Version *runbooks.Version `json:"version,omitempty"`
	Health  runbooks.Health   `json:"health"`
	// Items ends the part after about so many.
	Items     int64 `json:"items"`
	SlowStart bool  `json:"slow_start,omitempty"`
	// Takeover takes the job from a runner of the same epoch that is gone.
	Takeover bool `json:"takeover,omitempty"`
}

// RunBatchResult is how far the job is.
type RunBatchResult struct {
	Timing
	Progress jobs.Progress `json:"progress"`
}

// batchPatience is how long a part waits for a service that is away, before its
// workflow looks what has become of it.
const batchPatience = 2 * time.Second

// storePatience is how long a part holds what was transcribed for a store that is away.
const storePatience = time.Minute

// RunBatch works off a part of a job. Everything that it did is in the batch
// store; whatever ends it, it can be called again, and only what was in flight
// is done again. Its heartbeats carry the progress.
func (a *Activities) RunBatch(ctx context.Context, in RunBatchInput) (RunBatchResult, error) {
	out := RunBatchResult{Timing: begin()}
	tell, stop := progress(ctx)
	defer stop()
	store, err := a.Batches.Store(in.Batches.Store)
	if err != nil {
		return out, classifyBatch(err)
	}
	revision, err := a.revision(ctx, in)
	if err != nil {
		return out, classifyBatch(err)
	}
	var stopping <-chan struct{}
	if activity.IsActivity(ctx) {
		stopping = activity.GetWorkerStopChannel(ctx)
	}
	watching, seen := context.WithCancel(ctx)
	defer seen()
	move := a.watchMoves(watching, in, stopping)
	out.Progress, err = a.Batches.Runner(store).Run(ctx, jobs.Work{
		Job: in.Job, URL: in.Active.URL, Revision: revision, Items: in.Items, SlowStart: in.SlowStart, Patience: batchPatience, StorePatience: storePatience, Stop: move.stop,
		Claim:    jobs.Claim{Holder: a.holder(fmt.Sprintf("batch/%s/%s", in.Service, in.Job)), Epoch: in.Epoch, Lanes: in.Batches.Concurrency, Takeover: in.Takeover},
		Confirm:  func(ctx context.Context) (string, error) { return a.revision(ctx, in) },
		Progress: func(p jobs.Progress) { tell(p) },
	})
	out.Timing = out.Timing.end()
	if err == nil && !out.Progress.Done && activity.IsActivity(ctx) && stoppingNow(stopping) {
		return out, classify(errStopping)
	}
	if err == nil && !out.Progress.Done {
		err = move.yielded()
	}
	return out, classifyBatch(err)
}

func stoppingNow(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// revision asks the active which model it runs.
func (a *Activities) revision(ctx context.Context, in RunBatchInput) (string, error) {
	return Revision(ctx, in.Active.URL, in.Version)
}

// Revision asks a service which model it runs; every runner of a batch has to
// find the same. A service that says nothing of its version has one all the
// same. Errors wrap jobs.ErrAway.
func Revision(ctx context.Context, url string, v *runbooks.Version) (string, error) {
	if v == nil {
		return "unversioned", nil
	}
	actual, err := ask(ctx, url, v.Actual.Path, v.Actual.Field, "version")
	if err != nil {
		return "", fmt.Errorf("%w: %s does not say its version: %w", jobs.ErrAway, url, err)
	}
	return actual, nil
}

// FinishBatchInput writes the final output of a job whose items all have an outcome.
type FinishBatchInput struct {
	Service string           `json:"service"`
	Job     string           `json:"job"`
	Batches runbooks.Batches `json:"batches"`
	Epoch   int64            `json:"epoch"`
}

// FinishBatchResult is the job's report.
type FinishBatchResult struct {
	Timing
	Report jobs.Report `json:"report"`
}

// FinishBatch writes output and report. It is idempotent.
func (a *Activities) FinishBatch(ctx context.Context, in FinishBatchInput) (FinishBatchResult, error) {
	out := FinishBatchResult{Timing: begin()}
	tell, stop := progress(ctx)
	defer stop()
	store, err := a.Batches.Store(in.Batches.Store)
	if err != nil {
		return out, classifyBatch(err)
	}
	out.Report, err = store.Finish(ctx, in.Job, jobs.Claim{
		Holder: a.holder(fmt.Sprintf("batch/%s/%s", in.Service, in.Job)), Epoch: in.Epoch, Lanes: in.Batches.Concurrency,
	}, func(items int64) { tell(items) })
	if errors.Is(err, jobs.ErrFinished) {
		out.Report, err = store.Report(ctx, in.Job)
	}
	out.Timing = out.Timing.end()
	return out, classifyBatch(err)
}

// ResumeBatchesInput has the unfinished jobs of a service continued.
type ResumeBatchesInput struct {
	Service string           `json:"service"`
	Batches runbooks.Batches `json:"batches"`
}

// ResumeBatchesResult says what was found and what goes on.
type ResumeBatchesResult struct {
	Timing
	// Found are the unfinished jobs, Resumed those that go on, Foreign those that another runner was doing.
	Found   int      `json:"found"`
	Resumed []string `json:"resumed,omitempty"`
	Foreign []string `json:"foreign,omitempty"`
	// Problems are jobs that do not go on, with the reason.
	Problems []string `json:"problems,omitempty"`
	// InFlight is what the interrupted jobs had in flight.
	InFlight []InFlight `json:"in_flight,omitempty"`
}

// InFlight is what a job had in flight when it was interrupted: at most so many
// items, with so many seconds of audio, are done again.
type InFlight struct {
	Job     string  `json:"job"`
	Items   int     `json:"items"`
	Seconds float64 `json:"seconds"`
	// Unknown says why that is not known.
	Unknown string `json:"unknown,omitempty"`
}

// ResumeBatches finds the unfinished jobs of a service in its batch store, also
// those of other runners that write the same layout, and has each continued by a
// workflow of its own. It is idempotent: a job that goes on already goes on.
func (a *Activities) ResumeBatches(ctx context.Context, in ResumeBatchesInput) (ResumeBatchesResult, error) {
	out := ResumeBatchesResult{Timing: begin()}
	defer heartbeat(ctx)()
	store, err := a.Batches.Store(in.Batches.Store)
	if err != nil {
		return out, classifyBatch(err)
	}
	all, err := store.Jobs(ctx)
	if err != nil {
		return out, classifyBatch(err)
	}
	for _, one := range all {
		if one.Err != nil {
			out.Problems = append(out.Problems, fmt.Sprintf("%s: %v", one.ID, one.Err))
			continue
		}
		if one.Job.Service != in.Service || !one.Head.Open() {
			continue
		}
		out.Found++
		lost := InFlight{Job: one.ID}
		if lost.Items, lost.Seconds, err = store.InFlight(ctx, one.Job, one.Head); err != nil {
			lost.Unknown = err.Error()
		}
		out.InFlight = append(out.InFlight, lost)
		if err := a.Guards.StartBatch(ctx, StartBatchInput{Service: in.Service, Job: one.ID, Takeover: true}); err != nil {
			out.Problems = append(out.Problems, fmt.Sprintf("%s: %v", one.ID, err))
			continue
		}
		out.Resumed = append(out.Resumed, one.ID)
		if one.Head.Holder != "" && one.Head.Holder != a.holder("batch/"+in.Service+"/"+one.ID) {
			out.Foreign = append(out.Foreign, one.ID)
		}
	}
	out.Timing = out.Timing.end()
	return out, ctx.Err()
}

// AwaitServiceInput waits until the active of a service answers.
type AwaitServiceInput struct {
	Active runbooks.Target `json:"active"`
	Health runbooks.Health `json:"health"`
	Until  time.Time       `json:"until"`
}

// AwaitService waits until the active answers its health check; true where it
// did in time. It only looks.
func (a *Activities) AwaitService(ctx context.Context, in AwaitServiceInput) (bool, error) {
	defer heartbeat(ctx)()
	for {
		seen := a.Prober.Probe(ctx, probe.Request{URL: in.Active.URL, Health: in.Health})
		if seen.Finding == runbooks.Answers || seen.Finding == runbooks.Slow {
			return true, nil
		}
		if !pause(ctx, in.Until, bootEvery) {
			return false, ctx.Err()
		}
	}
}

// classifyBatch turns what the batch store and the runner say into types.
func classifyBatch(err error) error {
	kinds := []struct {
		kind string
		errs []error
	}{
		{ErrTypeAway, []error{jobs.ErrAway}},
		{ErrTypeHeld, []error{jobs.ErrHeld}},
		{ErrTypeOver, []error{jobs.ErrCancelled, jobs.ErrFinished, jobs.ErrMissing}},
		{ErrTypeStopped, []error{jobs.ErrRevision, jobs.ErrAllFail, jobs.ErrUnsupported, jobs.ErrTorn, jobs.ErrInvalid}},
	}
	for _, k := range kinds {
		for _, one := range k.errs {
			if errors.Is(err, one) {
				return finalError(k.kind, err)
			}
		}
	}
	return classify(err)
}

// StartBatchInput has a job continued by a workflow of its own.
type StartBatchInput struct {
	Service string `json:"service"`
	Job     string `json:"job"`
	// Takeover continues a job whose runner is gone.
	Takeover bool `json:"takeover,omitempty"`
}
