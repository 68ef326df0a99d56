package workflows

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/fence"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// start is the input of a recovery that an alert has started.
func (w *world) start() RecoveryInput {
	active, _ := w.runbook.TargetNamed(runbooks.PrimaryName)
	now := time.Now()
	return RecoveryInput{
		Service: "asr", Epoch: 7, Mode: ModeLive, Key: "12345678", Runbook: w.runbook, Active: active, Plan: runbooks.NewPlan(w.runbook, active, nil),
		Trigger:  Trigger{Kind: TriggerAlert, Text: "alert Down", Received: now, OutageSince: now.Add(-2 * time.Second), Fingerprints: []string{"f1"}},
		Deadline: now.Add(time.Minute), ActiveSince: now.Add(-time.Hour),
	}
}

// recover runs a recovery to its end.
func (w *world) recover(t *testing.T, during ...func(env *testsuite.TestWorkflowEnvironment)) Report {
	t.Helper()
	return w.recoverFrom(t, w.start(), during...)
}

// recoverFrom runs the recovery of an input to its end.
func (w *world) recoverFrom(t *testing.T, in RecoveryInput, during ...func(env *testsuite.TestWorkflowEnvironment)) Report {
	t.Helper()
	env := w.env(t, RecoveryID("asr", 7))
	var told *activities.RecoveryResult
	env.OnSignalExternalWorkflow("default-test-namespace", GuardID("asr"), "", EndedSignalName, mock.Anything).Return(
		func(_, _, _, _ string, arg any) error {
			result := arg.(activities.RecoveryResult)
			told = &result
			return nil
		})
	for _, f := range during {
		f(env)
	}
	env.ExecuteWorkflow(Recovery, in)
	var report Report
	if err := env.GetWorkflowResult(&report); err != nil {
		t.Fatal(err)
	}
	if told == nil || told.Outcome != report.Outcome || told.Active != report.Active {
		t.Errorf("the guard was told %+v", told)
	}
	if w.files[ReportName("asr", 7)+".json"] == "" || !strings.Contains(w.files[ReportName("asr", 7)+".md"], report.Outcome) {
		t.Error("no report is kept outside the engine")
	}
	if len(w.news) == 0 || !w.news[len(w.news)-1].Final {
		t.Error("people were not told the end")
	}
	return report
}

func (r Report) step(step, tier string) Record {
	for _, rec := range r.Timeline {
		if rec.Step == step && rec.Tier == tier {
			return rec
		}
	}
	return Record{}
}

func (r Report) steps() (names []string) {
	for _, rec := range r.Timeline {
		names = append(names, rec.Step+":"+rec.State)
	}
	return names
}

func TestRecoveryToAHeldHotStandby(t *testing.T) {
	w := newWorld()
	w.runbook.Primary.Fence = []runbooks.Fence{{Kind: "command", Command: []string{"off"}, Timeout: runbooks.Duration(time.Second)}}
	report := w.recover(t)

	if report.Outcome != OutcomeRecovered || report.Tier != "hot" || report.Active != "hot" || report.Verdict != string(runbooks.Dead) {
		t.Errorf("%s on %s, tier %s, verdict %s: %s", report.Outcome, report.Active, report.Tier, report.Verdict, report.Reason)
	}
	if got := w.states(); got != "hot=ready primary=maint" {
		t.Errorf("the load balancer shows %s", got)
	}
	want := []string{"diagnose:done", "gate:done", "prove:done", "cut over:done", "verify:done", "fence host:done", "settle:done"}
	if got := report.steps(); !slices.Equal(got, want) {
		t.Errorf("the timeline is %v", got)
	}
	if w.fences != 1 || len(w.applied) != 1 {
		t.Errorf("%d fences, %d changes at the load balancer", w.fences, len(w.applied))
	}
	if !report.Committed || report.Canaries == 0 || report.RTOSeconds < 2 || !slices.Equal(report.Fenced, []string{"primary"}) {
		t.Errorf("committed %v after %d canaries, RTO %v, fenced %v", report.Committed, report.Canaries, report.RTOSeconds, report.Fenced)
	}
	sum := 0.0
	for _, s := range report.Breakdown {
		sum += s.Seconds
	}
	if diff := sum - report.RTOSeconds; diff < -0.05 || diff > 0.05 {
		t.Errorf("the parts of the recovery time add up to %v, not to %v: %v", sum, report.RTOSeconds, report.Breakdown)
	}
	if r := w.epochs.records["asr"]; r.Epoch != 7 || r.Active != "hot" || !strings.HasPrefix(r.Holder, "recovery/asr/7 @ ") {
		t.Errorf("the epoch store holds %+v", r)
	}
}

