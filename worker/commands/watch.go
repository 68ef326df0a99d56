package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

type watchCommand struct {
	target
	Timeout time.Duration `help:"Watch at most so long. The recovery goes on." placeholder:"TIME"`
}

func (watchCommand) Help() string {
	return `Steps are told as they begin and end, and what a person must decide, with the command for it. Ctrl-C ends the watching, not
the recovery. A restart of Understudy in between does no harm.
Exit status: 0 where the service works again, or worked all the time; 1 where not; 7 where it still runs after --timeout.`
}

func (c *watchCommand) Run(g *Globals) error {
	detail, err := c.find(g)
	if err != nil {
		return err
	}
	return g.watch(detail.ID, c.Timeout)
}

// watch shows a recovery until it ends, and makes its outcome the exit status.
// Progress goes to standard error, the outcome to standard output.
func (g *Globals) watch(id string, timeout time.Duration) error {
	ctx := g.ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	p := &progress{out: g.err}
	last, err := g.follow(ctx, id, p.show)
	switch {
	case ctx.Err() != nil && last.Report.Ended.IsZero():
		return exit{ExitWaiting, fmt.Errorf("%s goes on; see understudy watch %s", id, id)}
	case err != nil:
		return err
	}
	r := last.Report
	err = g.print(last, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s, now on %s. %s\n", id, r.Outcome, r.Active, oneLine(r.Reason))
		if !r.Verified.IsZero() && r.Mode == workflows.ModeLive {
			fmt.Fprintf(w, "It worked again %.1f s after the outage began.\n", r.RTOSeconds)
		}
		for _, a := range r.Advice {
			fmt.Fprintf(w, "You can: %s\n", oneLine(a))
		}
	})
	if err == nil && !well(last) {
		return exit{ExitFailed, errors.New("")}
	}
	return err
}

// well reports whether the service works after a recovery.
func well(d triggers.RecoveryDetail) bool {
	return slices.Contains([]string{workflows.OutcomeRecovered, workflows.OutcomeFalseAlarm, workflows.OutcomeSelf, workflows.OutcomeDrilled, workflows.OutcomeHome}, d.Report.Outcome)
}
