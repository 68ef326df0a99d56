package workflows

import (
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/runbooks"
)

// order sends an update and reports how it was taken.
func order(env *testsuite.TestWorkflowEnvironment, name string, arg any) (refused *error) {
	refused = new(error)
	var args []any
	if arg != nil {
		args = append(args, arg)
	}
	env.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
		OnAccept: func() {}, OnReject: func(err error) { *refused = err }, OnComplete: func(any, error) {},
	}, args...)
	return refused
}

func TestCommitEndsTheConfirmWindow(t *testing.T) {
	w := newWorld()
	w.runbook.Policy.Confirm = runbooks.Duration(time.Hour)
	r := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { order(env, CommitUpdateName, SettleUpdate{By: "ann", Reason: "looks good"}) }, 200*time.Millisecond)
	})
	if !r.Committed || r.Outcome != OutcomeRecovered || !strings.Contains(r.Markdown(), "committed by ann") {
		t.Errorf("%s", r.Markdown())
	}
}

func TestRollback(t *testing.T) {
	tests := []struct {
		name, outcome, active, states, reason string
		mended                                bool
	}{
		{"the primary works again", OutcomeRolledBack, "primary", "hot=maint primary=ready", "back on primary", true},
		{"the primary is still down", OutcomeRecovered, "hot", "hot=ready primary=maint", "could not go back", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.runbook.Policy.Confirm = runbooks.Duration(time.Hour)
			r := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
				env.RegisterDelayedCallback(func() {
					if tt.mended {
						w.change(func() { w.findings[primaryURL] = runbooks.Answers })
					}
					order(env, RollbackUpdateName, SettleUpdate{By: "ann", Reason: "the model is older there"})
				}, 200*time.Millisecond)
			})
			if r.Outcome != tt.outcome || r.Active != tt.active || w.states() != tt.states || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%s on %s, %s\n%s", r.Outcome, r.Active, w.states(), r.Markdown())
			}
		})
	}
}

// What was made for a tier goes with it, down to the address at the balancer.
func TestRollbackFromAMachineLeavesNothing(t *testing.T) {
	w := ladderWorld("local")
	w.runbook.Data = nil
	w.runbook.Policy.Confirm = runbooks.Duration(time.Hour)
	r := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			w.change(func() { w.findings[primaryURL] = runbooks.Answers })
			order(env, RollbackUpdateName, SettleUpdate{By: "ann", Reason: "the model is older there"})
		}, 400*time.Millisecond)
	})
	if r.Outcome != OutcomeRolledBack || r.Active != runbooks.PrimaryName || r.Made != nil {
		t.Errorf("%s on %s\n%s", r.Outcome, r.Active, r.Markdown())
	}
	nothingLeft(t, w)
}

func TestRollbackIsRefusedWhereDataWouldBeLost(t *testing.T) {
	w := ladderWorld("local")
	w.runbook.Policy.Confirm = runbooks.Duration(time.Hour)
	var refused *error
	r := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { refused = order(env, RollbackUpdateName, SettleUpdate{By: "ann", Reason: "x"}) }, 200*time.Millisecond)
		env.RegisterDelayedCallback(func() { order(env, CommitUpdateName, SettleUpdate{By: "ann", Reason: "y"}) }, 400*time.Millisecond)
	})
	if refused == nil || *refused == nil || !strings.Contains((*refused).Error(), "understudy failback") || r.Active != "cold" {
		t.Errorf("refused: %v\n%s", refused, r.Markdown())
	}
}

func TestSkipAndRetryATier(t *testing.T) {
	for _, verb := range []string{SkipUpdateName, RetryUpdateName} {
		t.Run(verb, func(t *testing.T) {
			w := ladderWorld("local")
			w.findings[coldURL] = runbooks.Refuses // it never gets ready by itself
			w.runbook.Tiers[1].Within = runbooks.Duration(time.Hour)
			r := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
				env.RegisterDelayedCallback(func() {
					if verb == RetryUpdateName {
						w.change(func() { w.findings[coldURL] = runbooks.Answers })
					}
					order(env, verb, StepUpdate{By: "ann", Reason: "it hangs"})
				}, 400*time.Millisecond)
			})
			if !strings.Contains(r.Markdown(), "by order of ann") {
				t.Errorf("%s", r.Markdown())
			}
			switch {
			case verb == SkipUpdateName && r.Outcome != OutcomeFailed:
				t.Errorf("%s\n%s", r.Outcome, r.Markdown())
			case verb == SkipUpdateName:
				nothingLeft(t, w)
			case r.Outcome != OutcomeRecovered || len(w.machines.live()) != 1:
				t.Errorf("%s, machines %v\n%s", r.Outcome, w.machines.live(), r.Markdown())
			}
		})
	}
}

func TestForceMovesWhatSeemsHealthy(t *testing.T) {
	w := newWorld()
	w.findings[primaryURL] = runbooks.Answers
	in := w.start()
	in.Force, in.Trigger = true, Trigger{Kind: TriggerPerson, By: "ann", Text: "ann asks", Received: time.Now(), OutageSince: time.Now()}
	if r := w.recoverFrom(t, in); r.Outcome != OutcomeRecovered || r.Active != "hot" {
		t.Errorf("%s\n%s", r.Outcome, r.Markdown())
	}
}
