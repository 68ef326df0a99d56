package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// RecoveryInput is a recovery's whole world: a snapshot of the runbook and the
// plan, so that a later edit affects only the next one. Secrets are references.
type RecoveryInput struct {
	Service string `json:"service"`
	Epoch   int64  `json:"epoch"`
	Mode    string `json:"mode"`
	// Key is part of every effect's key.
	Key         string           `json:"key"`
	Trigger     Trigger          `json:"trigger"`
	Runbook     runbooks.Runbook `json:"runbook"`
	Active      runbooks.Target  `json:"active"`
	ActiveSince time.Time        `json:"active_since"`
	Plan        runbooks.Plan    `json:"plan"`
	// Made is the machine of the active, where it is one of ours.
	Made *activities.Made `json:"made,omitempty"`
	// DataEpoch is the epoch below whose prefix the active writes its data; it counts where DataKnown.
	DataEpoch int64 `json:"data_epoch,omitempty"`
	DataKnown bool  `json:"data_known,omitempty"`
	// Force moves the service whatever the diagnosis says, by order of a person.
	Force bool `json:"force,omitempty"`
	// GameDay first stops the active, on purpose.
	GameDay bool `json:"game_day,omitempty"`
	// Tiers are those that a drill tries.
	Tiers []string `json:"tiers,omitempty"`
	// Approved is the hash of a plan that a person agreed to beforehand, by starting exactly that.
	Approved string `json:"approved,omitempty"`
	// Fenced are servers that earlier recoveries took off the traffic.
	Fenced   []string  `json:"fenced,omitempty"`
	Deadline time.Time `json:"deadline"`
	// SearchAttributes reports whether the engine knows ours.
	SearchAttributes bool `json:"search_attributes"`
	// Console is where people read more.
	Console string `json:"console,omitempty"`
}

// recovery is one attempt to bring one service back.
type recovery struct {
	in     RecoveryInput
	report Report
	undo   undoStack
	// pinned takes the fence of the traffic back: the last of all, and only when every tier has failed.
	pinned *undo
	// makings are the standbys in the making, by tier.
	makings map[string]*making
	// tries counts the attempts at making each.
	tries map[string]int
	// shared is a cause that would let every tier fail in the same way.
	shared string
	// alike is true where shared is only a suspicion: a person may know better.
	alike bool
	// proof is the canary that was sent together with the switch, where it passed.
	proof *activities.Proof
	// ponders is true where the canary took the standby longer than the one that goes together with the switch may take.
	ponders bool
	// began is when the tier that is tried was begun.
	began time.Time
	// current is the making whose standby is being put on the traffic.
	current *making
	// budget is what was taken from the site's.
	budget []activities.BudgetInput
	// paces is how long steps took in earlier runs; trying is the tier about which a person may give orders.
	paces  paces
	trying string
	// undoing counts the acts of taking back that still go on beside the steps.
	undoing int
	// mark is up to where the recovery time has been split.
	mark time.Time
	// before is the load balancer as it was found, nil where it could not be read.
	before *traffic.View
	// gates are the looks at running standbys that were made together with the diagnosis, by tier.
	gates map[string]activities.Gate
	// resolved is set when the alert resolves meanwhile.
	resolved bool
	// abort is a person's order to stop; cancel reaches what is waited for.
	abort  *AbortUpdate
	cancel workflow.CancelFunc
	// ordered is a person's about the tier that is being tried; leave ends the try.
	ordered *tierOrder
	leave   workflow.CancelFunc
	// settling is true while a switch is provisional; decision is a person's about it.
	settling bool
	decision *settleOrder
	unsettle workflow.CancelFunc
	// claimed is false while the epoch could not be recorded outside Temporal.
	claimed bool
	// waited is true once the first look could not decide.
	waited bool
	// slowSince is when the health check was first found slow where an inference may hold it up.
	slowSince time.Time
	// fences are the indexes of those that were set.
	fences []int
	answer *AnswerUpdate
	asked  int
	news   outbox
}

// Recovery brings one service back. Its outcome, also a bad one, is its result;
// it fails only where its own code does.
func Recovery(ctx workflow.Context, in RecoveryInput) (Report, error) {
	r := newRecovery(in, workflow.Now(ctx))
	if err := r.listen(ctx); err != nil {
		return Report{}, err
	}
	steps, cancel := workflow.WithCancel(ctx)
	r.cancel = cancel
	r.run(steps)
	r.close(ctx)
	return r.report, nil
}

