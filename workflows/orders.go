package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// tierOrder is a person's order about the tier that is being tried.
type tierOrder struct {
	StepUpdate
	retry bool
}

// settleOrder is a person's decision about a provisional switch.
type settleOrder struct {
	SettleUpdate
	rollback bool
}

// obey listens to what people may order while a recovery runs.
func (r *recovery) obey(ctx workflow.Context) error {
	return errors.Join(
		workflow.SetUpdateHandlerWithOptions(ctx, RetryUpdateName, func(_ workflow.Context, u StepUpdate) (string, error) {
			return r.orderTier(u, true), nil
		}, workflow.UpdateHandlerOptions{Validator: r.mayOrderTier}),
		workflow.SetUpdateHandlerWithOptions(ctx, SkipUpdateName, func(_ workflow.Context, u StepUpdate) (string, error) {
			return r.orderTier(u, false), nil
		}, workflow.UpdateHandlerOptions{Validator: r.mayOrderTier}),
		workflow.SetUpdateHandlerWithOptions(ctx, CommitUpdateName, func(ctx workflow.Context, u SettleUpdate) (string, error) {
			r.settled(ctx, "commit", settleOrder{SettleUpdate: u})
			return "the service stays on " + r.report.Active, nil
		}, workflow.UpdateHandlerOptions{Validator: r.maySettle}),
		workflow.SetUpdateHandlerWithOptions(ctx, RollbackUpdateName, func(ctx workflow.Context, u SettleUpdate) (string, error) {
			r.settled(ctx, "roll back", settleOrder{SettleUpdate: u, rollback: true})
			return fmt.Sprintf("the service goes back to %s if that passes its gate and the canary; else it stays on %s", r.in.Active.Name, r.report.Active), nil
		}, workflow.UpdateHandlerOptions{Validator: r.mayRollBack}),
	)
}

// settled ends the confirm window by a person's decision, and keeps who made it.
func (r *recovery) settled(ctx workflow.Context, what string, order settleOrder) {
	r.decision = &order
	r.report.Answers = append(r.report.Answers, Answered{
		By: order.By, Question: "the switch to " + r.report.Active + " is provisional", Answer: what, Reason: order.Reason, At: workflow.Now(ctx),
	})
	r.unsettle()
}

func (r *recovery) mayOrderTier(u StepUpdate) error {
	switch {
	case u.By == "" || u.Reason == "":
		return errors.New("an order needs a name and a reason")
	case r.leave == nil:
		return errors.New("no tier is being tried now; what is running cannot be retried or skipped, only aborted")
	case r.ordered != nil:
		return fmt.Errorf("%s has given an order already", r.ordered.By)
	default:
		return nil
	}
}

// orderTier ends the try of the tier; what it did is undone first.
func (r *recovery) orderTier(u StepUpdate, retry bool) string {
	r.ordered = &tierOrder{StepUpdate: u, retry: retry}
	r.leave()
	if retry {
		return "what the tier did is undone, and it is tried from its beginning"
	}
	return "what the tier did is undone, and the next one is tried"
}

func (r *recovery) maySettle(u SettleUpdate) error {
	switch {
	case u.By == "" || u.Reason == "":
		return errors.New("a decision needs a name and a reason")
	case !r.settling:
		return errors.New("there is no provisional switch now")
	case r.decision != nil:
		return fmt.Errorf("%s has decided already", r.decision.By)
	default:
		return nil
	}
}

// mayRollBack refuses what could lose data: rows that were written since the
// switch are not at the old active. That way home is a failback.
func (r *recovery) mayRollBack(u SettleUpdate) error {
	if err := r.maySettle(u); err != nil {
		return err
	}
	switch {
	case r.report.DataEpoch != r.in.DataEpoch || r.report.DataKnown != r.in.DataKnown:
		return fmt.Errorf("data is written on %s since the switch, and %s does not have it; commit, and go home with understudy failback %s", r.report.Active, r.in.Active.Name, r.in.Service)
	case r.report.NoReturn:
		return fmt.Errorf("%s was fenced, which cannot be undone; commit, and go home with understudy failback %s once it is mended", r.in.Active.Name, r.in.Service)
	default:
		return nil
	}
}

