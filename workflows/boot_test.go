package workflows

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

// talking is a provider whose machines write a line of the world's console each
// time somebody looks at it.
type talking struct {
	*machines
	world *world
}

func (m talking) Console(context.Context, compute.Ref) (text string, err error) {
	m.world.change(func() {
		m.world.shown = min(m.world.shown+1, len(m.world.console))
		text = strings.Join(m.world.console[:m.world.shown], "\n")
	})
	return text, nil
}

// bootWorld is one whose cold machine writes lines, and serves once they are all told.
func bootWorld(lines ...string) *world {
	w := ladderWorld("ec2")
	w.console = lines
	w.findings[coldURL] = runbooks.Refuses
	return w
}

// whereBoots collects what the timeline says of a boot while it goes on, each
// time when people are told.
func whereBoots(t *testing.T, w *world) (setup func(*testsuite.TestWorkflowEnvironment), seen func() []string) {
	var mu sync.Mutex
	var live []string
	return func(env *testsuite.TestWorkflowEnvironment) {
			w.onBoot = func(news activities.BootNews) {
				if err := env.SignalWorkflowByID(news.Recovery, BootSignalName, news); err != nil {
					t.Error(err)
				}
			}
			env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
				if info.ActivityType.Name != "Announce" {
					return
				}
				value, err := env.QueryWorkflow(ProgressQueryName)
				if err != nil {
					t.Error(err)
					return
				}
				var report Report
				if err := value.Get(&report); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, rec := range report.Timeline {
					if rec.Step == runbooks.StepLoad && rec.State == InProgress {
						live = append(live, rec.Reason)
					}
				}
			})
		}, func() []string {
			mu.Lock()
			defer mu.Unlock()
			return live
		}
}

func recordOf(t *testing.T, r Report, step string) Record {
	t.Helper()
	for _, rec := range r.Timeline {
		if rec.Step == step {
			return rec
		}
	}
	t.Fatalf("no %s\n%s", step, r.Markdown())
	return Record{}
}

func TestABootIsSeenWhileItGoesOn(t *testing.T) {
	w := bootWorld("understudy: step kernel done after 2 s", "understudy: step mount begin /m from s3://m", "understudy: step mount done /m\nunderstudy: step start done")
	setup, live := whereBoots(t, w)
	r := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
		setup(env)
		told := w.onBoot
		w.onBoot = func(news activities.BootNews) {
			told(news)
			stale := news
			stale.Key, stale.Step.Name = "another", "of another machine"
			told(stale)
			if news.Step.Name == "start" {
				w.change(func() { w.findings[coldURL] = runbooks.Answers })
			}
		}
	})
	if r.Outcome != OutcomeRecovered || r.Tier != "cold" {
		t.Fatalf("%s\n%s", r.Outcome, r.Markdown())
	}
	all := strings.Join(live(), "\n")
	for _, want := range []string{"waiting until http://cold is ready; its boot: kernel done after 2 s", "its boot: mount begin /m from s3://m"} {
		if !strings.Contains(all, want) {
			t.Errorf("nobody saw %q but\n%s", want, all)
		}
	}
	if strings.Contains(all, "another") {
		t.Errorf("news of another machine were believed:\n%s", all)
	}
	if rec := recordOf(t, r, runbooks.StepLoad); rec.State != Done || !strings.Contains(rec.Reason, "it is ready; its boot: kernel ") || !strings.Contains(rec.Reason, ", mount ") {
		t.Errorf("at the end: %+v", rec)
	}
	fields := ""
	for _, news := range w.news {
		for _, f := range news.Message.Fields {
			if f.Name == "Boot of cold" {
				fields += f.Value + "; "
			}
		}
	}
	if !strings.Contains(fields, "mount begin /m from s3://m; ") {
		t.Errorf("chat heard: %s", fields)
	}
	if last := w.news[len(w.news)-1].Message.Fields; strings.HasPrefix(last[len(last)-1].Name, "Boot") {
		t.Errorf("a boot that is over is still told: %+v", last)
	}
	sum := 0.0
	for _, s := range r.Breakdown {
		if sum += s.Seconds; s.Seconds < 0 {
			t.Errorf("%s is negative", s.Name)
		}
	}
	if d := sum - r.RTOSeconds; d > 0.001 || d < -0.001 {
		t.Errorf("the parts add up to %.3f of %.3f s", sum, r.RTOSeconds)
	}
}

func TestABootThatFailsIsReasonForTheNextTier(t *testing.T) {
	w := bootWorld("understudy: step mount begin /m from s3://m", "understudy: step verify failed /m: model.pt is missing")
	setup, _ := whereBoots(t, w)
	r := w.recover(t, setup)
	if rec := recordOf(t, r, runbooks.StepLoad); rec.State != Failed || !strings.Contains(rec.Reason, "step verify failed: /m: model.pt is missing") {
		t.Errorf("%+v", rec)
	}
	nothingLeft(t, w)
}

// The parts of the recovery time follow what the machine did.
func TestTheTimeOfABootIsSplit(t *testing.T) {
	began := time.Unix(1000, 0)
	at := func(name, state string, second int) activities.SeenStep {
		return activities.SeenStep{BootStep: compute.BootStep{Name: name, State: state}, At: began.Add(time.Duration(second) * time.Second)}
	}
	r := &recovery{mark: began}
	r.shareBoot(activities.ReadyResult{Timing: activities.Timing{Started: began, Ended: began.Add(20 * time.Second)}, Boot: []activities.SeenStep{
		at("kernel", "done", 2), at("mount", "begin", 3), at("mount", "done", 6), at("verify", "begin", 6), at("verify", "done", 8), at("restore", "begin", 8), at("restore", "done", 12),
		at("start", "done", 13), at("hash", "done", 25),
	}})
	want := []Share{{PartBoot, 4}, {PartMount, 5}, {PartRestore, 4}, {PartLoad, 7}}
	if len(r.report.Breakdown) != len(want) {
		t.Fatalf("%+v", r.report.Breakdown)
	}
	for i, s := range r.report.Breakdown {
		if s != want[i] {
			t.Errorf("%+v, want %+v", s, want[i])
		}
	}
}

// A standby that takes long for its canary is not asked a second one within the
// switch that could not be over in time.
func TestAPonderousStandbyIsAskedOneThingAtATime(t *testing.T) {
	for took, together := range map[time.Duration]bool{200 * time.Millisecond: true, 3 * time.Second: false} {
		w := ladderWorld("local")
		var asked []bool
		var mu sync.Mutex
		r := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
			env.OnActivity("Prove", mock.Anything, mock.Anything).Return(func(context.Context, activities.ProveInput) (activities.Proof, error) {
				now := time.Now()
				return activities.Proof{Timing: activities.Timing{Started: now.Add(-took), Ended: now}, Passed: true, Answered: now, Observation: runbooks.Observation{Finding: runbooks.Answers, At: now}}, nil
			})
			env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, args converter.EncodedValues) {
				var in activities.CutOverInput
				if info.ActivityType.Name == "CutOver" && args.Get(&in) == nil {
					mu.Lock()
					defer mu.Unlock()
					asked = append(asked, in.Prove != nil)
				}
			})
		})
		mu.Lock()
		if r.Outcome != OutcomeRecovered || len(asked) != 1 || asked[0] != together {
			t.Errorf("after a canary of %s: %s, together with the switch: %v", took, r.Outcome, asked)
		}
		mu.Unlock()
	}
}
