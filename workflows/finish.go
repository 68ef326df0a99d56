package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// confirmFailures is how many canaries in a row must fail before a switched
// service counts as lost: one may be a busy moment.
const confirmFailures = 3

// fenceHost makes sure that the failed host can do no more harm. Before the
// switch only required fences are set, after it all that are left. It reports
// false where a person decides to stop.
func (r *recovery) fenceHost(ctx workflow.Context, before bool) bool {
	for i, f := range r.in.Runbook.FencesOf(r.in.Active.Name) {
		if r.in.GameDay {
			return true // the host is stopped already, on purpose, and must come back
		}
		if before && !f.Required || !before && r.fenced(i) {
			continue
		}
		if !r.fenceOnce(ctx, i, f) {
			return false
		}
	}
	return true
}

// fenceOnce sets one fence, and asks a person about a required one that failed.
func (r *recovery) fenceOnce(ctx workflow.Context, i int, f runbooks.Fence) bool {
	for {
		shut := r.open(ctx, runbooks.StepFence, r.in.Active.Name, "fence by "+f.Kind)
		options := fenceHost
		options.StartToCloseTimeout = f.Timeout.D() + 10*time.Second
		if f.Confirm != nil {
			options.StartToCloseTimeout += f.Confirm.Within.D()
		}
		options.WaitForCancellation = true
		r.report.NoReturn = true // from here on nobody can tell whether the host was stopped
		result, err := do(ctx, options, "fence "+r.in.Active.Name+" by "+f.Kind, acts.FenceHost, activities.FenceHostInput{
			Effect: r.effect(ctx, fmt.Sprintf("fence-%d", i), 0), Fence: f, Target: r.in.Active, Health: r.in.Runbook.Health,
		})
		switch {
		case err == nil:
			shut(Done, fenceText(result), result.Timing)
			r.fences = append(r.fences, i)
			return true
		case !f.Required:
			shut(Failed, reason(err)+"; it is not required", result.Timing)
			r.report.Advice = append(r.report.Advice, "the failed host is not fenced for certain; see that "+r.in.Active.URL+" stays off")
			return true
		}
		shut(Failed, reason(err), result.Timing)
		answer := r.question(ctx, Question{Text: "the required fence of " + r.in.Active.Name + " failed: " + reason(err), Choices: []Choice{
			{"retry", "the fence is tried once more"},
			{"skip", "the recovery goes on, and the failed host may still write"},
			{"stop", "the recovery stops where it stands"},
		}})
		switch answer.choice() {
		case "retry":
			continue
		case "skip":
			r.note(ctx, Record{Step: runbooks.StepFence, Tier: r.in.Active.Name, State: Noted, Reason: "skipped by " + answer.By + ": " + answer.Reason})
			r.fences = append(r.fences, i)
			return true
		default:
			r.report.Advice = append(r.report.Advice, "the failed host is not fenced; stop "+r.in.Active.URL+" by hand")
			return false
		}
	}
}

// releaseFailed gives back the machine of an active that failed: nothing else
// stops it from writing, and nobody else pays for it. It counts as a fence that
// is not required.
func (r *recovery) releaseFailed(ctx workflow.Context) {
	old := r.in.Made
	if old == nil {
		return
	}
	shut := r.open(ctx, runbooks.StepRelease, old.Tier, "giving "+old.Machine.ID+" back")
	r.report.NoReturn = true
	result, err := r.release(ctx, old.Tier, old.Machine, "release")
	if err != nil {
		shut(Failed, reason(err), result.Timing)
		r.report.Advice = append(r.report.Advice, "the failed machine "+old.Machine.ID+" could not be given back; see understudy status --machines")
		return
	}
	shut(Done, result.Confirmed, result.Timing)
	if old.Data != "" {
		r.keepData(ctx, *old)
	}
	if old.Volumes == "" {
		return
	}
	tier, _ := r.in.Runbook.TierNamed(old.Tier)
	in := activities.MountVolumesInput{Effect: r.effect(ctx, "unmount-"+old.Tier, 0), Volumes: tier.Volumes}
	in.Key = old.Volumes
	if err := perform(ctx, r.takingBack(), "unmount "+old.Tier, acts.UnmountVolumes, in); err != nil {
		r.note(ctx, Record{Step: runbooks.StepRelease, Tier: old.Tier, State: Failed, Reason: "its volumes are still mounted: " + reason(err)})
	}
}