func TestVerdictsAndActions(t *testing.T) {
	const held = "hot=maint primary=ready"
	for name, c := range map[string]struct {
		arrange func(w *world)
		outcome string
		verdict runbooks.Verdict
		states  string
		because string
	}{
		"false alarm": {func(w *world) { w.findings[primaryURL] = runbooks.Answers }, OutcomeFalseAlarm, runbooks.Healthy, held, ""},
		"hung":        {func(w *world) { w.findings[primaryURL] = runbooks.Silent }, OutcomeRecovered, runbooks.Hung, "hot=ready primary=maint", ""},
		"wrong": {func(w *world) {
			w.findings[primaryURL] = runbooks.Answers
			w.heard[primaryURL] = "nine nine nine"
		}, OutcomeRecovered, runbooks.Wrong, "hot=ready primary=maint", ""},
		"503":  {func(w *world) { w.findings[primaryURL] = runbooks.Errors }, OutcomeRecovered, runbooks.Wrong, "hot=ready primary=maint", ""},
		"slow": {func(w *world) { w.findings[primaryURL] = runbooks.Slow }, OutcomeDegraded, runbooks.Degraded, held, ""},
		"slow, and the runbook recovers": {func(w *world) {
			w.findings[primaryURL] = runbooks.Slow
			w.runbook.Policy.Degraded = "recover"
		}, OutcomeRecovered, runbooks.Degraded, "hot=ready primary=maint", ""},
		"nobody else says so": {func(w *world) {
			w.findings[primaryURL] = runbooks.Unreachable
			w.balancerErr = traffic.ErrUnreachable
			w.runbook.Policy.Observe = runbooks.Duration(time.Millisecond)
			w.runbook.Traffic.Kind = "lost"
		}, OutcomeFailed, runbooks.Dead, held, ""},
		"the standby is down too":   {func(w *world) { w.findings[hotURL] = runbooks.Refuses }, OutcomeFailed, runbooks.Dead, held, "it refuses connections"},
		"the standby hears wrongly": {func(w *world) { w.heard[hotURL] = "nine" }, OutcomeFailed, runbooks.Dead, held, "heard"},
		"a self-moving balancer, and the standby hears wrongly": {func(w *world) {
			w.runbook.Tiers[0].Hold = false
			w.servers["hot"].State, w.servers["hot"].Backup = traffic.Ready, true
			w.heard[hotURL] = "nine"
		}, OutcomeFailed, runbooks.Dead, "hot=maint primary=ready", "heard"},
		"a self-moving balancer": {func(w *world) {
			w.runbook.Tiers[0].Hold = false
			w.servers["hot"].State, w.servers["hot"].Backup = traffic.Ready, true
		}, OutcomeRecovered, runbooks.Dead, "hot=ready primary=maint", ""},
		"the standby cannot be woken": {func(w *world) {
			w.runbook.Tiers[0].URL, w.runbook.Tiers[0].Activate = "http://127.0.0.1:1", &runbooks.Activate{Method: "POST", URL: "/wake"}
			w.runbook.Tiers[0].Within = runbooks.Duration(300 * time.Millisecond)
		}, OutcomeFailed, runbooks.Dead, held, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			c.arrange(w)
			report := w.recover(t)
			if report.Outcome != c.outcome || report.Verdict != string(c.verdict) || !strings.Contains(report.Reason, c.because) {
				t.Errorf("got %s, verdict %s: %s\n%v", report.Outcome, report.Verdict, report.Reason, report.Timeline)
			}
			if got := w.states(); got != c.states {
				t.Errorf("the load balancer shows %s, want %s", got, c.states)
			}
			if report.Outcome == OutcomeFailed && (len(report.Advice) == 0 || !report.Person) {
				t.Error("nobody is told what to do now")
			}
			if report.Outcome != OutcomeRecovered && report.Active != runbooks.PrimaryName {
				t.Errorf("the active is said to be %s", report.Active)
			}
		})
	}
}

