package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// maxKeys is how many keys a listing returns at most.
const maxKeys = 1000

// Attempt is one try at an item that failed, or of which nobody knows the end.
type Attempt struct {
	Item int64 `json:"item"`
	// N counts from 1, across epochs.
	N       int    `json:"attempt"`
	Epoch   int64  `json:"epoch"`
	Session string `json:"session"`
	Holder  string `json:"holder"`
	// Error says how it ended; empty while it is under way, and for ever if its runner died with it.
	Error string    `json:"error,omitempty"`
	At    time.Time `json:"at"`
}

// Outcome is what the ledger holds about an item.
type Outcome struct {
	// Variant under which its result lies; empty where there is none. Only its content can tell whether it is sound.
	Variant string
	// Attempts that are on record, of all variants that count.
	Attempts int
	// Failed and Quarantined items are not tried again until somebody asks for it. A result outweighs both.
	Failed, Quarantined bool

	last int // the highest number of an attempt of the current variant
}

// Settled reports whether nothing is left to do.
func (o Outcome) Settled() bool { return o.Variant != "" || o.Failed || o.Quarantined }

// Outcomes reads what the ledger holds about the items from one to another (not
// included), from the keys alone: two listings of at most 1000 keys a call for
// each variant that counts.
func (s *Store) Outcomes(ctx context.Context, j Job, h Head, from, to int64) (map[int64]Outcome, error) {
	all := map[int64]Outcome{}
	for i, v := range h.Variants {
		current := i == len(h.Variants)-1
		results, attempts := room(j.ID, resultsRoom, v.ID), room(j.ID, attemptsRoom, v.ID)
		err := s.each(ctx, results, from, to, func(item int64, rest string) {
			o := all[item]
			if rest == suffix && o.Variant == "" {
				o.Variant = v.ID
				all[item] = o
			}
		})
		if err != nil {
			return nil, fmt.Errorf("list results: %w", err)
		}
		err = s.each(ctx, attempts, from, to, func(item int64, rest string) {
			o := all[item]
			switch n, ok := parseAttempt(rest[min(1, len(rest)):]); {
			case rest == "/"+failedName:
				o.Failed = true
			case rest == "/"+quarantinedName:
				o.Quarantined = true
			case ok:
				o.Attempts++
				if current {
					o.last = max(o.last, n)
				}
			}
			all[item] = o
		})
		if err != nil {
			return nil, fmt.Errorf("list attempts: %w", err)
		}
	}
	return all, nil
}

// each calls back for the keys of a room between two items, in order.
func (s *Store) each(ctx context.Context, room string, from, to int64, key func(item int64, rest string)) error {
	for after := room + place(from); ; {
		keys, err := s.objects.List(ctx, room, after, int(min(to-from, maxKeys)))
		if err != nil || len(keys) == 0 {
			return err
		}
		for _, k := range keys {
			item, rest, ok := parsePlace(k[len(room):])
			if ok && item >= to {
				return nil
			}
			if ok && item >= from {
				key(item, rest)
			}
		}
		after = keys[len(keys)-1]
	}
}

// Result reads the result of an item under a variant; ErrMissing, or ErrTorn where it is none.
func (s *Store) Result(ctx context.Context, j Job, v Variant, item Item) (Result, error) {
	key := resultKey(j.ID, v.ID, item.Index)
	content, err := s.read(ctx, key, Span{})
	if err != nil {
		return Result{}, err
	}
	return parseResult(j, v, item, key, content)
}

// PutResult makes an item done. Where a sound result is there already it is kept,
// and ErrExists says so; where something else is there, that is kept too and
// ErrTorn says so.
func (l *Lease) PutResult(ctx context.Context, v Variant, item Item, r Result) error {
	key := resultKey(l.job.ID, v.ID, item.Index)
	err := l.put(ctx, key, r)
	if !errors.Is(err, ErrExists) {
		return err
	}
	there, err := l.store.Result(ctx, l.job, v, item)
	switch {
	case errors.Is(err, ErrMissing):
		return fmt.Errorf("%w: %s comes and goes", ErrUnavailable, key)
	case err != nil:
		return err
	case there.Session == r.Session && there.At.Equal(r.At):
		return nil // our own write, whose answer was lost
	}
	return fmt.Errorf("%s: %w", key, ErrExists)
}

