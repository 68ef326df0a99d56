package workflows

import (
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/runbooks"
)

// An Understudy that stood down records nothing over the one that acts, and
// learns from it where the service runs, though its own epochs are ahead.
func TestWhoStoodDownLearnsWhereTheServiceRuns(t *testing.T) {
	w := newWorld()
	since := time.Now()
	others := epoch.Record{Service: "asr", Epoch: 9, Holder: epoch.HeldBy("recovery/asr/9", "other"), At: since}
	state := GuardState{Service: "asr", Key: "k", Active: runbooks.PrimaryName, Epoch: 8}
	w.epochs.records["asr"] = others
	state = w.guarded(t, &state, time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(AlertSignalName, firing("f1", since)) }, 0)
	})
	if state.Last == nil || state.Last.Outcome != OutcomeSuperseded || len(w.applied) != 0 {
		t.Fatalf("%+v, %d changes", state.Last, len(w.applied))
	}
	if got := w.epochs.records["asr"]; got != others {
		t.Errorf("the record is now %+v", got)
	}

	// The other one is through; the alert still fires.
	others.Active = "hot"
	w.epochs.records["asr"] = others
	state.Epoch = 12
	state = w.guarded(t, &state, time.Second, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(AlertSignalName, firing("f1", since)) }, time.Millisecond)
	})
	if state.Active != "hot" || state.Epoch != 12 || len(w.applied) != 0 || !strings.Contains(state.why(), "it has moved the service to hot (epoch 9)") {
		t.Errorf("%+v\n%s", state, state.why())
	}
}