func TestUnknownHoldsAndAsks(t *testing.T) {
	w := newWorld()
	w.findings[primaryURL] = runbooks.Unreachable
	env := w.env(t, RecoveryID("asr", 7))
	env.OnSignalExternalWorkflow("default-test-namespace", GuardID("asr"), "", EndedSignalName, mock.Anything).Return(nil)
	in := w.start()
	in.Trigger.Kind = TriggerHeartbeat // no second domain
	up := true
	w.servers["primary"].Up = &up
	w.findings["http://primary"] = runbooks.Unreachable
	w.balancerErr = traffic.ErrUnreachable
	env.ExecuteWorkflow(Recovery, in)
	var report Report
	if err := env.GetWorkflowResult(&report); err != nil {
		t.Fatal(err)
	}
	if report.Outcome != OutcomeHeld || report.Verdict != string(runbooks.Unknown) || !report.Person || len(w.applied) != 0 {
		t.Errorf("%s, %s: %s; %d changes", report.Outcome, report.Verdict, report.Reason, len(w.applied))
	}
}

func TestBusyChangesNothing(t *testing.T) {
	w := newWorld()
	w.runbook.Health.Busy = runbooks.Duration(10 * time.Minute)
	w.findings[primaryURL] = runbooks.Silent
	w.inFlight = &runbooks.InFlight{Requests: 1, Oldest: runbooks.Duration(time.Second)}
	report := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
		env.SetOnActivityHeartbeatListener(func(*activityInfo, encodedValues) {
			w.change(func() { w.findings[primaryURL] = runbooks.Answers }) // the inference ends
		})
	})
	if report.Outcome != OutcomeSelf || len(w.applied) != 0 || w.fences != 0 {
		t.Errorf("%s: %s; %d changes", report.Outcome, report.Reason, len(w.applied))
	}
}

func TestAResolvedAlertBeforeTheSwitch(t *testing.T) {
	w := newWorld()
	w.findings[primaryURL] = runbooks.Silent
	report := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
		env.SetOnActivityStartedListener(func(info *activityInfo, _ contextContext, _ encodedValues) {
			if info.ActivityType.Name == "Prove" {
				w.change(func() { w.findings[primaryURL] = runbooks.Answers })
				env.SignalWorkflow(ResolvedSignalName, ResolvedSignal{})
			}
		})
	})
	if report.Outcome != OutcomeSelf || len(w.applied) != 0 {
		t.Errorf("%s: %s; %d changes", report.Outcome, report.Reason, len(w.applied))
	}
}

func TestAbortBeforeAndAfterThePointOfNoReturn(t *testing.T) {
	abort := func(env *testsuite.TestWorkflowEnvironment) {
		env.UpdateWorkflow(AbortUpdateName, "abort-1", &testsuite.TestUpdateCallback{
			OnReject: func(err error) { panic(err) }, OnAccept: func() {}, OnComplete: func(any, error) {},
		}, AbortUpdate{By: "ann", Reason: "not now"})
	}
	at := func(w *world, activity, url string) func(env *testsuite.TestWorkflowEnvironment) {
		once := false
		return func(env *testsuite.TestWorkflowEnvironment) {
			env.SetOnActivityStartedListener(func(info *activityInfo, _ contextContext, args encodedValues) {
				if info.ActivityType.Name == activity && !once {
					once = true
					abort(env)
				}
			})
		}
	}
	t.Run("while the standby is proven", func(t *testing.T) {
		w := newWorld()
		report := w.recover(t, at(w, "Prove", hotURL))
		if report.Outcome != OutcomeAborted || w.states() != "hot=maint primary=ready" || report.Active != "primary" {
			t.Errorf("%s: %s; %s", report.Outcome, report.Reason, w.states())
		}
	})
	t.Run("during the switch", func(t *testing.T) {
		w := newWorld()
		report := w.recover(t, at(w, "CutOver", ""))
		if report.Outcome != OutcomeAborted || w.states() != "hot=maint primary=ready" || report.Active != "primary" {
			t.Errorf("%s: %s; %s", report.Outcome, report.Reason, w.states())
		}
	})
	t.Run("after the host was fenced", func(t *testing.T) {
		w := newWorld()
		w.runbook.Primary.Fence = []runbooks.Fence{{Kind: "command", Command: []string{"off"}}}
		w.runbook.Policy.Confirm = runbooks.Duration(10 * time.Second)
		report := w.recover(t, at(w, "Confirm", ""))
		if report.Outcome != OutcomeAborted || w.states() != "hot=ready primary=maint" || report.Active != "hot" || !report.NoReturn {
			t.Errorf("%s: %s; %s", report.Outcome, report.Reason, w.states())
		}
	})
}

