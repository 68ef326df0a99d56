package workflows

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

// A model that is taken by the sizes of its files is hashed all the same, beside
// everything else.
func TestAModelIsHashedInTheBackground(t *testing.T) {
	wrong := fmt.Errorf("%w: model.pt: want aa, got bb", volumes.ErrWrong)
	for name, c := range map[string]struct {
		hashes func(w *world, ctx context.Context) error
		// outcome of the recovery; state and words of the hashing's record; words of the advice.
		outcome, state, words, advice string
	}{
		"every byte is right":                     {func(*world, context.Context) error { return nil }, OutcomeRecovered, Done, "every byte of the model", ""},
		"a wrong byte is found before the switch": {func(*world, context.Context) error { return wrong }, OutcomeFailed, Failed, "want aa, got bb", ""},
		"a wrong byte is found after it": {func(w *world, ctx context.Context) error {
			for ctx.Err() == nil {
				w.mu.Lock()
				serves := w.servers["cold"].State == traffic.Ready
				w.mu.Unlock()
				if serves {
					return wrong
				}
				time.Sleep(5 * time.Millisecond)
			}
			return ctx.Err()
		}, OutcomeRecovered, Failed, "want aa, got bb", "is not what its manifest says, and passed its canary"},
		"it takes too long": {func(_ *world, ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, OutcomeRecovered, Noted, "it was not through when the recovery ended", ""},
		"it cannot be read": {func(*world, context.Context) error { return fmt.Errorf("%w: gone", volumes.ErrRefused) }, OutcomeRecovered, Failed, "could not be hashed", "only the sizes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := ladderWorld("local")
			w.runbook.Tiers[1].Volumes[0].Verify = volumes.VerifySize
			w.runbook.Policy.Confirm = runbooks.Duration(300 * time.Millisecond)
			w.hashes = func(ctx context.Context) error { return c.hashes(w, ctx) }
			r := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
				if c.outcome == OutcomeFailed {
					// The clock moves only while nothing is being done: the hashing is through before the canary's answer.
					env.OnActivity(acts.Prove, mock.Anything, mock.Anything).After(time.Second).Return(activities.Proof{Passed: true, Answered: env.Now()}, nil)
				}
			})
			var found *Record
			for i, rec := range r.Timeline {
				if rec.Step == runbooks.StepMount && strings.Contains(rec.Reason, c.words) {
					found = &r.Timeline[i]
				}
			}
			if r.Outcome != c.outcome || found == nil || found.State != c.state {
				t.Errorf("%s\n%s", r.Outcome, r.Markdown())
			}
			if advice := strings.Join(r.Advice, "\n"); !strings.Contains(advice, c.advice) || strings.Contains(advice, "manifest") != strings.Contains(c.advice, "manifest") && c.outcome == OutcomeRecovered {
				t.Errorf("advice: %s", advice)
			}
			if r.Outcome == OutcomeFailed {
				nothingLeft(t, w)
			}
			if !strings.Contains(r.Markdown(), "the sizes as its manifest says") {
				t.Errorf("the mount does not say what was compared:\n%s", r.Markdown())
			}
		})
	}
	// One that was hashed before it was used is not hashed again.
	w := ladderWorld("local")
	w.hashes = func(context.Context) error { return errors.New("it was hashed again") }
	if r := w.recover(t); r.Outcome != OutcomeRecovered || strings.Contains(r.Markdown(), "hashed again") {
		t.Errorf("%s", r.Markdown())
	}
}
