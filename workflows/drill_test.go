package workflows

import (
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

func (w *world) drillOf(tiers ...string) RecoveryInput {
	in := w.start()
	in.Mode, in.Tiers = ModeDrill, tiers
	in.Trigger = Trigger{Kind: TriggerSchedule, Text: "scheduled drill", Received: time.Now(), OutageSince: time.Now()}
	return in
}

// A drill goes the whole way to a proven standby, changes nothing that serves, and leaves nothing behind.
func TestDrill(t *testing.T) {
	tests := []struct {
		name    string
		spoil   func(*world)
		outcome string
		reason  string
	}{
		{"all is well", func(*world) {}, OutcomeDrilled, "cold proven in"},
		{"the model is wrong", func(w *world) { w.mountErr = volumes.ErrWrong }, OutcomeDrillFailed, "cold would fail: mount: "},
		{"the canary is wrong", func(w *world) { w.heard[coldURL] = "nine" }, OutcomeDrillFailed, "cold would fail: prove: "},
		{"the epoch store is away, which no drill needs", func(w *world) { w.epochs.away = true }, OutcomeDrilled, "0 orphans"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := ladderWorld("local")
			w.findings[primaryURL] = runbooks.Answers
			tt.spoil(w)
			r := w.recoverFrom(t, w.drillOf("cold"))
			if r.Outcome != tt.outcome || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%s: %s\n%s", r.Outcome, r.Reason, r.Markdown())
			}
			nothingLeft(t, w)
			if len(w.applied) != 0 || len(w.epochs.records) != 0 || w.fences != 0 {
				t.Errorf("a drill touched the world: traffic %v, epochs %v, fences %d", w.applied, w.epochs.records, w.fences)
			}
			if r.Made != nil || r.Active != "primary" || r.Committed {
				t.Errorf("%+v", r.RecoveryResult)
			}
			for _, o := range w.machines.orders {
				if o.Mode != ModeDrill {
					t.Errorf("order in mode %s", o.Mode)
				}
			}
		})
	}
}

// What a drill cannot remove, it says.
func TestDrillTellsOfOrphans(t *testing.T) {
	w := ladderWorld("local")
	w.findings[primaryURL] = runbooks.Answers
	stray := compute.Order{Key: "stray", Service: "asr", Epoch: 7, Mode: ModeDrill}
	if _, err := w.machines.Create(t.Context(), stray); err != nil {
		t.Fatal(err)
	}
	r := w.recoverFrom(t, w.drillOf("cold"))
	if r.Outcome != OutcomeDrillFailed || len(r.Orphans) != 1 || !strings.Contains(r.Reason, "i-stray") {
		t.Errorf("%s: %s %v", r.Outcome, r.Reason, r.Orphans)
	}
}

// A drill that is cancelled, because a recovery is called for, cleans up at once.
func TestDrillMakesWay(t *testing.T) {
	w := ladderWorld("local")
	w.findings[coldURL] = runbooks.Refuses // it never gets ready
	w.runbook.Tiers[1].Within = runbooks.Duration(time.Hour)
	r := w.recoverFrom(t, w.drillOf("cold"), func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(env.CancelWorkflow, 300*time.Millisecond)
	})
	if r.Outcome != OutcomeAborted {
		t.Errorf("%s: %s", r.Outcome, r.Reason)
	}
	nothingLeft(t, w)
}

func TestDrillsAreForGoodTimes(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	plan := runbooks.Plan{Rungs: []runbooks.Rung{{Tier: "cold"}}}
	tests := []struct {
		name   string
		state  GuardState
		action Action
	}{
		{"good times", GuardState{Active: "primary"}, Start},
		{"a recovery runs", GuardState{Active: "primary", Running: &Running{Mode: ModeLive}}, Ignore},
		{"a drill runs", GuardState{Active: "primary", Running: &Running{Mode: ModeDrill}}, Ignore},
		{"paused", GuardState{Active: "primary", Paused: &Pause{By: "ann"}}, Ignore},
		{"away from home", GuardState{Active: "hot"}, Ignore},
		{"an alert fires", GuardState{Active: "primary", Seen: []SeenAlert{{Last: now.Add(-time.Minute)}}}, Ignore},
		{"an alert that has resolved", GuardState{Active: "primary", Seen: []SeenAlert{{Last: now, Resolved: true}}}, Start},
		{"an alert of long ago", GuardState{Active: "primary", Seen: []SeenAlert{{Last: now.Add(-7 * time.Hour)}}}, Start},
		{"cooldown", GuardState{Active: "primary", CooldownUntil: now.Add(time.Minute)}, Ignore},
	}
	for _, tt := range tests {
		if d := Decide(tt.state, plan, Ask{Drill: true}, now); d.Action != tt.action {
			t.Errorf("%s: %s, %s", tt.name, d.Action, d.Reason)
		}
	}
	running := GuardState{Active: "primary", Running: &Running{Mode: ModeDrill}}
	if d := Decide(running, plan, Ask{Trigger: Trigger{Kind: TriggerAlert}, Alert: &Alert{Firing: true}}, now); d.Action != Start {
		t.Errorf("a real alert while a drill runs: %s, %s", d.Action, d.Reason)
	}
}