func TestARequiredFenceThatFailsAsksAPerson(t *testing.T) {
	for answer, c := range map[string]struct {
		outcome string
		states  string
		fences  int
	}{
		"skip":  {OutcomeRecovered, "hot=ready primary=maint", 1},
		"stop":  {OutcomeFailed, "hot=maint primary=ready", 1},
		"retry": {OutcomeRecovered, "hot=ready primary=maint", 2},
		"":      {OutcomeFailed, "hot=maint primary=ready", 1}, // silence is never a yes
	} {
		t.Run("answer "+answer, func(t *testing.T) {
			w := newWorld()
			w.findings[primaryURL] = runbooks.Silent // hung: fenced before the switch
			w.runbook.Primary.Fence = []runbooks.Fence{{Kind: "command", Command: []string{"off"}, Required: true, Confirm: &runbooks.Confirm{Kind: "tcp-closed"}}}
			w.fenceErr = fence.ErrUnconfirmed
			report := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
				env.RegisterDelayedCallback(func() {
					if answer == "" {
						return
					}
					var progress Report
					value, err := env.QueryWorkflow(ProgressQueryName)
					if err != nil || value.Get(&progress) != nil || progress.Question == nil {
						t.Errorf("nothing is asked: %v", err)
						return
					}
					w.change(func() { w.fenceErr = nil })
					env.UpdateWorkflow(AnswerUpdateName, "a-1", &testsuite.TestUpdateCallback{
						OnReject: func(err error) { t.Error(err) }, OnAccept: func() {}, OnComplete: func(any, error) {},
					}, AnswerUpdate{By: "ann", Question: progress.Question.ID, Answer: answer})
				}, 20*time.Second)
			})
			if report.Outcome != c.outcome || w.states() != c.states || w.fences != c.fences {
				t.Errorf("%s: %s; %s; %d fences", report.Outcome, report.Reason, w.states(), w.fences)
			}
		})
	}
}

func TestSomebodyElseHoldsTheEpoch(t *testing.T) {
	w := newWorld()
	w.epochs.records["asr"] = epoch.Record{Service: "asr", Epoch: 9, Holder: "recovery/asr/9 @ other", At: time.Now()}
	report := w.recover(t)
	if report.Outcome != OutcomeSuperseded || len(w.applied) != 0 || !strings.Contains(report.Reason, "epoch 9 of asr is held by recovery/asr/9 @ other") {
		t.Errorf("%s: %s; %d changes", report.Outcome, report.Reason, len(w.applied))
	}
}

func TestAHotSwitchDoesNotWaitForTheEpochStore(t *testing.T) {
	w := newWorld()
	w.epochs.away = true
	report := w.recover(t)
	if report.Outcome != OutcomeRecovered || !strings.Contains(report.Claim, "the epoch store is away") {
		t.Errorf("%s: %s; %s", report.Outcome, report.Reason, report.Claim)
	}
	if !strings.Contains(report.step(runbooks.StepCutOver, "hot").Reason, "the epoch store is away") {
		t.Error("the timeline does not say so")
	}
}

func TestTheNewActiveFailsWithinTheConfirmWindow(t *testing.T) {
	w := newWorld()
	w.runbook.Policy.Confirm = runbooks.Duration(20 * time.Second)
	report := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
		env.SetOnActivityStartedListener(func(info *activityInfo, _ contextContext, _ encodedValues) {
			if info.ActivityType.Name == "Confirm" {
				w.change(func() { w.findings[hotURL] = runbooks.Refuses })
			}
		})
	})
	if report.Outcome != OutcomeRecovered || report.Lost == "" || report.Committed {
		t.Errorf("%s: %s; lost %q", report.Outcome, report.Reason, report.Lost)
	}
}