// run is the story of a recovery.
func (r *recovery) run(ctx workflow.Context) {
	switch r.in.Mode {
	case ModeDrill:
		r.drill(ctx)
		return
	case ModeFailback:
		r.goHome(ctx)
		return
	}
	// Step 0. On a game day, and only then: stop the active, with a person's agreement.
	if r.in.GameDay && !r.stopOnPurpose(ctx) {
		return
	}
	// Step 1. Diagnose the active, from at least two failure domains.
	verdict, why := r.diagnose(ctx)
	if r.stopped(ctx) {
		return
	}
	if !r.calledFor(ctx, verdict, why) {
		return
	}
	// Step 2. What hangs or answers wrongly still holds the data and the traffic: a fence that is required comes first.
	if verdict != runbooks.Dead && !r.fenceHost(ctx, true) {
		if !r.stopped(ctx) {
			r.end(OutcomeFailed, "a required fence failed, and nobody let the recovery go on without it; nothing was switched")
		}
		return
	}
	// Step 3. Climb the ladder: the first tier that passes within its time wins.
	r.prewarm(ctx)
	for _, rung := range r.in.Plan.Rungs {
		if rung.Refused != "" {
			r.note(ctx, Record{Step: runbooks.StepGate, Tier: rung.Tier, State: Refused, Reason: rung.Refused})
			continue
		}
		if r.hopeless(ctx, rung) {
			continue
		}
		won := r.climbOnOrder(ctx, rung, verdict)
		if r.stopped(ctx) || r.report.Outcome != "" {
			r.leaveNothing(ctx)
			return
		}
		if won {
			// Step 4. Make sure that the failed host can do no more harm.
			r.dropMakings(ctx, rung.Tier)
			r.fenceHost(ctx, false)
			r.releaseFailed(ctx)
			r.resumeBatches(ctx, rung)
			// Step 5. Provisional until committed: canaries keep passing for the confirm window.
			r.settle(ctx, rung)
			r.startAgain(ctx)
			return
		}
	}
	// No tier passed: take back what was done, and say what a person can do.
	r.giveUp(ctx)
}

// calledFor ends a recovery that nothing calls for.
func (r *recovery) calledFor(ctx workflow.Context, verdict runbooks.Verdict, why string) bool {
	if verdict == runbooks.Degraded && r.in.Runbook.Policy.Degraded == "recover" {
		return true
	}
	if r.in.Force && !verdict.Failed() {
		r.note(ctx, Record{Step: runbooks.StepDiagnose, State: Noted, Reason: "it moves all the same, by order of " + r.in.Trigger.By})
		return true
	}
	switch verdict {
	case runbooks.Healthy:
		r.end(OutcomeFalseAlarm, why)
		if r.resolved || r.waited {
			r.report.Outcome = OutcomeSelf
		}
		r.noteDrift(ctx)
	case runbooks.Degraded:
		r.end(OutcomeDegraded, why)
		r.report.Person = true
		r.report.Advice = append(r.report.Advice, "look at "+r.in.Active.URL+"; to move all the same: understudy recover "+r.in.Service+" --force")
	case runbooks.Unknown, runbooks.Busy:
		r.end(OutcomeHeld, why)
		r.report.Person = true
		r.report.Advice = append(r.report.Advice, "nothing was changed; look whether "+r.in.Active.URL+" is alive, then: understudy recover "+r.in.Service+" --force")
	default:
		return true
	}
	return false
}

// noteDrift tells of a version that differs while all is well: a notice, never a reason to move.
func (r *recovery) noteDrift(ctx workflow.Context) {
	if r.in.Runbook.Version == nil {
		return
	}
	gate, err := r.ask(ctx, r.in.Active)()
	if err == nil && len(gate.Refusals) > 0 {
		for _, refusal := range gate.Refusals {
			r.note(ctx, Record{Step: runbooks.StepDiagnose, State: Noted, Reason: "the active works, but " + refusal, Started: gate.Started, Ended: gate.Ended})
		}
		r.report.Person = true
	}
}

// giveUp ends a recovery whose ladder is exhausted.
func (r *recovery) giveUp(ctx workflow.Context) {
	if r.report.Outcome != "" {
		return
	}
	r.takeBack(ctx)
	why := "no tier passed"
	for _, rec := range r.report.Timeline {
		if rec.Tier != "" && (rec.State == Refused || rec.State == Failed) {
			why += fmt.Sprintf("; %s %s: %s", rec.Tier, rec.Step, rec.Reason)
		}
	}
	r.end(OutcomeFailed, why)
	r.report.Person = true
	r.report.Advice = append(r.report.Advice,
		"mend a standby or the primary, then: understudy recover "+r.in.Service+" --force",
		"the standbys were refused for the reasons in the timeline; `understudy plan "+r.in.Service+"` asks them again")
}

// stopped ends a recovery that a person aborts, or that makes way for another.
func (r *recovery) stopped(ctx workflow.Context) bool {
	if r.report.Outcome != "" {
		return true
	}
	if ctx.Err() == nil {
		return false
	}
	by, why := "the guard", "another recovery takes its place"
	if r.abort != nil {
		by, why = r.abort.By, r.abort.Reason
	}
	left := r.leaves()
	if r.undoes() {
		r.takeBack(ctx)
	}
	r.end(OutcomeAborted, fmt.Sprintf("by %s: %s; %s", by, why, left))
	r.report.Person = true
	return true
}

