package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// collected is how many items are collected at once, collectors how many results are read at the same time.
	collected  = 512
	collectors = 32
)

// Finish collects the results of a job whose items all have an outcome into its
// final files and its report, and closes the job. It reads each result and trusts
// none unread: one that is torn is a failure of its item. An item without an
// outcome is ErrUnfinished, and the next run goes on there. A finished job is
// fine: its report is returned. Memory does not grow with the job; the files are
// made on disk, in the temporary directory. progress, where given, is told how
// many items are collected.
func (s *Store) Finish(ctx context.Context, id string, c Claim, progress func(items int64)) (Report, error) {
	l, err := s.Take(ctx, id, c)
	if errors.Is(err, ErrFinished) {
		return s.Report(ctx, id)
	}
	if err != nil {
		return Report{}, err
	}
	if progress == nil {
		progress = func(int64) {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	var clock sync.WaitGroup
	clock.Go(func() { l.keep(ctx, over, cancel) })
	report, err := l.finish(ctx, progress)
	close(over)
	clock.Wait()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil && !errors.Is(err, ErrHeld) && !errors.Is(err, ErrCancelled) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer cancel()
		// Where this fails the next runner takes the job all the same, when its patience is over.
		_ = l.Release(ctx, err.Error(), func(*Head) {})
	}
	return report, err
}

// keep renews a lease while something long is done under it.
func (l *Lease) keep(ctx context.Context, over <-chan struct{}, lost func(error)) {
	ticker := time.NewTicker(Renewal)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := l.Advance(ctx, func(*Head) {}); err != nil && !errors.Is(err, ErrUnavailable) {
				lost(err)
				return
			}
		}
	}
}

func (l *Lease) finish(ctx context.Context, progress func(int64)) (Report, error) {
	h := l.Head()
	if h.Window.Item != l.job.Manifest.Items {
		return Report{}, fmt.Errorf("%w: job %s is at item %d of %d", ErrUnfinished, l.job.ID, h.Window.Item, l.job.Manifest.Items)
	}
	files, err := newFiles(len(h.Variants) > 1)
	if err != nil {
		return Report{}, err
	}
	defer files.remove()
	r := Report{
		Version: Version, Job: l.job.ID, Service: l.job.Service, Round: h.Round, CreatedAt: l.job.CreatedAt, FinishedAt: now(),
		Epoch: h.Epoch, Holder: h.Holder, Items: l.job.Manifest.Items, Manifest: l.job.Manifest,
		Counts: Counts{RedoneSeconds: h.RedoneSeconds},
	}
	revisions := map[string]int64{}
	items := l.store.Items(l.job, Position{})
	for at := (Position{}); at.Item < r.Items; {
		page, err := items.Next(ctx, collected)
		if err != nil {
			return Report{}, fmt.Errorf("read the manifest: %w", err)
		}
		outcomes, err := l.collect(ctx, h, page)
		if err != nil {
			return Report{}, err
		}
		for i, item := range page {
			o := outcomes[i]
			if o.Error == nil && o.Response == nil {
				return Report{}, l.reopen(ctx, at, r.Counts)
			}
			if err := files.add(item, o); err != nil {
				return Report{}, err
			}
			r.Counts.count(slot{seconds: item.Seconds, outcome: o.settled()}, 1)
			if o.Error == nil {
				revisions[o.Revision]++
			} else if o.Error.Code == CodeTorn {
				r.Torn = append(r.Torn, o.Error.Message)
			}
			at = item.After
		}
		progress(at.Item)
	}
	for _, revision := range slices.Sorted(maps.Keys(revisions)) {
		r.Revisions = append(r.Revisions, RevisionCount{revision, revisions[revision]})
	}
	return r, l.publish(ctx, &r, files)
}

// publish uploads the files and the report, and then says in the head that they
// count. They lie in a folder of this session, so that another finisher, who loses
// the head, spoils nothing.
func (l *Lease) publish(ctx context.Context, r *Report, files *files) error {
	folder := outputRoom + "/" + l.Head().Session + "/"
	for _, f := range files.all() {
		key := l.job.ID + "/" + folder + f.name
		content, err := f.rewound()
		if err != nil {
			return err
		}
		if err := l.Check(ctx); err != nil {
			return err
		}
		if _, err := l.store.objects.Put(ctx, key, content, Condition{}); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
		r.Files = append(r.Files, f.reported(key))
	}
	if err := l.Check(ctx); err != nil {
		return err
	}
	if _, err := l.store.put(ctx, l.job.ID+"/"+folder+ReportFile, encode(r), Condition{}); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return l.Advance(ctx, func(h *Head) {
		h.State, h.Reason, h.Counts, h.Report = Finished, "", r.Counts, folder+ReportFile
	})
}

// reopen sends the job back to an item that has no outcome, such as one whose
// result was removed.
func (l *Lease) reopen(ctx context.Context, at Position, before Counts) error {
	before.RedoneSeconds = l.Head().RedoneSeconds
	err := l.Advance(ctx, func(h *Head) {
		h.Window = Window{Position: at, End: l.job.Manifest.Items}
		h.Counts = before
	})
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: item %d of job %s has no outcome", ErrUnfinished, at.Item, l.job.ID)
}

// collect reads the outcomes of a page; those that are not there are empty.
func (l *Lease) collect(ctx context.Context, h Head, page []Item) ([]Result, error) {
	known, err := l.store.Outcomes(ctx, l.job, h, page[0].Index, page[len(page)-1].Index+1)
	if err != nil {
		return nil, err
	}
	results, errs := make([]Result, len(page)), make([]error, len(page))
	gate := make(chan struct{}, collectors)
	var wait sync.WaitGroup
	for i, item := range page {
		gate <- struct{}{}
		wait.Go(func() {
			defer func() { <-gate }()
			results[i], errs[i] = l.outcomeOf(ctx, h, item, known[item.Index])
		})
	}
	wait.Wait()
	return results, errors.Join(errs...)
}

// outcomeOf reads the outcome of one item. Torn results become failures, noted as
// such, so that they are found when failed items are tried again.
func (l *Lease) outcomeOf(ctx context.Context, h Head, item Item, o Outcome) (Result, error) {
	for _, v := range h.Variants {
		if v.ID != o.Variant {
			continue
		}
		r, err := l.store.Result(ctx, l.job, v, item)
		switch {
		case err == nil:
			return r, nil
		case errors.Is(err, ErrMissing):
			return Result{}, nil
		case !errors.Is(err, ErrTorn):
			return Result{}, err
		}
		r = newResult(l.job, v, item, h)
		r.Error = l.store.tornFailure(ctx, err)
		return r, l.PutFailure(ctx, v, item, r)
	}
	if !o.Settled() {
		return Result{}, nil
	}
	r, err := l.store.failure(ctx, l.job, h.Variants, item.Index)
	if errors.Is(err, ErrMissing) {
		return Result{}, nil
	}
	return r, err
}

// settled is what the outcome counts as.
func (r Result) settled() settled {
	switch {
	case r.Error == nil:
		return succeeded
	case r.Error.Code == CodeQuarantined:
		return quarantined
	default:
		return failed
	}
}
