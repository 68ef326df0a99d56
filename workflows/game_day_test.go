package workflows

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// gameDay is a world in which all is well, and a recovery that stops the primary.
func gameDay() (*world, RecoveryInput) {
	w := newWorld()
	w.findings[primaryURL] = runbooks.Answers
	w.runbook.GameDay = &runbooks.GameDay{
		Stop:  runbooks.Fence{Kind: "command", Command: []string{"stop"}, Timeout: runbooks.Duration(time.Second), Confirm: &runbooks.Confirm{Kind: "tcp-closed"}},
		Start: runbooks.Fence{Kind: "command", Command: []string{"start"}, Timeout: runbooks.Duration(time.Second)},
		Limit: runbooks.Duration(5 * time.Minute),
	}
	in := w.start()
	in.GameDay, in.Approved, in.Runbook = true, in.Plan.Hash, w.runbook
	in.Trigger = Trigger{Kind: TriggerPerson, By: "ann", Text: "ann holds a game day", Received: time.Now(), OutageSince: time.Now().Add(-time.Hour)}
	return w, in
}

// powered lets the primary be stopped and started, and tells how often it was.
func powered(w *world, stop error) (script func(env *testsuite.TestWorkflowEnvironment), count func() (stopped, started int)) {
	stopped, started := 0, 0
	script = func(env *testsuite.TestWorkflowEnvironment) {
		env.OnActivity(acts.FenceHost, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.FenceHostInput) (activities.FenceHostResult, error) {
			w.change(func() {
				if in.Fence.Command[0] == "start" {
					started++
					w.findings[primaryURL] = runbooks.Answers
				} else if stopped++; stop == nil {
					w.findings[primaryURL] = runbooks.Refuses
					w.servers["primary"].Up = new(bool)
				}
			})
			now := env.Now()
			return activities.FenceHostResult{Timing: activities.Timing{Started: now, Ended: now}}, stop
		})
		env.OnActivity(acts.AwaitWell, mock.Anything, mock.Anything).Return(activities.Wellness{Well: true}, nil)
	}
	return script, func() (int, int) { return stopped, started }
}

func TestGameDay(t *testing.T) {
	w, in := gameDay()
	script, count := powered(w, nil)
	r := w.recoverFrom(t, in, script)
	if r.Outcome != OutcomeRecovered || r.Tier != "hot" || r.RTOSeconds >= 3000 {
		t.Errorf("%s on %s in %v s\n%s", r.Outcome, r.Tier, r.RTOSeconds, r.Markdown())
	}
	if stopped, started := count(); stopped != 1 || started != 1 {
		t.Errorf("stopped %d times, started %d times\n%s", stopped, started, r.Markdown())
	}
	if w.states() != "hot=ready primary=maint" {
		t.Errorf("balancer: %s", w.states())
	}
}

// What does not go as planned leaves the primary running and on the traffic.
func TestGameDayThatIsCalledOff(t *testing.T) {
	tests := []struct {
		name    string
		spoil   func(w *world, in *RecoveryInput)
		stop    error
		outcome string
		reason  string
		stopped int
	}{
		{"the standby is not ready", func(w *world, _ *RecoveryInput) { w.findings[hotURL] = runbooks.Refuses }, nil, OutcomeStayed, "nothing was stopped: gate", 0},
		{"its model is wrong", func(w *world, _ *RecoveryInput) { w.heard[hotURL] = "nine" }, nil, OutcomeStayed, "nothing was stopped: prove", 0},
		{"nobody agrees", func(_ *world, in *RecoveryInput) { in.Approved = "" }, nil, OutcomeStayed, "silence is never a yes", 0},
		{"the runbook does not say how", func(_ *world, in *RecoveryInput) { in.Runbook.GameDay = nil }, nil, OutcomeStayed, "set game_day", 0},
		{"it cannot be stopped", func(*world, *RecoveryInput) {}, temporal.NewApplicationError("exit status 1", activities.ErrTypeFence), OutcomeFailed, "could not be stopped for certain", 1},
		{"the standby fails once it has traffic", func(w *world, _ *RecoveryInput) {
			w.onApply = func() { w.heard[hotURL] = "nine" }
		}, nil, OutcomeFailed, "no tier passed", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, in := gameDay()
			tt.spoil(w, &in)
			script, count := powered(w, tt.stop)
			r := w.recoverFrom(t, in, script)
			if r.Outcome != tt.outcome || r.Active != runbooks.PrimaryName || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%s on %s: %s\n%s", r.Outcome, r.Active, r.Reason, r.Markdown())
			}
			if stopped, started := count(); stopped != tt.stopped || started != tt.stopped {
				t.Errorf("stopped %d times, started %d times\n%s", stopped, started, r.Markdown())
			}
			if w.findings[primaryURL] != runbooks.Answers || !strings.Contains(w.states(), "primary=ready") {
				t.Errorf("the primary %s, balancer: %s", w.findings[primaryURL], w.states())
			}
		})
	}
}

func TestGameDayByRole(t *testing.T) {
	_, in := gameDay()
	for role, want := range map[string]string{"approver": "h", "responder": "", "": ""} {
		if got := (Ask{GameDay: true, Plan: "h", Role: role}).approves(in.Runbook); got != want {
			t.Errorf("%s: %q", role, got)
		}
	}
	if d := Decide(GuardState{Active: "hot"}, in.Plan, Ask{GameDay: true}, time.Now()); d.Action != Ignore {
		t.Errorf("away from home: %+v", d)
	}
	if err := errors.Join((&guard{}).mayDrill(DrillUpdate{By: "ann", GameDay: true})); err == nil {
		t.Error("a game day without a reason")
	}
}