// undoes reports whether a stop takes back what was done: not after something
// that cannot be undone, and not once the service works again on the standby.
func (r *recovery) undoes() bool { return !r.report.NoReturn && r.report.Verified.IsZero() }

// leaves says in which state a stop leaves the service.
func (r *recovery) leaves() string {
	if r.undoes() {
		return "what was done is undone, " + r.in.Active.Server + " is back at the load balancer as it was found"
	}
	return "it stops where it stands, with the traffic on " + r.report.Active
}

// takeBack undoes everything that can be undone.
func (r *recovery) takeBack(ctx workflow.Context) {
	r.dropMakings(ctx, "")
	r.unwind(ctx, 0)
	if r.pinned != nil {
		r.undo.push(*r.pinned)
		r.pinned = nil
		r.unwind(ctx, 0)
	}
	r.report.Active, r.report.Fenced, r.report.Made = r.in.Active.Name, r.in.Fenced, r.in.Made
	r.report.DataEpoch, r.report.DataKnown = r.in.DataEpoch, r.in.DataKnown
}

// superseded ends a recovery in whose place somebody else acts: the traffic is
// left as it stands, and only what this recovery made is removed.
func (r *recovery) superseded(why string) {
	r.undo.onlyOurs()
	r.pinned = nil
	r.end(OutcomeSuperseded, why)
}

// close makes the outcome known: to the guard first, because it holds the lock;
// then outside Temporal, in the attributes, and to people.
func (r *recovery) close(ctx workflow.Context) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	// What this recovery made is gone before it says that it is over: the guard holds the lock until then.
	_ = workflow.Await(ctx, func() bool { return r.undoing == 0 })
	r.current.stopHashing("it was not through when the recovery ended; only the sizes of the files were compared")
	r.report.Ended = workflow.Now(ctx)
	r.report.Question = nil
	r.show(ctx)
	r.measure(ctx)
	told := workflow.SignalExternalWorkflow(ctx, GuardID(r.in.Service), "", EndedSignalName, r.report.RecoveryResult)
	r.remember(ctx)
	r.tell(ctx, r.color(), true)

	name := ReportName(r.in.Service, r.in.Epoch)
	recorded := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, summary(record, "write the report")), acts.WriteReport, r.files(name))
	if r.report.Outcome != OutcomeSuperseded && r.in.Mode != ModeDrill { // else what is recorded there is somebody else's
		claimed := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, summary(record, "record where the service runs")), acts.ClaimEpoch, activities.ClaimEpochInput{
			Effect: r.effect(ctx, "close", 0), Holder: r.report.Recovery, Active: r.report.Active,
		})
		_ = claimed.Get(ctx, nil) // the store may be away; the report says how the claim went
	}
	r.repay(ctx)
	_ = recorded.Get(ctx, nil) // the result in the engine is the same report
	_ = told.Get(ctx, nil)     // a guard that missed it looks after its recovery itself
	r.news.flush(ctx)
}

// remember writes the outcome where the Temporal UI searches.
func (r *recovery) remember(ctx workflow.Context) {
	if err := workflow.UpsertMemo(ctx, map[string]any{"outcome": r.report.Outcome, "reason": cut(r.report.Reason, 1000)}); err != nil {
		workflow.GetLogger(ctx).Warn("the memo could not be set", "error", err)
	}
	if !r.in.SearchAttributes {
		return
	}
	updates := []temporal.SearchAttributeUpdate{OutcomeKey.ValueSet(r.report.Outcome)}
	if r.report.Tier != "" {
		updates = append(updates, TierKey.ValueSet(r.report.Tier), RTOKey.ValueSet(r.report.RTOSeconds))
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, updates...); err != nil {
		workflow.GetLogger(ctx).Warn("the search attributes could not be set", "error", err)
	}
}

func (r *recovery) end(outcome, why string) { r.report.Outcome, r.report.Reason = outcome, why }

func (r *recovery) color() chat.Color {
	switch r.report.Outcome {
	case "":
		if r.report.Question != nil {
			return chat.Asking
		}
		if !r.report.Verified.IsZero() {
			return chat.Good
		}
		return chat.Working
	case OutcomeRecovered, OutcomeFalseAlarm, OutcomeSelf, OutcomeDrilled, OutcomeHome:
		return chat.Good
	case OutcomeFailed, OutcomeDrillFailed:
		return chat.Bad
	default:
		return chat.Asking
	}
}

// reason is what an error says, without the engine's wrapping.
func reason(err error) string {
	var app *temporal.ApplicationError
	var timeout *temporal.TimeoutError
	switch {
	case errors.As(err, &app):
		return app.Message()
	case errors.As(err, &timeout):
		return "no end within its time"
	default:
		return err.Error()
	}
}
