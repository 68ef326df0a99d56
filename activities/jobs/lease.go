package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// Renewal is how often a runner moves the head at least.
	Renewal = 10 * time.Second
	// Patience is how long a holder must have been silent, by the store's clock, before another runner of the same
	// epoch may take its job.
	Patience = time.Minute
	// fresh is how long a runner believes to own the job without asking again.
	fresh = 2 * time.Second
	// swaps is how often a lost swap is tried again.
	swaps = 20
)

// Claim is a runner's wish to have a job.
type Claim struct {
	// Holder names the runner, and is the same when it comes back after a crash: it then need not wait.
	Holder string
	// Epoch is that of the service; 0 is whatever epoch the job has. A higher one than the job's always wins, a lower one never.
	Epoch int64
	// Lanes is how many items will be in flight at most.
	Lanes int
	// Takeover takes the job from a holder of the same epoch who may be alive: a person's decision.
	Takeover bool
	// Patience replaces the default of that name.
	Patience time.Duration
}

// Lease is the ownership of a job for a time. All writes to a job go through one,
// and each write path asks first whether it still holds: at most 2 seconds pass
// between the last look at the head and a write, by the wall clock as well as by
// the one that stands still while the machine is suspended. A write that slips
// through nevertheless changes nothing that is there. It is safe for concurrent use.
type Lease struct {
	store *Store
	job   Job
	// crashed is the head of the predecessor who did not stop in good order, or nil.
	crashed *Head

	mu        sync.Mutex
	head      Head
	tag       string
	confirmed time.Time
	lost      error
}

// Take makes the claimant the holder of a job. Errors are *HeldError, ErrFinished,
// ErrCancelled, ErrMissing, ErrTorn, ErrUnsupported and ErrUnavailable.
func (s *Store) Take(ctx context.Context, id string, c Claim) (*Lease, error) {
	return s.take(ctx, id, c, decide)
}

// take swaps the head for one of ours as long as the decision allows it.
func (s *Store) take(ctx context.Context, id string, c Claim, decide func(Head, time.Duration, Claim) error) (*Lease, error) {
	if c.Holder == "" || c.Epoch < 0 {
		return nil, invalid("a claim needs a holder, and an epoch that is not negative")
	}
	j, err := s.job(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := s.Prove(ctx); err != nil {
		return nil, err
	}
	l := &Lease{store: s, job: j}
	session := uuid.NewString()
	for range swaps {
		asked := time.Now()
		before, at, err := s.head(ctx, j)
		if err != nil {
			return nil, err
		}
		if before.Session == session { // our own write, whose answer was lost
			l.tag, l.confirmed = at.tag, asked
			return l, nil
		}
		if err := decide(before, at.age, c); err != nil {
			return nil, err
		}
		l.head, l.crashed = before, nil
		if before.State == Running {
			l.crashed = &before
		}
		l.head.Session, l.head.Holder, l.head.State, l.head.Reason = session, c.Holder, Running, ""
		l.head.Epoch, l.head.Lanes, l.head.At = max(c.Epoch, before.Epoch), max(c.Lanes, 1), now()
		l.tag, err = s.put(ctx, j.ID+"/"+headName, l.head.encode(), Condition{Tag: at.tag})
		if err == nil {
			l.confirmed = asked
			return l, nil
		}
		if !errors.Is(err, ErrRefused) {
			return nil, fmt.Errorf("take job %s: %w", id, err)
		}
	}
	return nil, fmt.Errorf("%w: take job %s: lost %d swaps in a row", ErrUnavailable, id, swaps)
}

// decide says whether a claim may have a job with this head, which is so old.
func decide(h Head, age time.Duration, c Claim) error {
	patience := c.Patience
	if patience == 0 {
		patience = Patience
	}
	switch {
	case h.State == Finished:
		return fmt.Errorf("%w: %s", ErrFinished, h.Job)
	case !h.Open():
		return cancelled(h)
	case c.Epoch != 0 && c.Epoch < h.Epoch:
		return &HeldError{Head: h, Silent: age}
	case h.State == Waiting, c.Epoch > h.Epoch, h.Holder == c.Holder, age >= patience, c.Takeover:
		return nil
	default:
		return &HeldError{Head: h, Silent: age}
	}
}

func cancelled(h Head) error {
	if h.State == Deleted {
		return fmt.Errorf("%w: %s was deleted", ErrCancelled, h.Job)
	}
	return fmt.Errorf("%w: %s: %s", ErrCancelled, h.Job, h.Reason)
}

// Job is the job.
func (l *Lease) Job() Job { return l.job }

// Head is the head as this lease knows it.
func (l *Lease) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Advance changes the head by compare-and-swap. It returns *HeldError or
// ErrCancelled, for ever after, once the job is not ours any more.
func (l *Lease) Advance(ctx context.Context, change func(*Head)) error {
	if err := l.store.Prove(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		return l.lost
	}
	next := l.head
	change(&next)
	next.At = now()
	for range swaps {
		asked := time.Now()
		tag, err := l.store.put(ctx, l.key(), next.encode(), Condition{Tag: l.tag})
		if err == nil {
			l.head, l.tag, l.confirmed = next, tag, asked
			return nil
		}
		if !errors.Is(err, ErrRefused) {
			return fmt.Errorf("move the head of job %s: %w", l.job.ID, err)
		}
		// Either somebody else took the job, or it is our own write whose answer was lost: nobody else has our session.
		if err := l.look(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: move the head of job %s: lost %d swaps in a row", ErrUnavailable, l.job.ID, swaps)
}

// Check says whether the job is still ours.
func (l *Lease) Check(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		return l.lost
	}
	if asked := l.confirmed; believable(time.Since(asked), time.Now().Round(0).Sub(asked.Round(0))) {
		return nil
	}
	return l.look(ctx)
}

// believable reports whether what was seen a while ago may still be believed. The
// monotonic clock stands still while a machine is suspended, the wall clock may
// be set: each of them can tell that time has passed.
func believable(monotonic, wall time.Duration) bool {
	return monotonic < fresh && wall > -fresh && wall < fresh
}

// Doubt makes the next write ask first, however short ago that was done: for
// callers who know that they were stopped.
func (l *Lease) Doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.confirmed = time.Time{}
}

// look reads the head and remembers if the job was lost. The caller holds the lock.
func (l *Lease) look(ctx context.Context) error {
	asked := time.Now()
	head, at, err := l.store.head(ctx, l.job)
	switch {
	case err != nil:
		return err
	case head.State == Cancelled || head.State == Deleted:
		l.lost = cancelled(head)
	case head.Session != l.head.Session:
		l.lost = &HeldError{Head: head, Silent: at.age}
	default:
		l.tag, l.confirmed = at.tag, asked
	}
	return l.lost
}

// Release lets go of the job in good order, so that the next runner need not
// suspect what was in flight. reason is for people.
func (l *Lease) Release(ctx context.Context, reason string, change func(*Head)) error {
	return l.Advance(ctx, func(h *Head) {
		change(h)
		h.State, h.Reason = Waiting, reason
	})
}

func (l *Lease) key() string { return l.job.ID + "/" + headName }

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
