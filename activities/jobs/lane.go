package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-dr/understudy/activities/speech"
)

// do brings one item to its outcome. An error is not about the item: the run has to stop.
func (x *run) do(ctx context.Context, t task) error {
	outcome, err := x.outcomeOf(ctx, t)
	if err != nil {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrHeld), errors.Is(err, ErrCancelled), errors.Is(err, ErrUnsupported):
			return err
		default:
			return fmt.Errorf("item %d (%s): %w", t.Index, t.AudioPath, err)
		}
	}
	x.window.settle(t.Index, outcome)
	x.tell()
	return nil
}

func (x *run) outcomeOf(ctx context.Context, t task) (settled, error) {
	if t.Variant != "" {
		outcome, err := x.recheck(ctx, t)
		if outcome != unsettled || err != nil {
			return outcome, err
		}
	}
	switch {
	case t.Failed:
		return failed, nil
	case t.Quarantined:
		return quarantined, nil
	case len(t.Problems) > 0:
		return x.fail(ctx, t, CodeRefused, fmt.Errorf("the manifest: %s", t.Problems[0]))
	}
	var file File
	err := x.patiently(ctx, func() (err error) {
		file, err = x.Audio.Open(ctx, x.job.Ref(t.Item))
		return err
	})
	if errors.Is(err, ErrNoAudio) {
		if err := x.failures.add(CodeAudio, err); err != nil {
			return unsettled, err
		}
		return x.fail(ctx, t, CodeAudio, err)
	}
	if err != nil {
		return unsettled, err
	}
	if file.Close != nil {
		defer file.Close()
	}
	seconds, err := glance(file)
	if err != nil {
		return x.fail(ctx, t, CodeAudio, err)
	}
	return x.try(ctx, t, file, max(seconds, t.Seconds))
}

// recheck reads the result of an item that is done by its key. Where it has
// disappeared meanwhile the item is not settled.
func (x *run) recheck(ctx context.Context, t task) (settled, error) {
	variant := x.variant
	for _, v := range x.lease.Head().Variants {
		if v.ID == t.Variant {
			variant = v
		}
	}
	err := x.patiently(ctx, func() error {
		_, err := x.Store.Result(ctx, x.job, variant, t.Item)
		return err
	})
	switch {
	case err == nil:
		return succeeded, nil
	case errors.Is(err, ErrMissing):
		return unsettled, nil
	case errors.Is(err, ErrTorn):
		return x.fail(ctx, t, CodeTorn, err)
	default:
		return unsettled, err
	}
}

// try sends an item until it has its outcome.
func (x *run) try(ctx context.Context, t task, file File, seconds float64) (settled, error) {
	for pause := x.Backoff; ; pause = min(2*pause, longestBackoff) {
		if t.Attempts >= x.job.Attempts {
			return x.quarantine(ctx, t)
		}
		outcome, err := x.attempt(ctx, &t, file, seconds)
		if outcome != unsettled || err != nil {
			return outcome, err
		}
		if err := sleep(ctx, pause); err != nil {
			return unsettled, err
		}
	}
}

// attempt sends an item once. One that has failed before goes alone, and the
// attempt is noted before it is made: should the server or this runner die of it,
// it is known and nobody else is blamed. Without an outcome it may be tried again.
func (x *run) attempt(ctx context.Context, t *task, file File, seconds float64) (settled, error) {
	alone := t.Attempts > 0
	if alone {
		if err := x.gate.enter(ctx, true); err != nil {
			return unsettled, err
		}
		defer x.gate.leave()
		if err := x.beginAttempt(ctx, t); err != nil {
			return unsettled, err
		}
	}
	transcript, parts, err := x.transcribe(ctx, *t, file, seconds, alone)
	var own *ownError
	switch {
	case err == nil:
		return x.succeed(ctx, *t, transcript, parts)
	case errors.Is(err, speech.ErrItem):
		code, kind := CodeRefused, err.Error()
		if speech.Status(err) == 0 { // nobody was asked: it cannot be decoded
			code, kind = CodeAudio, CodeAudio
		}
		if err := x.failures.add(kind, err); err != nil {
			return unsettled, err
		}
		return x.fail(ctx, *t, code, err)
	case errors.Is(err, ErrTorn):
		return x.fail(ctx, *t, CodeTorn, err)
	case errors.As(err, &own):
		x.breakOff(ctx, t, alone, own.sent)
		return unsettled, err
	}
	if err := x.endAttempt(ctx, t, alone, err); err != nil {
		return unsettled, err
	}
	if reason := x.undecodable(ctx, *t, file, err); reason != nil {
		return x.fail(ctx, *t, CodeAudio, reason)
	}
	return unsettled, nil
}

// succeed keeps a transcript. Where a sound result is there already, ours was redone in vain.
func (x *run) succeed(ctx context.Context, t task, transcript speech.Transcript, parts int) (settled, error) {
	x.failures.clear()
	r := newResult(x.job, x.variant, t.Item, x.lease.Head())
	r.Attempts, r.Parts = t.Attempts, parts
	r.Response = &Response{Status: 200, Body: bodyOf(transcript, t.Seconds)}
	err := x.write(ctx, func(ctx context.Context) error { return x.lease.PutResult(ctx, x.variant, t.Item, r) })
	switch {
	case errors.Is(err, ErrExists):
		x.window.lose(t.Seconds)
		return succeeded, nil
	case errors.Is(err, ErrTorn):
		return x.fail(ctx, t, CodeTorn, err)
	case err != nil:
		x.window.lose(x.sent(t.Seconds))
		return unsettled, err
	default:
		return succeeded, nil
	}
}

// fail settles an item that will never succeed as it is.
func (x *run) fail(ctx context.Context, t task, code string, reason error) (settled, error) {
	failure := &Failure{Code: code, Message: printable(reason)}
	if code == CodeTorn {
		failure = x.Store.tornFailure(ctx, reason)
	}
	return failed, x.putFailure(ctx, t, failure)
}

// tornFailure says what lies in the way, and which object exactly.
func (s *Store) tornFailure(ctx context.Context, reason error) *Failure {
	f := &Failure{Code: CodeTorn, Message: printable(reason)}
	if lying := (*TornError)(nil); errors.As(reason, &lying) {
		f.Key = lying.Key
		if object, err := s.objects.Get(ctx, lying.Key, Span{}); err == nil {
			f.Tag = object.Tag
			object.Body.Close()
		}
	}
	return f
}

func (x *run) putFailure(ctx context.Context, t task, failure *Failure) error {
	r := newResult(x.job, x.variant, t.Item, x.lease.Head())
	r.Attempts, r.Error = t.Attempts, failure
	return x.write(ctx, func(ctx context.Context) error { return x.lease.PutFailure(ctx, x.variant, t.Item, r) })
}
