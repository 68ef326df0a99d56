package workflows

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// guarded runs one run of a guard, from its start until it continues as new or
// a time is over, and returns the state that it carries on.
func (w *world) guarded(t *testing.T, state *GuardState, limit time.Duration, script func(env *testsuite.TestWorkflowEnvironment)) GuardState {
	t.Helper()
	env := w.env(t, GuardID("asr"))
	if !w.keeps {
		// Nothing drifts here, and the hour of the watch passes on the test's clock.
		env.OnActivity(acts.KeepTraffic, mock.Anything, mock.Anything).After(time.Hour).Return(activities.KeepTrafficResult{}, nil)
	}
	script(env)
	env.RegisterDelayedCallback(env.CancelWorkflow, limit)
	env.ExecuteWorkflow(Guard, GuardInput{Service: "asr", State: state})
	var renewed *workflow.ContinueAsNewError
	if errors.As(env.GetWorkflowError(), &renewed) {
		var in GuardInput
		if err := converter.GetDefaultDataConverter().FromPayloads(renewed.Input, &in); err != nil {
			t.Fatal(err)
		}
		return *in.State
	}
	value, err := env.QueryWorkflow(StateQueryName)
	if err != nil {
		t.Fatal(err)
	}
	var last GuardState
	if err := value.Get(&last); err != nil {
		t.Fatal(err)
	}
	return last
}

func firing(fingerprint string, since time.Time) AlertSignal {
	return AlertSignal{Received: since, Alerts: []Alert{{Fingerprint: fingerprint, StartsAt: since, Firing: true, Name: "Down"}}}
}

func (s GuardState) why() string {
	text := ""
	for _, d := range s.Decisions {
		text += fmt.Sprintf("%s: %s\n", d.Action, d.Reason)
	}
	return text
}

func TestOneAlertOneRecovery(t *testing.T) {
	w := newWorld()
	since := time.Now()
	state := w.guarded(t, nil, time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		for i := range 3 { // three Alertmanagers
			env.RegisterDelayedCallback(func() { env.SignalWorkflow(AlertSignalName, firing("f1", since)) }, time.Duration(i)*time.Millisecond)
		}
	})
	if state.Running != nil || state.Active != "hot" || state.Last == nil || state.Last.Outcome != OutcomeRecovered {
		t.Fatalf("after the alert: %+v\n%s", state, state.why())
	}
	if w.states() != "hot=ready primary=maint" || len(w.applied) != 1 {
		t.Errorf("%s, %d changes", w.states(), len(w.applied))
	}
	if strings.Count(state.why(), "start: ") != 1 || strings.Count(state.why(), "join: ") != 2 {
		t.Errorf("decisions:\n%s", state.why())
	}
	if !time.Now().Before(state.CooldownUntil) || state.Failed[0] != "primary" || state.Fenced[0] != "primary" {
		t.Errorf("cooldown until %s, failed %v, fenced %v", state.CooldownUntil, state.Failed, state.Fenced)
	}

	// The alert outlives the fix, and resolves: nothing more is done.
	epochNow := state.Epoch
	state = w.guarded(t, &state, time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(AlertSignalName, firing("f1", since)) }, time.Second)
		resolved := firing("f1", since)
		resolved.Alerts[0].Firing = false
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(AlertSignalName, resolved) }, 2*time.Second)
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(AlertSignalName, firing("f1", since)) }, 3*time.Second)
	})
	if state.Epoch != epochNow || !strings.Contains(state.why(), "late copy") {
		t.Errorf("epoch %d:\n%s", state.Epoch, state.why())
	}
}