// keepData frees the path for the next standby that is made here, and loses nothing.
func (r *recovery) keepData(ctx workflow.Context, old activities.Made) {
	in := activities.SetDataAsideInput{Effect: r.effect(ctx, "keep-"+old.Tier, 0), Data: r.in.Runbook.DataOf(old.Tier)}
	in.Key = old.Data
	kept, err := do(ctx, r.takingBack(), "keep the data of "+old.Tier, acts.SetDataAside, in)
	switch {
	case err != nil:
		r.note(ctx, Record{Step: runbooks.StepRelease, Tier: old.Tier, State: Failed,
			Reason: "its data is still at its path, and " + old.Tier + " cannot be made again there: " + reason(err)})
		r.report.Advice = append(r.report.Advice, "move the data of "+old.Tier+" away from its path on Understudy's host, or "+old.Tier+" cannot be made there again")
	case len(kept.Paths) > 0:
		r.note(ctx, Record{Step: runbooks.StepRelease, Tier: old.Tier, State: Done, Reason: "its data is kept as " + join(kept.Paths)})
	}
}

func (r *recovery) fenced(i int) bool {
	for _, done := range r.fences {
		if done == i {
			return true
		}
	}
	return false
}

func fenceText(result activities.FenceHostResult) string {
	switch {
	case result.Before:
		return "nothing to do: " + result.Confirmed
	case result.Confirmed != "":
		return "confirmed: " + result.Confirmed
	default:
		return "done; the runbook asks for no confirmation"
	}
}

// settle watches the switched service for the confirm window, and makes good a
// claim of the epoch for which the store was away.
func (r *recovery) settle(ctx workflow.Context, rung runbooks.Rung) {
	window, every := r.in.Runbook.Policy.Confirm, r.in.Runbook.Policy.ConfirmEvery
	shut := r.open(ctx, runbooks.StepSettle, rung.Tier, fmt.Sprintf("canaries every %s for %s", every, window))
	if !r.claimed {
		workflow.Go(ctx, func(ctx workflow.Context) { r.claimLate(ctx, rung, window.D()) })
	}
	watching, stop := workflow.WithCancel(ctx)
	r.settling, r.unsettle = true, stop
	r.tell(ctx, r.color(), false)
	result, err := do(watching, longLook, "canaries keep passing for "+window.String(), acts.Confirm, activities.ConfirmInput{
		ProveInput: r.proveInput(r.in.Runbook.TrafficOf(rung.Tier).Front, time.Time{}), For: window, Every: every, Failures: confirmFailures,
	})
	r.report.Canaries, r.settling = result.Canaries, false
	switch {
	case ctx.Err() != nil:
		shut(Failed, "stopped", result.Timing)
		r.stopped(ctx)
		return
	case r.decision != nil && r.decision.rollback:
		shut(Failed, fmt.Sprintf("rolled back by %s: %s", r.decision.By, r.decision.Reason), result.Timing)
		r.rollBack(ctx, rung)
		return
	case r.decision != nil:
		shut(Done, fmt.Sprintf("committed by %s: %s", r.decision.By, r.decision.Reason), result.Timing)
		r.report.Committed = true
	case err != nil:
		shut(Failed, reason(err), result.Timing)
	case result.Lost != "":
		shut(Failed, "the new active failed: "+result.Lost, result.Timing)
		r.report.Lost = result.Lost
	default:
		shut(Done, fmt.Sprintf("committed after %d canaries", result.Canaries), result.Timing)
		r.report.Committed = true
	}
	if r.in.Mode == ModeFailback {
		return // the way home goes on
	}
	why := fmt.Sprintf("%s runs on %s, verified through the front door", r.in.Service, rung.Tier)
	if r.report.Lost != "" {
		why += "; it failed again within the confirm window"
	}
	r.end(OutcomeRecovered, why)
	r.report.Advice = append(r.report.Advice, "the way home is not taken by itself: mend "+r.in.Active.Name+", it stays off the traffic until then")
}

// claimLate records the epoch once the store is back.
func (r *recovery) claimLate(ctx workflow.Context, rung runbooks.Rung, within time.Duration) {
	options := record
	options.ScheduleToCloseTimeout = max(within, time.Second)
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, summary(options, "record the epoch, late")), acts.ClaimEpoch, activities.ClaimEpochInput{
		Effect: r.effect(ctx, "claim", 0), Holder: r.report.Recovery, Active: rung.Target.Name,
	}).Get(ctx, nil)
	if err == nil {
		r.claimed = true
		r.report.Claim += "; recorded later"
		return
	}
	r.report.Claim += "; and was not back in time"
	if errorType(err) == activities.ErrTypeSuperseded {
		r.report.Person = true
		r.note(ctx, Record{Step: runbooks.StepClaim, State: Failed, Reason: reason(err)})
		r.report.Advice = append(r.report.Advice, "another Understudy acts on this service as well; see which of the two may go on")
	}
}

// errorType is the type under which an activity's error was classified.
func errorType(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Type()
	}
	return ""
}
