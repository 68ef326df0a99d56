package epoch

import (
	"context"
	"math/rand/v2"
	"time"
)

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = 10 * time.Second

// maxPause is the longest pause before a store looks again after it lost a swap.
const maxPause = 100 * time.Millisecond

// Bound gives a context a deadline where it has none, so that a store that
// hangs holds nobody up for ever.
func Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}

// Pause waits a little after the attempt-th swap was lost, for a time that
// differs between writers; it returns the context's error where that ends first.
func Pause(ctx context.Context, attempt int) error {
	longest := min(maxPause, time.Millisecond<<min(attempt, 10))
	select {
	case <-time.After(rand.N(longest)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
