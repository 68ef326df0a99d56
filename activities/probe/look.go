package probe

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// Attempt is what one try of a look showed.
type Attempt struct {
	Finding runbooks.Finding
	Detail  string
}

// Look carries out a look as Prober promises it: one try, and a second one where
// the first is still mute after the timeout. The first is not given up then;
// whichever answers ends the look.
//
// Where once is asked for, the first try is the only one.
//
// try must end soon after its context does, and must call a deadline that
// passed Silent or Unreachable, never an answer.
func Look(ctx context.Context, r Request, try func(context.Context) Attempt) Result {
	timeout := r.Health.Timeout.D()
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	began := time.Now()
	limit := 2 * timeout
	if r.Once {
		limit = timeout
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if r.Once {
		return over(ctx, began, try(bounded))
	}
	patience := time.NewTimer(timeout)
	defer patience.Stop()
	var a Attempt
	first := start(bounded, try)
	select {
	case a = <-first:
	case <-patience.C:
		a = late(first, start(bounded, try))
		if a.Finding == runbooks.Answers {
			a.Finding = runbooks.Slow
			a.Detail = fmt.Sprintf("answered after %s, the limit is %s", time.Since(began).Round(time.Millisecond), timeout)
		}
	}
	return over(ctx, began, a)
}

// over is the result of a look that has ended.
func over(ctx context.Context, began time.Time, a Attempt) Result {
	if isOver(ctx) && isMute(a.Finding) {
		a = Attempt{Finding: runbooks.Blind, Detail: "our own look was broken off before its time"}
	}
	return Result{Finding: a.Finding, Detail: a.Detail, At: began, Took: runbooks.Duration(time.Since(began))}
}

// CouldNot is the result of a look that could not begin.
func CouldNot(why string) Result {
	return Result{Finding: runbooks.Blind, Detail: Printable(why, QuoteLimit), At: time.Now()}
}

func start(ctx context.Context, try func(context.Context) Attempt) <-chan Attempt {
	done := make(chan Attempt, 1)
	go func() { done <- try(ctx) }()
	return done
}

// late waits for an answer of either try; where none comes, the more telling
// failure of the two counts.
func late(first, second <-chan Attempt) Attempt {
	var one, two Attempt
	for range 2 {
		select {
		case one = <-first:
			if one.Finding == runbooks.Answers {
				return one
			}
		case two = <-second:
			if two.Finding == runbooks.Answers {
				return two
			}
		}
	}
	switch {
	case one.Finding == runbooks.Errors && isMute(two.Finding):
		return one
	case one.Finding == runbooks.Silent && two.Finding == runbooks.Unreachable:
		return one
	default:
		return two
	}
}

// isOver reports whether the caller wants no more. A dialer keeps the context's
// deadline by a clock of its own and may notice it first.
func isOver(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// isMute reports whether a finding may stem from a deadline alone.
func isMute(f runbooks.Finding) bool {
	return f == runbooks.Silent || f == runbooks.Unreachable || f == runbooks.Blind
}
