package workflows

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/runbooks"
)

// remember keeps reports of earlier runs, in each of which a step took so long.
func (w *world) remember(t *testing.T, step, tier string, took ...time.Duration) {
	t.Helper()
	for i, d := range took {
		at := time.Date(2026, 11, 1+i, 3, 0, 0, 0, time.UTC)
		r := Report{Service: "asr", Mode: ModeLive, Started: at, Timeline: []Record{{Step: step, Tier: tier, State: Done, Started: at, Ended: at.Add(d)}}}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		w.files[fmt.Sprintf("asr/%020d.json", i+1)] = string(text)
	}
}

func (r Report) slow() (found []Record) {
	for _, rec := range r.Timeline {
		if rec.Step == StepSlow {
			found = append(found, rec)
		}
	}
	return found
}

func TestAStepThatTakesLongerThanItEverDidIsToldOnce(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		before []time.Duration
		takes  time.Duration
		timers int
		told   bool
	}{
		"nothing is known":            {nil, 40 * s, 0, false},
		"too few runs":                {[]time.Duration{9 * s, 10 * s}, 40 * s, 0, false},
		"over in seconds, usually":    {[]time.Duration{3 * s, 3 * s, 4 * s}, 40 * s, 0, false},
		"as always":                   {[]time.Duration{9 * s, 10 * s, 9 * s, 8 * s}, 8 * s, 1, false},
		"a little longer":             {[]time.Duration{9 * s, 10 * s, 9 * s, 8 * s}, 11 * s, 1, false},
		"longer than it ever did":     {[]time.Duration{9 * s, 10 * s, 9 * s, 8 * s}, 40 * s, 1, true},
		"as long as an odd one, once": {append(twenty(9*s), 60*s), 40 * s, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := ladderWorld("local")
			w.runbook.Tiers[1].Within = runbooks.Duration(2 * time.Minute)
			w.remember(t, runbooks.StepLoad, "cold", c.before...)
			in := w.start()
			in.Deadline = in.Deadline.Add(time.Hour)
			timers := 0
			r := w.recoverFrom(t, in, func(env *testsuite.TestWorkflowEnvironment) {
				env.OnActivity("AwaitReady", mock.Anything, mock.Anything).After(c.takes).Return(activities.ReadyResult{}, nil)
				env.SetOnTimerScheduledListener(func(string, time.Duration) { timers++ })
			})
			if r.Outcome != OutcomeRecovered || timers != c.timers {
				t.Errorf("%s, %d timers, want %d\n%s", r.Outcome, timers, c.timers, r.Markdown())
			}
			slow := r.slow()
			if len(slow) > 1 || c.told != (len(slow) == 1) {
				t.Fatalf("told: %+v", slow)
			}
			if !c.told {
				return
			}
			text := slow[0].Reason
			for _, want := range []string{"load takes longer than it usually does", "its time is over", "understudy retry asr-7", "understudy skip asr-7", "cold"} {
				if !strings.Contains(text, want) || slow[0].State != Noted || slow[0].Tier != "cold" {
					t.Errorf("no %q: %+v", want, slow[0])
				}
			}
			if odd := len(c.before) > 20; odd != strings.Contains(text, "as slow as the slowest, it ends at") {
				t.Errorf("%s", text)
			}
			shown := 0
			for _, news := range w.news {
				for _, line := range news.Message.Lines {
					if line == text {
						shown++
					}
				}
			}
			if shown == 0 || strings.Contains(strings.Join(r.Advice, "; "), "longer than it usually does") {
				t.Errorf("people saw it %d times while it lasted; in the end: %q", shown, r.Advice)
			}
		})
	}
}

func twenty(d time.Duration) (all []time.Duration) {
	for range 20 {
		all = append(all, d)
	}
	return all
}

