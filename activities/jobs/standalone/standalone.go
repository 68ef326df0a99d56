// Package standalone runs a batch without Temporal: on the GPU machine itself,
// from a manifest to the final output and report.
//
// It writes the same layout as everybody else. When it is stopped, killed, or
// loses its server, it or another runner goes on where it was.
package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
)

// DefaultPatience is how long a server or a store may be away before a run gives up:
// a machine that is restarted is back by then.
const DefaultPatience = 10 * time.Minute

// Exit is how a run ended, as the exit code of a command.
type Exit int

// The exits. After all but Done and Flawed the same command goes on where it was.
const (
	// Done is every item succeeded.
	Done Exit = 0
	// Failed is a reason that is none of the others; the error says it.
	Failed Exit = 1
	// Invalid is a manifest, a job or an option that is not usable. Nothing was started.
	Invalid Exit = 2
	// Flawed is a finished job of which some items failed or are quarantined.
	Flawed Exit = 3
	// Held is a job that another runner has, or took from this one.
	Held Exit = 4
	// Away is a server that was away for longer than the patience, or refuses everything.
	Away Exit = 5
	// Store is a store that was away, or has no conditional writes.
	Store Exit = 6
	// Mismatch is a server with another model revision than that with which the job began.
	Mismatch Exit = 7
	// Cancelled is a job that somebody cancelled.
	Cancelled Exit = 8
	// Interrupted is a stop that was asked for.
	Interrupted Exit = 130
)

// Options describe a run.
type Options struct {
	Runner jobs.Runner
	// Job describes the job. Where none of this id exists it is created, and then needs Manifest; where it exists it is
	// resumed, and a manifest must be the same.
	Job      jobs.Job
	Manifest io.ReadSeeker
	// Work is the order, without its Job, Claim.Holder and Stop. A Revision is needed, or Revise.
	Work jobs.Work
	// Revise, where given, asks the server for its model revision, while it may still be loading.
	Revise func(context.Context) (string, error)
	// Holder names this runner; default its command and the host.
	Holder string
	// Stop ends the run in good order once it is closed; the end of the context breaks it off.
	Stop <-chan struct{}
	// Collected, where given, is told how many items are collected into the output.
	Collected func(items int64)
}

// Outcome is the end of a run.
type Outcome struct {
	Exit Exit
	// Progress is how far the job is; Report is there once it is finished.
	Progress jobs.Progress
	Report   *jobs.Report
}

// Run runs a job to its end: it creates it where it is new, works off its items,
// and collects the output. The error, where there is one, says in one line why it
// ended; Exit is then not Done and not Flawed.
func Run(ctx context.Context, o Options) (Outcome, error) {
	out, err := run(ctx, o)
	out.Exit = exit(out, err)
	return out, err
}

// errStopped is the end of a run that was asked for.
var errStopped = errors.New("stopped as asked; the same command goes on where it was")

func run(ctx context.Context, o Options) (Outcome, error) {
	if o.Holder == "" {
		host, _ := os.Hostname() // a runner without a host is still one
		o.Holder = "understudy batch run @ " + host
	}
	if o.Work.Patience == 0 {
		o.Work.Patience = DefaultPatience
	}
	o.Work.Job, o.Work.Claim.Holder, o.Work.Stop = o.Job.ID, o.Holder, o.Stop
	if err := begin(ctx, o); err != nil {
		return Outcome{}, err
	}
	if report, err := o.Runner.Store.Report(ctx, o.Job.ID); !errors.Is(err, jobs.ErrUnfinished) {
		return Outcome{Report: &report}, err
	}
	revision, err := revise(ctx, o)
	if err != nil {
		return Outcome{}, err
	}
	o.Work.Revision = revision
	for {
		progress, err := o.Runner.Run(ctx, o.Work)
		out := Outcome{Progress: progress}
		switch {
		case errors.Is(err, jobs.ErrFinished): // by somebody else, meanwhile
		case err != nil:
			return out, err
		case !progress.Done && stopped(o.Stop):
			return out, errStopped
		case !progress.Done:
			continue // the order's share is done
		}
		report, err := o.Runner.Store.Finish(ctx, o.Job.ID, o.Work.Claim, o.Collected)
		if errors.Is(err, jobs.ErrUnfinished) && !stopped(o.Stop) {
			continue // a result was gone
		}
		if err != nil {
			return out, err
		}
		out.Report = &report
		return out, nil
	}
}

// begin creates the job, or finds it.
func begin(ctx context.Context, o Options) error {
	if o.Manifest != nil {
		_, err := o.Runner.Store.Create(ctx, o.Job, o.Manifest)
		return err
	}
	_, _, err := o.Runner.Store.Open(ctx, o.Job.ID)
	if errors.Is(err, jobs.ErrMissing) {
		return fmt.Errorf("%w: there is no job %s in %s, and no manifest to make it from", jobs.ErrInvalid, o.Job.ID, o.Runner.Store)
	}
	return err
}

// revise finds the model revision. A server that is still loading is waited for.
func revise(ctx context.Context, o Options) (string, error) {
	if o.Revise == nil || o.Work.Revision != "" {
		return o.Work.Revision, nil
	}
	pause := 200 * time.Millisecond
	for began := time.Now(); ; pause = min(2*pause, 5*time.Second) {
		revision, err := o.Revise(ctx)
		switch {
		case err == nil:
			return revision, nil
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case time.Since(began) >= o.Work.Patience:
			return "", fmt.Errorf("%w: it does not tell its model revision: %w", jobs.ErrAway, err)
		}
		select {
		case <-time.After(pause):
		case <-o.Stop:
			return "", errStopped
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// exit finds the code for an end.
func exit(out Outcome, err error) Exit {
	switch {
	case err == nil && out.Report.Clean():
		return Done
	case err == nil:
		return Flawed
	case errors.Is(err, errStopped), errors.Is(err, context.Canceled):
		return Interrupted
	case errors.Is(err, jobs.ErrInvalid), errors.Is(err, jobs.ErrExists):
		return Invalid
	case errors.Is(err, jobs.ErrHeld):
		return Held
	case errors.Is(err, jobs.ErrCancelled):
		return Cancelled
	case errors.Is(err, jobs.ErrRevision):
		return Mismatch
	case errors.Is(err, jobs.ErrAway), errors.Is(err, jobs.ErrAllFail):
		return Away
	case errors.Is(err, jobs.ErrUnavailable), errors.Is(err, jobs.ErrUnsupported):
		return Store
	default:
		return Failed
	}
}
