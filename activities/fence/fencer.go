package fence

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// DefaultTimeout bounds a fence whose runbook names no time.
	DefaultTimeout = 30 * time.Second
	// DefaultWithin is how long a confirmation is waited for where the runbook names no time.
	DefaultWithin = 15 * time.Second
	// looksNeeded is how many looks in a row must agree: one closed port may be a restart.
	looksNeeded = 2
	// graceOfFailed is how long a fence that failed is looked at: a person is waiting to be asked.
	graceOfFailed = 2 * time.Second
	// lookEvery is the time between two looks.
	lookEvery = 250 * time.Millisecond
)

// Config is what a fencer needs.
type Config struct {
	// Secret resolves the secrets of an HTTP fence's headers.
	Secret func(runbooks.Secret) (string, error)
	// Prober looks from outside, at health checks of both kinds.
	Prober probe.Prober
}

// New makes a fencer.
func New(c Config) Fencer { return &fencer{c} }

type fencer struct{ Config }

var _ Fencer = (*fencer)(nil)

// Set implements Fencer. How much silence proves depends on what was done: an
// instance that cannot be reached may run on behind a broken network, so silence
// confirms a fence that succeeded, but neither spares one nor excuses a failed one.
func (f *fencer) Set(ctx context.Context, o Order) (Outcome, error) {
	if o.Fence.Confirm == nil {
		return Outcome{}, f.carryOut(ctx, o)
	}
	saw, held, err := f.look(ctx, o, refusal)
	if err != nil {
		return Outcome{}, err
	}
	if held {
		return Outcome{Confirmed: saw, Before: true}, nil
	}
	failed := f.carryOut(ctx, o)
	if ctx.Err() != nil {
		return Outcome{}, failed
	}
	within, least := o.Fence.Confirm.Within.Or(DefaultWithin), silence
	if failed != nil {
		// A host that goes down takes the connection with it over which it was told so.
		within, least = min(within, graceOfFailed), refusal
	}
	saw, held, err = f.await(ctx, o, within, least)
	switch {
	case err != nil:
		return Outcome{}, err
	case held:
		return Outcome{Confirmed: saw}, nil
	case failed != nil:
		return Outcome{}, fmt.Errorf("%w; seen from outside: %s", failed, saw)
	default:
		return Outcome{}, fmt.Errorf("%w within %s: %s", ErrUnconfirmed, within, saw)
	}
}

// carryOut sets the fence and believes what it says of itself.
func (f *fencer) carryOut(ctx context.Context, o Order) error {
	timeout := o.Fence.Timeout.Or(DefaultTimeout)
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var err error
	switch o.Fence.Kind {
	case "command":
		err = runCommand(bounded, o.Fence.Command, o.Env)
	case "http":
		err = f.send(bounded, o.Fence)
	default:
		err = fmt.Errorf("fence kind %q is not known", o.Fence.Kind)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return brokenOff(ctx)
	case bounded.Err() != nil:
		return fmt.Errorf("%w: not done within %s: %w", ErrFailed, timeout, err)
	default:
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
}

// await looks until the confirmation holds or its time is over, but at least once.
func (f *fencer) await(ctx context.Context, o Order, within time.Duration, least proof) (saw string, held bool, err error) {
	end := time.Now().Add(within)
	for {
		saw, held, err = f.look(ctx, o, least)
		if err != nil || held || !time.Now().Before(end) {
			return saw, held, err
		}
		if err := pause(ctx); err != nil {
			return saw, false, err
		}
	}
}

// look asks the confirmation as often as needed to believe it; the first look
// that does not confirm ends it.
func (f *fencer) look(ctx context.Context, o Order, least proof) (saw string, held bool, err error) {
	for n := range looksNeeded {
		if n > 0 {
			if err := pause(ctx); err != nil {
				return saw, false, err
			}
		}
		var found proof
		saw, found = f.confirm(ctx, o)
		if ctx.Err() != nil {
			return saw, false, brokenOff(ctx)
		}
		if found < least {
			return saw, false, nil
		}
	}
	return saw, true, nil
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return brokenOff(ctx)
	case <-time.After(lookEvery):
		return nil
	}
}

// brokenOff is neither of the sentinels: nobody knows how far the fence came, and
// whoever was told to stop may set it again.
func brokenOff(ctx context.Context) error {
	return fmt.Errorf("the fence was broken off: %w", context.Cause(ctx))
}