// PutFailure settles an item that has no transcript, as failed or as quarantined by
// its code. That it is settled already is fine.
func (l *Lease) PutFailure(ctx context.Context, v Variant, item Item, r Result) error {
	name := failedName
	if r.Error.Code == CodeQuarantined {
		name = quarantinedName
	}
	err := l.put(ctx, attemptKey(l.job.ID, v.ID, item.Index, name), r)
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}

// BeginAttempt records the n-th attempt of an item before it is made, or after it
// failed; ErrExists where that number is taken.
func (l *Lease) BeginAttempt(ctx context.Context, v Variant, item int64, n int, failure string) error {
	return l.put(ctx, attemptKey(l.job.ID, v.ID, item, attemptName(n)), l.attempt(item, n, failure))
}

// EndAttempt says how an attempt ended that was recorded before it was made.
func (l *Lease) EndAttempt(ctx context.Context, v Variant, item int64, n int, failure string) error {
	if err := l.Check(ctx); err != nil {
		return err
	}
	_, err := l.store.put(ctx, attemptKey(l.job.ID, v.ID, item, attemptName(n)), encode(l.attempt(item, n, failure)), Condition{})
	return err
}

// DropAttempt takes an attempt back that was recorded and never made: the service was not even reached.
func (l *Lease) DropAttempt(ctx context.Context, v Variant, item int64, n int) error {
	if err := l.Check(ctx); err != nil {
		return err
	}
	return l.store.objects.Delete(ctx, []string{attemptKey(l.job.ID, v.ID, item, attemptName(n))})
}

func (l *Lease) attempt(item int64, n int, failure string) Attempt {
	h := l.Head()
	return Attempt{Item: item, N: n, Epoch: h.Epoch, Session: h.Session, Holder: h.Holder, Error: failure, At: now()}
}

// lastAttempt reads an attempt.
func (s *Store) lastAttempt(ctx context.Context, j Job, v Variant, item int64, n int) (Attempt, error) {
	key := attemptKey(j.ID, v.ID, item, attemptName(n))
	content, err := s.read(ctx, key, Span{})
	if err != nil {
		return Attempt{}, err
	}
	var a Attempt
	if json.Unmarshal(content, &a) != nil || a.Item != item {
		return Attempt{}, torn(key, "it is no attempt of item %d", item)
	}
	return a, nil
}

// failure reads why an item failed or was quarantined.
func (s *Store) failure(ctx context.Context, j Job, variants []Variant, item int64) (Result, error) {
	for _, v := range variants {
		for _, name := range []string{failedName, quarantinedName} {
			key := attemptKey(j.ID, v.ID, item, name)
			content, err := s.read(ctx, key, Span{})
			if errors.Is(err, ErrMissing) {
				continue
			}
			if err != nil {
				return Result{}, err
			}
			var r Result
			if json.Unmarshal(content, &r) != nil || r.Error == nil || r.Job != j.ID || r.Item != item {
				return Result{Error: &Failure{Code: CodeTorn, Message: torn(key, "it does not say why the item failed").Error()}}, nil
			}
			return r, nil
		}
	}
	return Result{}, fmt.Errorf("the failure of item %d: %w", item, ErrMissing)
}

// put writes an object that must not be there, if the job is still ours.
func (l *Lease) put(ctx context.Context, key string, content any) error {
	if err := l.Check(ctx); err != nil {
		return err
	}
	_, err := l.store.put(ctx, key, encode(content), Condition{Absent: true})
	if errors.Is(err, ErrRefused) {
		return fmt.Errorf("%s: %w", key, ErrExists)
	}
	return err
}