// What the note offers works: the tier is tried again, and watched again.
func TestAStuckStepIsRetriedOrSkipped(t *testing.T) {
	for _, verb := range []string{RetryUpdateName, SkipUpdateName} {
		t.Run(verb, func(t *testing.T) {
			w := ladderWorld("local")
			w.runbook.Tiers[1].Within = runbooks.Duration(10 * time.Minute)
			w.remember(t, runbooks.StepLoad, "cold", 9*time.Second, 10*time.Second, 9*time.Second)
			in := w.start()
			in.Deadline = in.Deadline.Add(time.Hour)
			tries := 0
			r := w.recoverFrom(t, in, func(env *testsuite.TestWorkflowEnvironment) {
				env.OnActivity("AwaitReady", mock.Anything, mock.Anything).After(5*time.Minute).Return(activities.ReadyResult{}, nil).Once()
				env.OnActivity("AwaitReady", mock.Anything, mock.Anything).After(9*time.Second).Return(activities.ReadyResult{}, nil)
				env.SetOnTimerScheduledListener(func(string, time.Duration) { tries++ })
				env.RegisterDelayedCallback(func() {
					env.UpdateWorkflow(verb, "order", &testsuite.TestUpdateCallback{
						OnReject: func(err error) { t.Error(err) }, OnAccept: func() {}, OnComplete: func(any, error) {},
					}, StepUpdate{By: "ann", Reason: "it hangs"})
				}, 30*time.Second)
			})
			outcome, watched := OutcomeRecovered, 2
			if verb == SkipUpdateName {
				outcome, watched = OutcomeFailed, 1
			}
			if r.Outcome != outcome || len(r.slow()) != 1 || tries != watched {
				t.Errorf("%s, told %d times, watched %d times\n%s", r.Outcome, len(r.slow()), tries, r.Markdown())
			}
			if r.Outcome == OutcomeFailed {
				nothingLeft(t, w)
			}
		})
	}
}

// A drill cannot be steered tier by tier: the note offers what there is.
func TestASlowStepOfADrill(t *testing.T) {
	w := ladderWorld("local")
	w.runbook.Tiers[1].Within = runbooks.Duration(2 * time.Minute)
	w.remember(t, runbooks.StepLoad, "cold", 9*time.Second, 10*time.Second, 9*time.Second)
	in := w.start()
	in.Mode, in.Tiers, in.Deadline = ModeDrill, []string{"cold"}, in.Deadline.Add(time.Hour)
	r := w.recoverFrom(t, in, func(env *testsuite.TestWorkflowEnvironment) {
		env.OnActivity("AwaitReady", mock.Anything, mock.Anything).After(time.Minute).Return(activities.ReadyResult{}, nil)
	})
	if slow := r.slow(); len(slow) != 1 || !strings.Contains(slow[0].Reason, "understudy abort asr-7") || strings.Contains(slow[0].Reason, "retry") {
		t.Errorf("%s: %+v", r.Outcome, slow)
	}
}

// On the way home the primary's taking over of the data is watched as well.
func TestASlowStepOfAFailback(t *testing.T) {
	w, in := away(t)
	in.Runbook.Data = []runbooks.Data{{Kind: "litestream", Replica: "s3://h", Path: "/d"}}
	in.Runbook.Primary.Activate = &runbooks.Activate{Method: "POST", URL: "http://127.0.0.1:1/adopt"}
	in.DataEpoch, in.DataKnown, in.Deadline = 5, true, in.Deadline.Add(time.Hour)
	w.points[5], w.points[7] = replica.Point{Epoch: 5, Position: "9", At: time.Now()}, replica.Point{Epoch: 7, Position: "1", At: time.Now()}
	w.remember(t, runbooks.StepRestore, "primary", 9*time.Second, 10*time.Second, 9*time.Second)
	r := w.recoverFrom(t, in, func(env *testsuite.TestWorkflowEnvironment) {
		env.OnActivity("CallStandby", mock.Anything, mock.Anything).After(time.Minute).Return(activities.CallStandbyResult{}, nil)
	})
	slow := r.slow()
	if r.Outcome != OutcomeHome || len(slow) != 1 || slow[0].Tier != "primary" || !strings.Contains(slow[0].Reason, "restore takes longer than it usually does") ||
		!strings.Contains(slow[0].Reason, "understudy abort asr-7") {
		t.Errorf("%s: %+v\n%s", r.Outcome, slow, r.Markdown())
	}
}