func TestTheStandbyDiesWhileTheFirstAlertStillFires(t *testing.T) {
	w := newWorld()
	since := time.Now()
	w.runbook.Policy.Cooldown = runbooks.Duration(time.Millisecond)
	state := w.guarded(t, nil, time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(AlertSignalName, firing("f1", since)) }, 0)
	})
	first := state.Epoch
	w.change(func() {
		w.findings[hotURL], w.findings[primaryURL] = runbooks.Refuses, runbooks.Answers // repaired
		w.servers["hot"].Up = new(bool)
	})
	state = w.guarded(t, &state, time.Hour, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(AlertSignalName, firing("f1", since)) }, time.Second)
	})
	if state.Epoch == first || state.Active != runbooks.PrimaryName || w.states() != "hot=maint primary=ready" {
		t.Errorf("epoch %d after %d, active %s, %s\n%s", state.Epoch, first, state.Active, w.states(), state.why())
	}
}

func TestCooldownHoldsAndIsMadeUpFor(t *testing.T) {
	w := newWorld()
	w.findings[hotURL] = runbooks.Refuses
	since := time.Now()
	state := w.guarded(t, nil, time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(AlertSignalName, firing("f1", since)) }, 0)
	})
	if state.Last.Outcome != OutcomeFailed || state.Active != runbooks.PrimaryName {
		t.Fatalf("%+v", state)
	}
	first := state.Epoch
	w.change(func() { w.findings[hotURL] = runbooks.Answers })
	state = w.guarded(t, &state, time.Hour, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(AlertSignalName, firing("f2", since.Add(time.Second))) }, time.Second)
	})
	if state.Epoch != first+1 || state.Last.Outcome != OutcomeRecovered || !strings.Contains(state.why(), "wait: cooldown until") {
		t.Errorf("epoch %d after %d\n%s", state.Epoch, first, state.why())
	}
}

func TestPauseAndResume(t *testing.T) {
	w := newWorld()
	done := &testsuite.TestUpdateCallback{OnReject: func(err error) { t.Error(err) }, OnAccept: func() {}, OnComplete: func(any, error) {}}
	rejected := ""
	reject := &testsuite.TestUpdateCallback{OnReject: func(err error) { rejected = err.Error() }, OnAccept: func() { t.Error("accepted") }, OnComplete: func(any, error) {}}
	state := w.guarded(t, nil, time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			env.UpdateWorkflow(PauseUpdateName, "p1", done, PauseUpdate{By: "ann", Reason: "maintenance"})
		}, 0)
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(AlertSignalName, firing("f1", time.Now())) }, time.Second)
		env.RegisterDelayedCallback(func() {
			env.UpdateWorkflow(RecoverUpdateName, "r1", reject, RecoverUpdate{By: "bob", Reason: "now"})
			if len(w.applied) != 0 {
				t.Error("a paused service was moved")
			}
			env.UpdateWorkflow(ResumeUpdateName, "p2", done, ResumeUpdate{By: "ann"})
		}, 2*time.Second)
	})
	if state.Paused != nil || state.Active != "hot" || !strings.Contains(rejected, "paused by ann") {
		t.Errorf("rejected %q; %+v\n%s", rejected, state, state.why())
	}
	// The first request is repeated, because its answer was lost, in a later run: it pauses nothing any more.
	answer := ""
	again := &testsuite.TestUpdateCallback{OnReject: func(err error) { t.Error(err) }, OnAccept: func() {}, OnComplete: func(said any, _ error) { answer, _ = said.(string) }}
	state = w.guarded(t, &state, time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			env.UpdateWorkflow(PauseUpdateName, "p1", again, PauseUpdate{By: "ann", Reason: "maintenance"})
		}, 0)
	})
	if state.Paused != nil || answer != "no recovery will start by itself" {
		t.Errorf("answered %q, paused: %+v", answer, state.Paused)
	}
}

