package workflows

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// left is a world whose service has run on hot for a while, and its guard.
func left(failback string) (*world, GuardState) {
	w := newWorld()
	w.findings[primaryURL] = runbooks.Answers
	w.servers["primary"].State, w.servers["hot"].State = traffic.Maint, traffic.Ready
	w.runbook.Policy.Failback, w.runbook.Policy.FailbackHold = failback, runbooks.Duration(30*time.Minute)
	w.runbook.Notify = []runbooks.Notify{{Kind: "slack", Channel: "#oncall"}}
	return w, GuardState{Service: "asr", Key: "k", Active: "hot", Since: time.Now(), Epoch: 7, Fenced: []string{"primary"}}
}

// well lets the primary be well for long enough each time it is awaited.
func well(env *testsuite.TestWorkflowEnvironment) {
	env.OnActivity(acts.AwaitWell, mock.Anything, mock.Anything).After(30*time.Minute).Return(activities.Wellness{Well: true}, nil)
}

func TestPeopleAreReminded(t *testing.T) {
	w, state := left("manual")
	state.Made = &activities.Made{Tier: "hot", Machine: compute.Ref{ID: "i-1"}, Since: state.Since, Price: 2}
	after := w.guarded(t, &state, 73*time.Hour, func(*testsuite.TestWorkflowEnvironment) {})
	if after.Pages != 3 || after.Active != "hot" {
		t.Errorf("%d reminders in three days, on %s", after.Pages, after.Active)
	}
	said := awayFor(after, state.Since.Add(72*time.Hour))
	if !strings.Contains(said.Reason, "3 days") || !strings.Contains(said.Reason, "about 144.00") || !strings.Contains(said.Override, "failback asr") {
		t.Errorf("people read: %+v", said)
	}
	w, state = left("manual")
	if after = w.guarded(t, &state, 23*time.Hour, func(*testsuite.TestWorkflowEnvironment) {}); after.Pages != 0 {
		t.Errorf("%d reminders before a day was over", after.Pages)
	}
}

func TestTheWayHomeAlone(t *testing.T) {
	w, state := left("auto")
	after := w.guarded(t, &state, 2*time.Hour, well)
	if after.Active != runbooks.PrimaryName || after.Last == nil || after.Last.Outcome != OutcomeHome || len(after.Homecomings) != 1 {
		t.Fatalf("it is on %s, %+v\n%s", after.Active, after.Last, after.why())
	}
	if w.states() != "hot=maint primary=ready" {
		t.Errorf("balancer: %s", w.states())
	}

	// Away again within the day, and once more: then a person must look.
	for range 3 {
		w, state = left("auto")
		state.Homecomings = after.Homecomings
		after = w.guarded(t, &state, 3*time.Hour, well)
	}
	if after.Active != "hot" || len(after.Homecomings) != homeMost || after.Pages != 1 || !strings.Contains(after.why(), "a person must look") {
		t.Errorf("it is on %s after %d ways home, %d pages\n%s", after.Active, len(after.Homecomings), after.Pages, after.why())
	}
}

func TestNoWayHomeAlone(t *testing.T) {
	now := time.Now()
	for name, spoil := range map[string]func(w *world, s *GuardState){
		"the runbook leaves it to people": func(w *world, _ *GuardState) { w.runbook.Policy.Failback = "manual" },
		"a person has paused the service": func(_ *world, s *GuardState) { s.Paused = &Pause{By: "ann", Reason: "upgrade", Since: now} },
		"an alert fires":                  func(_ *world, s *GuardState) { s.Seen = []SeenAlert{{Fingerprint: "f", StartsAt: now, Last: now}} },
		"there is a cooldown":             func(_ *world, s *GuardState) { s.CooldownUntil = now.Add(5 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			w, state := left("auto")
			spoil(w, &state)
			after := w.guarded(t, &state, 100*time.Minute, well)
			if after.Active != "hot" || after.Epoch != state.Epoch || len(after.Homecomings) != 0 {
				t.Errorf("it is on %s, epoch %d\n%s", after.Active, after.Epoch, after.why())
			}
		})
	}
}

// A primary that is not well is awaited for as long as it takes.
func TestAPrimaryThatDoesNotLast(t *testing.T) {
	w, state := left("auto")
	var sinces []time.Time
	after := w.guarded(t, &state, 5*time.Hour, func(env *testsuite.TestWorkflowEnvironment) {
		env.OnActivity(acts.AwaitWell, mock.Anything, mock.Anything).After(time.Hour).Return(func(_ context.Context, in activities.AwaitWellInput) (activities.Wellness, error) {
			sinces = append(sinces, in.Since)
			return activities.Wellness{Since: in.Since.Add(time.Minute), Problem: "refuses connections"}, nil
		})
	})
	if after.Active != "hot" || len(sinces) < 4 || !sinces[1].After(sinces[0]) {
		t.Errorf("it is on %s; it was awaited since %v", after.Active, sinces)
	}
}
