package workflows

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/runbooks"
)

// Where inferences hold the health check up, a slow answer may be the end of
// one: it is looked at again before anybody is paged.
func TestASlowAnswerAtTheEndOfAnInference(t *testing.T) {
	for name, c := range map[string]struct {
		stays   bool
		outcome string
		verdict runbooks.Verdict
	}{
		"it was the end of one": {false, OutcomeSelf, runbooks.Healthy},
		"it stays slow":         {true, OutcomeDegraded, runbooks.Degraded},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.runbook.Health.Busy = runbooks.Duration(10 * time.Minute)
			w.findings[primaryURL] = runbooks.Slow
			report := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
				env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
					if info.ActivityType.Name == "Observe" && !c.stays {
						w.change(func() { w.findings[primaryURL] = runbooks.Answers })
					}
				})
			})
			if report.Outcome != c.outcome || report.Verdict != string(c.verdict) || len(w.applied) != 0 {
				t.Errorf("%s, %s: %s; %d changes", report.Outcome, report.Verdict, report.Reason, len(w.applied))
			}
		})
	}
}
