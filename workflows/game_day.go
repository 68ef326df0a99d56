package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// gameDayAsks is how long a person may take to agree to a game day, where the one who asked may not.
	gameDayAsks = 10 * time.Minute
	// startWithin bounds the wait for a primary that was started again: it loads its model.
	startWithin = 10 * time.Minute
)

// stopOnPurpose makes the outage of a game day: the first standby is proven, a
// person agrees, and the primary is really stopped. From there on it is a recovery
// like any other. Where no standby is verified within the limit, or a person
// aborts, the primary is started again and everything else is taken back. It
// reports false where nothing was stopped.
func (r *recovery) stopOnPurpose(ctx workflow.Context) bool {
	day := r.in.Runbook.GameDay
	calledOff := func(why string) bool {
		if !r.stopped(ctx) {
			r.takeBack(ctx)
			r.end(OutcomeStayed, "the game day was called off, and nothing was stopped: "+why)
		}
		return false
	}
	if day == nil {
		return calledOff("the runbook does not say how the primary is stopped: set game_day")
	}
	// Whoever would take over must be able to.
	for _, rung := range r.in.Plan.Rungs {
		if tier, _ := r.in.Runbook.TierNamed(rung.Tier); rung.Refused != "" || tier.Rests() {
			continue
		}
		rung.Hold = true // nothing is taken out of the traffic by looking
		if !r.gate(ctx, rung, runbooks.Healthy) || !r.prove(ctx, rung, runbooks.Healthy) {
			return calledOff(r.lastReason())
		}
		break
	}
	if !r.agreedToGameDay(ctx) {
		return calledOff(r.lastReason())
	}
	// Taken back last of all: before that, the traffic has somewhere to go.
	r.undo.push(undo{what: r.in.Active.Name + " started again", act: func(ctx workflow.Context) error { return r.startPrimary(ctx, "undo") }})
	shut := r.open(ctx, runbooks.StepGameDay, r.in.Active.Name, "stopping "+r.in.Active.URL+" on purpose")
	r.tell(ctx, r.color(), false)
	options := fenceHost
	options.StartToCloseTimeout = day.Stop.Timeout.D() + day.Stop.Confirm.Within.D() + 10*time.Second
	options.WaitForCancellation = true
	result, err := do(ctx, options, "stop "+r.in.Active.Name+" on purpose", acts.FenceHost, activities.FenceHostInput{
		Effect: r.effect(ctx, "game-day-stop", 0), Fence: day.Stop, Target: r.in.Active, Health: r.in.Runbook.Health,
	})
	if err != nil {
		shut(Failed, reason(err), result.Timing)
		if !r.stopped(ctx) {
			r.takeBack(ctx)
			r.report.Person = true
			r.end(OutcomeFailed, "the primary could not be stopped for certain: "+reason(err))
		}
		return false
	}
	shut(Done, fenceText(result), result.Timing)
	// The outage that is measured is this one.
	r.in.Trigger.OutageSince, r.report.Trigger.OutageSince = result.Started, result.Started
	r.mark, r.report.Breakdown = result.Started, nil
	r.limit(ctx, day.Limit.D())
	return true
}

// agreedToGameDay asks for the agreement of an approver, unless the one who has
// asked for the game day is one, and has seen this plan.
func (r *recovery) agreedToGameDay(ctx workflow.Context) bool {
	if r.in.Approved == r.in.Plan.Hash {
		return true
	}
	shut := r.open(ctx, runbooks.StepApprove, r.in.Active.Name, "waiting for an approver")
	answer := r.question(ctx, Question{
		Text:  fmt.Sprintf("may %s of %s really be stopped now, with its users on it?", r.in.Active.Name, r.in.Service),
		Plan:  r.in.Plan.Hash,
		Roles: []string{"approver"},
		Until: workflow.Now(ctx).Add(gameDayAsks),
		Choices: []Choice{
			{Answer: "approve", Leaves: r.in.Active.Name + " is stopped, and the recovery begins; abort starts it again"},
			{Answer: "reject", Leaves: "nothing is stopped"},
		},
	})
	switch {
	case ctx.Err() != nil:
		shut(Failed, "stopped", activities.Timing{})
	case answer == nil:
		shut(Refused, "nobody agreed within "+gameDayAsks.String()+"; silence is never a yes", activities.Timing{})
	case answer.Answer != "approve":
		shut(Refused, fmt.Sprintf("rejected by %s: %s", answer.By, answer.Reason), activities.Timing{})
	default:
		shut(Done, fmt.Sprintf("approved by %s for plan %s: %s", answer.By, r.in.Plan.Hash, answer.Reason), activities.Timing{})
		return true
	}
	return false
}

// limit ends a game day that takes too long, as a person would.
func (r *recovery) limit(ctx workflow.Context, d time.Duration) {
	workflow.Go(ctx, func(ctx workflow.Context) {
		done, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
			Timeout: d, TimerOptions: workflow.TimerOptions{Summary: "the limit of the game day"},
		}, func() bool { return !r.report.Verified.IsZero() || r.report.Outcome != "" })
		if err == nil && !done && r.abort == nil {
			r.abort = &AbortUpdate{By: "the limit of the game day", Reason: "no standby was verified within " + d.String()}
			r.cancel()
		}
	})
}

// startAgain starts the primary of a game day once a standby serves. It stays off
// the traffic: the way home is a person's, or that of failback: auto.
func (r *recovery) startAgain(ctx workflow.Context) {
	if !r.in.GameDay || r.report.Active == r.in.Active.Name {
		return
	}
	if r.report.DataEpoch != r.in.DataEpoch || r.report.DataKnown != r.in.DataKnown {
		r.report.Advice = append(r.report.Advice, "data is written on "+r.report.Active+" now: start "+r.in.Active.Name+" only for the way home, understudy failback "+r.in.Service)
		return
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	shut := r.open(ctx, runbooks.StepGameDay, r.in.Active.Name, "starting "+r.in.Active.Name+" again, off the traffic")
	if err := r.startPrimary(ctx, "after"); err != nil {
		shut(Failed, reason(err), activities.Timing{})
		r.report.Person = true
		r.report.Advice = append(r.report.Advice, "start "+r.in.Active.URL+" by hand; the game day has stopped it")
		return
	}
	shut(Done, r.in.Active.Name+" is well again, and off the traffic; home with understudy failback "+r.in.Service, activities.Timing{})
}

// startPrimary starts the primary, and waits until its health check says so.
func (r *recovery) startPrimary(ctx workflow.Context, why string) error {
	day := r.in.Runbook.GameDay
	options := fenceHost
	options.StartToCloseTimeout = day.Start.Timeout.D() + 10*time.Second
	if _, err := do(ctx, options, "start "+r.in.Active.Name+" again", acts.FenceHost, activities.FenceHostInput{
		Effect: r.effect(ctx, "game-day-start-"+why, 0), Fence: day.Start, Target: r.in.Active, Health: r.in.Runbook.Health,
	}); err != nil {
		return err
	}
	w, err := do(ctx, within(longLook, startWithin+time.Minute), "wait until "+r.in.Active.Name+" is well", acts.AwaitWell, activities.AwaitWellInput{
		ProveInput: activities.ProveInput{Service: r.in.Service, URL: r.in.Active.URL, Health: r.in.Runbook.Health},
		Every:      runbooks.Duration(time.Second), Within: runbooks.Duration(startWithin),
	})
	if err == nil && !w.Well {
		err = fmt.Errorf("%s was started, and is not well after %s: %s", r.in.Active.Name, startWithin, w.Problem)
	}
	return err
}
