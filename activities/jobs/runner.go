package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// Page is how many items are looked up in the ledger and put into the window at once.
	Page = 64
	// DefaultPatience is how long a run waits for a service or a store that is away, unless its order says otherwise.
	DefaultPatience = 30 * time.Second
	// ProgressInterval is how often a run tells its progress while nothing else happens.
	ProgressInterval = 2 * time.Second

	// longestWindow bounds how far the work may run ahead of the oldest item without an outcome: what has to be looked
	// at again after a crash, and what is held in memory.
	longestWindow = 4096
	// releaseTime bounds the writes of answers that are there when the work is broken off, and then that of the head.
	releaseTime = 5 * time.Second
)

// run is a Runner at one order.
type run struct {
	Runner
	work     Work
	ended    func() bool // whether the caller's context is
	lease    *Lease
	job      Job
	variant  Variant
	gate     *gate
	window   *window
	confirm  *confirmer
	failures failures
	telling  sync.Mutex
	// began is when the items were begun with, and had how much audio was done by then, in seconds.
	began time.Time
	had   float64
}

// Run takes a job and works on its items until all have an outcome, until the
// order's end, or until it must stop. Whatever it returns, what was done is kept,
// and the progress says how far the job is. Errors wrap ErrHeld, ErrCancelled,
// ErrFinished, ErrRevision, ErrAway, ErrAllFail, ErrUnsupported,
// ErrUnavailable, ErrTorn or ErrMissing, or are the context's. It can be called
// again after any of them: it goes on where the job is, and only what was in
// flight is done again.
func (r *Runner) Run(ctx context.Context, w Work) (Progress, error) {
	if w.Revision == "" {
		return Progress{}, invalid("a run needs the revision of the model")
	}
	if w.Patience == 0 {
		w.Patience = DefaultPatience
	}
	if w.StorePatience == 0 {
		w.StorePatience = w.Patience
	}
	x := &run{Runner: *r, work: w, ended: func() bool { return ctx.Err() != nil }}
	if x.Backoff == 0 {
		x.Backoff = 500 * time.Millisecond
	}
	if err := x.patiently(ctx, func() error { return x.take(ctx) }); err != nil {
		return Progress{}, err
	}
	err := x.patiently(ctx, func() (err error) {
		x.variant, err = x.lease.choose(ctx, w.Revision)
		return err
	})
	if err != nil {
		return x.end(ctx, err)
	}
	x.gate = newGate(x.work.Claim.Lanes, w.SlowStart)
	x.window = newWindow(x.lease.Head())
	x.began, x.had = time.Now(), x.lease.Head().AudioSeconds
	x.confirm = newConfirmer(w.Confirm)
	x.failures.ignored = w.KeepGoing
	return x.end(ctx, x.all(ctx))
}

// take makes this run the holder of the job.
func (x *run) take(ctx context.Context) (err error) {
	if x.job, err = x.Store.job(ctx, x.work.Job); err != nil {
		return err
	}
	if x.work.Claim.Lanes == 0 {
		x.work.Claim.Lanes = x.job.Concurrency
	}
	x.lease, err = x.Store.Take(ctx, x.work.Job, x.work.Claim)
	return err
}

// all runs the feeder, the lanes and the clock; the first error stops them.
func (x *run) all(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var lanes, clock sync.WaitGroup
	tasks := make(chan task)
	over := make(chan struct{})
	clock.Go(func() {
		if err := x.tick(ctx, over); err != nil {
			cancel(err)
		}
	})
	for range x.work.Claim.Lanes {
		lanes.Go(func() {
			for t := range tasks {
				if err := x.do(ctx, t); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	err := x.feed(ctx, tasks)
	close(tasks)
	if err != nil {
		cancel(err)
	}
	lanes.Wait()
	close(over)
	clock.Wait()
	return context.Cause(ctx)
}

// tick renews the lease and tells the progress until the work is over.
func (x *run) tick(ctx context.Context, over <-chan struct{}) error {
	ticker := time.NewTicker(ProgressInterval)
	defer ticker.Stop()
	renewed := time.Now()
	for {
		select {
		case <-over:
			return nil
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		x.tell()
		if time.Since(renewed) < Renewal {
			continue
		}
		renewed = time.Now()
		// A store that is away is noticed, and waited for, where something is to be written.
		if err := x.lease.Advance(ctx, x.window.write); err != nil && !errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
			return err
		}
	}
}

// end lets go of the job, whatever happened.
func (x *run) end(ctx context.Context, cause error) (Progress, error) {
	if errors.Is(cause, ErrHeld) || errors.Is(cause, ErrCancelled) {
		return x.progress(), cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	reason, change := "stopped by its runner", func(*Head) {}
	if x.window != nil {
		change = x.window.write
	}
	p := x.progress()
	switch {
	case cause != nil:
		reason = printable(cause)
	case p.Done:
		reason = "all items have an outcome"
	}
	// Where the lease cannot be let go of, the next runner finds out by itself, and suspects what was in flight.
	if err := x.lease.Release(ctx, reason, change); err != nil && cause == nil {
		cause = fmt.Errorf("let go of the job: %w", err)
	}
	x.tell()
	return p, cause
}

func (x *run) progress() Progress {
	p := Progress{Job: x.job.ID, Items: x.job.Manifest.Items, TotalSeconds: x.job.Manifest.Seconds}
	if x.window == nil {
		h := x.lease.Head()
		p.Next, p.Counts = h.Window.Position, h.Counts
	} else {
		p.Next, p.Counts = x.window.progress()
		p.InFlight = x.gate.within()
		p.Speed = (p.AudioSeconds - x.had) / max(time.Since(x.began).Seconds(), 1e-3)
	}
	p.Done = p.Next.Item == p.Items
	return p
}

func (x *run) tell() {
	if x.work.Progress == nil {
		return
	}
	x.telling.Lock()
	defer x.telling.Unlock()
	x.work.Progress(x.progress())
}
