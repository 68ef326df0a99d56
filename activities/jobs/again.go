package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// RetryFailed gives the failed and quarantined items of a job another try: their
// attempts are forgotten, and objects that lie in the way of their results are
// removed if they are still the same. It returns how many there are. The job is
// then waiting, finished or not before, and wants to be run. A job that somebody
// runs is ErrHeld.
func (s *Store) RetryFailed(ctx context.Context, id string, c Claim) (int64, error) {
	l, err := s.take(ctx, id, c, func(h Head, age time.Duration, c Claim) error {
		if h.State == Finished {
			return nil
		}
		return decide(h, age, c)
	})
	if err != nil {
		return 0, err
	}
	h := l.Head()
	var items int64
	for _, v := range h.Variants {
		n, err := l.forget(ctx, v)
		items += n
		if err != nil {
			return items, fmt.Errorf("forget failed attempts: %w", err)
		}
	}
	reason := fmt.Sprintf("%d failed items are tried again", items)
	if items == 0 {
		return 0, l.Advance(ctx, func(h *Head) {
			h.State, h.Reason = Waiting, "there was nothing to try again"
			if h.Report != "" {
				h.State = Finished
			}
		})
	}
	return items, l.Release(ctx, reason, func(h *Head) {
		h.Round++
		h.Report = ""
		h.Window = Window{End: l.job.Manifest.Items}
		h.Counts = Counts{RedoneSeconds: h.RedoneSeconds}
	})
}

// forget removes the attempts of all items of a variant that were given up. The
// mark that gives an item up goes last, so that a crash in between leaves it to
// be found again.
func (l *Lease) forget(ctx context.Context, v Variant) (items int64, err error) {
	prefix := room(l.job.ID, attemptsRoom, v.ID)
	of := int64(-1) // the item whose keys are gathered
	var attempts, marks []string
	flush := func() error {
		defer func() { attempts, marks = nil, nil }()
		if len(marks) == 0 {
			return nil
		}
		items++
		if err := l.clear(ctx, v, of); err != nil {
			return err
		}
		if err := l.Check(ctx); err != nil {
			return err
		}
		if err := l.store.objects.Delete(ctx, attempts); err != nil {
			return err
		}
		return l.store.objects.Delete(ctx, marks)
	}
	var failure error
	err = l.store.each(ctx, prefix, 0, l.job.Manifest.Items, func(item int64, rest string) {
		if item != of && failure == nil {
			failure = flush()
			of = item
		}
		key := prefix + place(item) + rest
		if rest == "/"+failedName || rest == "/"+quarantinedName {
			marks = append(marks, key)
		} else {
			attempts = append(attempts, key)
		}
	})
	if err = errors.Join(err, failure); err == nil {
		err = flush()
	}
	return items, err
}

// clear removes what lies in the way of an item's result, if it is what the failure names.
func (l *Lease) clear(ctx context.Context, v Variant, item int64) error {
	r, err := l.store.failure(ctx, l.job, []Variant{v}, item)
	if err != nil || r.Error.Key == "" {
		if errors.Is(err, ErrMissing) {
			return nil
		}
		return err
	}
	object, err := l.store.objects.Get(ctx, r.Error.Key, Span{})
	if errors.Is(err, ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	object.Body.Close()
	if object.Tag != r.Error.Tag {
		return nil
	}
	return l.store.objects.Delete(ctx, []string{r.Error.Key})
}