// climbOnOrder tries a rung, and again as often as a person orders it.
func (r *recovery) climbOnOrder(ctx workflow.Context, rung runbooks.Rung, verdict runbooks.Verdict) bool {
	for {
		trying, leave := workflow.WithCancel(ctx)
		r.leave, r.ordered, r.trying = leave, nil, rung.Tier
		foot := r.undo.mark()
		won := r.climb(trying, rung, verdict)
		r.leave = nil
		order := r.ordered
		if order == nil || ctx.Err() != nil || r.report.Outcome != "" {
			leave()
			return won
		}
		if won {
			// The order came too late: the tier was through in the same moment, and what works is kept.
			r.note(ctx, Record{Step: runbooks.StepGate, Tier: rung.Tier, State: Noted, Reason: "the order of " + order.By + " came when the tier was through"})
			return true
		}
		r.unwind(ctx, foot)
		r.report.Active, r.report.Made = r.in.Active.Name, r.in.Made
		r.report.DataEpoch, r.report.DataKnown = r.in.DataEpoch, r.in.DataKnown
		what := "skipped"
		if order.retry {
			what = "retried"
		}
		r.note(ctx, Record{Step: runbooks.StepGate, Tier: rung.Tier, State: Noted, Reason: fmt.Sprintf("%s by order of %s: %s", what, order.By, order.Reason)})
		if !order.retry {
			return false
		}
	}
}

// rollBack brings the traffic back to the active before, where that works
// again: it is asked and proven first, as every standby is.
func (r *recovery) rollBack(ctx workflow.Context, rung runbooks.Rung) {
	home := runbooks.Rung{Tier: r.in.Active.Name, Target: r.in.Active, Hold: true, Within: rung.Within}
	stay := func(why string) {
		r.report.Committed = true
		r.report.Person = true
		r.end(OutcomeRecovered, fmt.Sprintf("%s stays on %s: it could not go back, %s", r.in.Service, rung.Tier, why))
	}
	gate, err := r.askSlowly(ctx, home.Target)
	switch {
	case err != nil:
		stay(reason(err))
		return
	case len(gate.Refusals) > 0:
		r.note(ctx, Record{Step: runbooks.StepGate, Tier: home.Tier, State: Refused, Reason: join(gate.Refusals), Started: gate.Started, Ended: gate.Ended})
		stay(join(gate.Refusals))
		return
	case !r.prove(ctx, home, runbooks.Wrong):
		stay("its canary failed")
		return
	}
	shut := r.open(ctx, runbooks.StepCutOver, home.Tier, "back to "+home.Target.Server)
	source := r.in.Runbook.TrafficOf(rung.Tier)
	in := activities.CutOverInput{
		Effect: r.effect(ctx, "rollback", undoWithin), Holder: r.report.Recovery, From: runbooks.Target{Name: rung.Tier, Server: rung.Target.Server, URL: rung.Target.URL},
		To: home.Target, Health: r.in.Runbook.Health, Source: source, Planned: true,
	}
	destination := r.in.Runbook.TrafficOf(home.Tier)
	if !sameTraffic(source, destination) {
		in.Destination = &destination
	}
	options := switching(source, destination)
	options.ScheduleToCloseTimeout = undoWithin
	result, err := do(ctx, options, "traffic back to "+home.Target.Name, acts.CutOver, in)
	if err != nil {
		shut(Failed, reason(err), result.Timing)
		stay(reason(err))
		return
	}
	shut(Done, home.Target.Server+" is on the traffic again, "+rung.Target.Server+" off it; read back", result.Timing)
	r.report.Active, r.report.Fenced = home.Target.Name, r.in.Fenced
	made := r.report.Made
	r.report.Made = r.in.Made
	r.end(OutcomeRolledBack, fmt.Sprintf("back on %s, by order of %s", home.Tier, r.decision.By))
	if made != nil {
		r.current.stopHashing("it was rolled back")
		r.undo.onlyOurs() // the machine, its volumes, its data: nothing of it serves any more
		r.undo.push(r.takenOff(rung))
		r.current = nil
		r.unwind(ctx, 0)
	}
	r.undo.entries, r.pinned = nil, nil
}

func sameTraffic(a, b runbooks.Traffic) bool {
	return a.Kind == b.Kind && a.Backend == b.Backend && a.Zone == b.Zone && a.Record == b.Record && a.File == b.File && a.Front == b.Front
}
