package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-dr/understudy/activities/speech"
)

const brokenOff = "it was in flight when the work was broken off, as when its service is recovered"

// beginAttempt notes an attempt before it is made.
func (x *run) beginAttempt(ctx context.Context, t *task) error {
	t.last++
	err := x.write(ctx, func(ctx context.Context) error { return x.lease.BeginAttempt(ctx, x.variant, t.Index, t.last, "") })
	if errors.Is(err, ErrExists) {
		return nil // its answer was lost, or it is a leftover: it counts once
	}
	return err
}

// endAttempt notes how an attempt failed, and in the head what it cost.
func (x *run) endAttempt(ctx context.Context, t *task, begun bool, reason error) error {
	t.Attempts++
	if !begun {
		t.last++
	}
	err := x.write(ctx, func(ctx context.Context) error {
		if begun {
			return x.lease.EndAttempt(ctx, x.variant, t.Index, t.last, printable(reason))
		}
		return x.lease.BeginAttempt(ctx, x.variant, t.Index, t.last, printable(reason))
	})
	if err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return x.write(ctx, func(ctx context.Context) error { return x.lease.Advance(ctx, x.window.write) })
}

// breakOff settles an attempt that this runner did not let come to its end. Where
// our own caller broke it off, perhaps because the service hangs, the item may be
// why, and it counts: or it would hang one tier after the other. Else an attempt
// that was noted is taken back. Where these writes fail the next runner suspects
// what was in flight anyway.
func (x *run) breakOff(ctx context.Context, t *task, alone, sent bool) {
	told := sent && x.ended()
	if !told && !alone {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	switch {
	case !told:
		_ = x.lease.DropAttempt(ctx, x.variant, t.Index, t.last)
	case alone:
		_ = x.lease.EndAttempt(ctx, x.variant, t.Index, t.last, brokenOff)
	default:
		_ = x.lease.BeginAttempt(ctx, x.variant, t.Index, t.last+1, brokenOff)
	}
}

// undecodable says why audio over which the server failed is no audio, if it is none.
func (x *run) undecodable(ctx context.Context, t task, file File, failure error) error {
	if x.Cutter == nil || t.Attempts > 1 || errors.Is(failure, speech.ErrAudio) {
		return nil
	}
	if err := x.Cutter.Check(ctx, file.Path); errors.Is(err, speech.ErrItem) {
		return err
	}
	return nil
}

// quarantine gives up an item that was tried too often.
func (x *run) quarantine(ctx context.Context, t task) (settled, error) {
	last, err := x.Store.lastAttempt(ctx, x.job, x.variant, t.Index, t.last)
	if err != nil && !errors.Is(err, ErrMissing) && !errors.Is(err, ErrTorn) {
		return unsettled, err
	}
	message := fmt.Sprintf("tried %d times", t.Attempts)
	if last.Error != "" {
		message += "; the last time: " + last.Error
	} else {
		message += "; the last time its runner ended with it"
	}
	return quarantined, x.putFailure(ctx, t, &Failure{Code: CodeQuarantined, Message: message})
}
