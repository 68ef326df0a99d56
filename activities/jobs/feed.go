package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// task is an item for a lane, with what the ledger holds about it.
type task struct {
	Item
	Outcome
}

// feeder gives out items, page by page.
type feeder struct {
	*run
	items *Items
	page  page
	// known is the ledger's part up to an item (not included).
	known map[int64]Outcome
	to    int64
	// suspects is how many items without an outcome may still have been in flight when the last runner died.
	suspects int
	fed      int64
}

// page is being prepared. Each step is remembered, so that it goes on where a
// store that was away for a moment had broken it off.
type page struct {
	tasks []task
	// of the tasks, how many were looked up, and how many were held against what the last runner left.
	lookedUp, suspected int
	added               bool
	lost                bool // some may have been in flight when the last runner died
}

// feed gives out the items of the job, in order, until its end, the order's end
// or a stop. Before the first item of a page is given out the head says so: that
// is the epoch's check, and what a successor needs to know.
func (x *run) feed(ctx context.Context, tasks chan<- task) error {
	f := &feeder{run: x, items: x.Store.Items(x.job, x.lease.Head().Window.Position)}
	if x.lease.crashed != nil {
		f.suspects = x.lease.crashed.Lanes
	}
	for x.work.Items == 0 || f.fed < x.work.Items {
		if !x.roomLeft(ctx) {
			return nil
		}
		f.page = page{}
		err := x.patiently(ctx, func() error { return f.prepare(ctx) })
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the next items of job %s: %w", x.job.ID, err)
		}
		for _, t := range f.page.tasks {
			select {
			case tasks <- t:
			case <-ctx.Done():
				return nil
			case <-x.work.Stop:
				return nil
			}
		}
		f.fed += int64(len(f.page.tasks))
	}
	return nil
}

// roomLeft waits until the window is not too long; false means that the work is to end.
func (x *run) roomLeft(ctx context.Context) bool {
	for x.window.size() > longestWindow-Page {
		select {
		case <-x.window.moved:
		case <-ctx.Done():
			return false
		case <-x.work.Stop:
			return false
		}
	}
	return ctx.Err() == nil && !x.stopped()
}

// prepare reads the next items with their outcomes, and takes them into the window.
func (f *feeder) prepare(ctx context.Context) error {
	p := &f.page
	if p.tasks == nil {
		items, err := f.items.Next(ctx, Page)
		if err != nil {
			return err
		}
		for _, item := range items {
			p.tasks = append(p.tasks, task{Item: item})
		}
	}
	for ; p.lookedUp < len(p.tasks); p.lookedUp++ {
		t := &p.tasks[p.lookedUp]
		var err error
		if t.Outcome, err = f.outcome(ctx, t.Index); err != nil {
			return err
		}
	}
	for ; p.suspected < len(p.tasks); p.suspected++ {
		if err := f.suspect(ctx, &p.tasks[p.suspected]); err != nil {
			return err
		}
	}
	if !p.added {
		f.window.add(p.tasks)
		p.added = true
	}
	if last := p.tasks[len(p.tasks)-1].After.Item; last > f.lease.Head().Window.End || p.lost {
		return f.lease.Advance(ctx, f.window.write)
	}
	return nil
}

// outcome is what the ledger holds about an item; behind the window in which the
// job was taken there is nothing.
func (f *feeder) outcome(ctx context.Context, item int64) (Outcome, error) {
	h := f.lease.Head()
	if item >= h.Window.End {
		return Outcome{}, nil
	}
	if item >= f.to {
		to := min(item+maxKeys, h.Window.End)
		known, err := f.Store.Outcomes(ctx, f.job, h, item, to)
		if err != nil {
			return Outcome{}, err
		}
		f.known, f.to = known, to
	}
	return f.known[item], nil
}

// suspect notes an attempt for an item that may have been in flight when the last
// runner died. Items are given out in order, so those are among the first without
// an outcome, as many as there were lanes. One with attempts on record went alone
// and noted its last attempt before it was made: that one is known, and not blamed twice.
func (f *feeder) suspect(ctx context.Context, t *task) error {
	if f.suspects == 0 || t.Settled() || t.Index >= f.lease.crashed.Window.End {
		return nil
	}
	reason := fmt.Sprintf("its runner, %s, ended while this item may have been in flight", f.lease.crashed.Holder)
	if t.Attempts > 0 {
		last, err := f.Store.lastAttempt(ctx, f.job, f.variant, t.Index, t.last)
		if err != nil && !errors.Is(err, ErrMissing) && !errors.Is(err, ErrTorn) {
			return err
		}
		if err != nil || last.Error != "" {
			f.suspects--
			return nil
		}
		if err := f.lease.EndAttempt(ctx, f.variant, t.Index, t.last, reason); err != nil {
			return err
		}
	} else {
		err := f.lease.BeginAttempt(ctx, f.variant, t.Index, t.last+1, reason)
		if err != nil && !errors.Is(err, ErrExists) {
			return err
		}
		t.Attempts++
		t.last++
	}
	f.suspects--
	f.page.lost = true
	f.window.lose(f.sent(t.Seconds))
	return nil
}