func TestAPersonAsksTwiceWithOneUpdate(t *testing.T) {
	w := newWorld()
	var answers []RecoverAnswer
	ask := &testsuite.TestUpdateCallback{OnReject: func(err error) { t.Error(err) }, OnAccept: func() {}, OnComplete: func(answer any, err error) {
		if err != nil {
			t.Error(err)
		}
		answers = append(answers, answer.(RecoverAnswer))
	}}
	state := w.guarded(t, nil, time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			env.UpdateWorkflow(RecoverUpdateName, "button-1", ask, RecoverUpdate{By: "ann", Reason: "it is dead"})
		}, 0)
	})
	if len(answers) != 1 || !answers[0].Started || state.Active != "hot" {
		t.Fatalf("%+v\n%s", answers, state.why())
	}
	again := w.guarded(t, &state, time.Second, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			env.UpdateWorkflow(RecoverUpdateName, "button-1", ask, RecoverUpdate{By: "ann", Reason: "it is dead"})
		}, 0)
	})
	if len(answers) != 2 || answers[1] != answers[0] || again.Epoch != state.Epoch {
		t.Errorf("%+v, epoch %d after %d", answers, again.Epoch, state.Epoch)
	}
}

func TestEpochsOfANewbornGuard(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(w *world)
		check   func(s GuardState) bool
	}{
		"the store knows": {func(w *world) {
			w.epochs.records["asr"] = epoch.Record{Service: "asr", Epoch: 41, Active: "hot"}
		}, func(s GuardState) bool { return s.Epoch == 41 && s.Active == "hot" }},
		"the store is empty": {func(w *world) {}, func(s GuardState) bool { return s.Epoch == 0 && s.Active == "primary" }},
		"the store is away":  {func(w *world) { w.epochs.away = true }, func(s GuardState) bool { return s.Epoch > 1_700_000_000 }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			c.arrange(w)
			state := w.guarded(t, nil, time.Minute, func(*testsuite.TestWorkflowEnvironment) {})
			if !c.check(state) || state.Born == "" {
				t.Errorf("%+v", state)
			}
		})
	}
}

func TestDriftIsSetRight(t *testing.T) {
	w := newWorld()
	w.servers["hot"].State, w.servers["primary"].State = traffic.Ready, traffic.Ready // a reload brought the primary back
	w.findings[primaryURL] = runbooks.Answers
	w.keeps = true
	state := GuardState{Service: "asr", Key: "k", Active: "hot", Epoch: 7, Fenced: []string{"primary"}}
	state = w.guarded(t, &state, time.Second, func(*testsuite.TestWorkflowEnvironment) {})
	if w.states() != "hot=ready primary=maint" || !strings.Contains(state.why(), "set right again: read back: primary is ready, not maint") {
		t.Errorf("%s\n%s", w.states(), state.why())
	}
	told := false
	for _, news := range w.news {
		told = told || strings.Contains(news.Message.Headline, "drifted")
	}
	if !told {
		t.Errorf("people were not told: %+v", w.news)
	}
}

// An outage that begins while a recovery is on its way to the end is not lost with it.
func TestAnOutageThatBeginsWhileARecoveryEnds(t *testing.T) {
	for _, order := range []string{"the alert before the end", "the alert after the end"} {
		t.Run(order, func(t *testing.T) {
			w := newWorld() // the primary is down
			began := time.Now().Add(-time.Minute)
			state := &GuardState{Service: "asr", Key: "12345678", Active: "primary", Epoch: 7, Running: &Running{
				Epoch: 7, Mode: ModeLive, Started: began, Deadline: began.Add(time.Hour), Trigger: Trigger{Kind: TriggerAlert, Fingerprints: []string{"f1"}},
			}}
			end := activities.RecoveryResult{Epoch: 7, Outcome: OutcomeFalseAlarm, Active: "primary", Reason: "it answered well"}
			after := w.guarded(t, state, time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
				env.RegisterDelayedCallback(func() {
					signals := []func(){
						func() { env.SignalWorkflow(AlertSignalName, firing("f2", time.Now())) },
						func() { env.SignalWorkflow(EndedSignalName, end) },
					}
					if order == "the alert after the end" {
						signals[0], signals[1] = signals[1], signals[0]
					}
					for _, send := range signals {
						send()
					}
				}, time.Second)
			})
			if strings.Count(after.why(), "start: ") != 1 {
				t.Errorf("epoch %d, %+v:\n%s", after.Epoch, after.Seen, after.why())
			}
		})
	}
}
