package workflows

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// finalSyncWithin bounds the wait for the last changes of the active after it was taken off the traffic: Litestream
	// uploads once a second.
	finalSyncWithin = 30 * time.Second
	// replicatedWithin is how long the primary's first changes may take to be replicated, replicatedAgain the pause between
	// two looks. Litestream sends the whole database first; the service serves all the while.
	replicatedWithin = 30 * time.Second
	replicatedAgain  = 2 * time.Second
	// restWithin bounds the wait for what batches have in flight: a chunk of audio is at most nine minutes long, and is
	// transcribed faster than it is spoken. The service serves all the while.
	restWithin = 10 * time.Minute
	// homeWithin bounds each act that keeps nobody waiting, and the pause where a runbook of before says nothing.
	homeWithin = 5 * time.Minute
)

// goHome is the planned way back to the primary. The service is away from its
// users only from the quiesce until the switch, and everything up to the end of
// the confirm window can be taken back: the standby is released last.
func (r *recovery) goHome(ctx workflow.Context) {
	home, _ := r.in.Runbook.TargetNamed(runbooks.PrimaryName)
	rung := runbooks.Rung{Tier: runbooks.PrimaryName, Target: home, Hold: true, Within: runbooks.Duration(homeWithin)}
	r.look(ctx)

	// Step 1. The primary is mended and proven, before anything is touched.
	if !r.gate(ctx, rung, runbooks.Wrong) || !r.prove(ctx, rung, runbooks.Wrong) {
		r.cannotGoHome(ctx, "the primary does not pass: "+r.lastReason())
		return
	}
	r.report.share(&r.mark, PartDecide, workflow.Now(ctx))
	// Step 2. The epoch is recorded: from here on nobody else moves the service.
	if !r.claimFirst(ctx, &making{tier: runbooks.Tier{Name: runbooks.PrimaryName}}) {
		if r.report.Outcome == "" {
			r.cannotGoHome(ctx, r.lastReason())
		}
		return
	}
	// Step 3. The data goes home, where it was written elsewhere meanwhile.
	if r.in.DataKnown && len(r.in.Runbook.DataOf(r.in.Active.Name)) > 0 && !r.dataHome(ctx, home) {
		r.cannotGoHome(ctx, r.lastReason())
		return
	}
	// Step 4. Switch, and verify through the front door.
	if !r.switchHome(ctx, rung) || !r.verify(ctx, rung, workflow.Now(ctx).Add(homeWithin)) {
		r.cannotGoHome(ctx, r.lastReason())
		return
	}
	// Step 5. Provisional until committed; what fails now goes back, because the standby is still there.
	r.settle(ctx, rung)
	if r.report.Outcome != "" || r.report.Active != runbooks.PrimaryName {
		return // stopped, or rolled back
	}
	if r.report.Lost != "" && r.report.DataEpoch == r.in.DataEpoch {
		r.report.Lost = "" // nothing was written at home only: the standby goes on where it was
		r.cannotGoHome(ctx, "the primary failed within the confirm window")
		return
	}
	// Step 6. Release the standby and protect again: the ladder is as it was in good times.
	r.undo.entries, r.pinned = nil, nil
	r.releaseFailed(ctx)
	r.protectAgain(ctx)
	r.protectData(ctx)
	why := fmt.Sprintf("%s is back on its primary, verified through the front door", r.in.Service)
	if r.report.Lost != "" {
		why += "; it failed again within the confirm window"
	}
	r.end(OutcomeHome, why)
}

// cannotGoHome takes everything back: the service stays where it was.
func (r *recovery) cannotGoHome(ctx workflow.Context, why string) {
	if r.stopped(ctx) {
		return
	}
	r.takeBack(ctx)
	r.report.Person = true
	r.end(OutcomeStayed, fmt.Sprintf("%s stays on %s: %s", r.in.Service, r.in.Active.Name, why))
}

// lastReason is why the latest step did not succeed.
func (r *recovery) lastReason() string {
	for i := len(r.report.Timeline) - 1; i >= 0; i-- {
		if rec := r.report.Timeline[i]; rec.State == Refused || rec.State == Failed {
			return rec.Step + ": " + rec.Reason
		}
	}
	return "it is not known why"
}

// look reads the load balancer as it is before the way home.
func (r *recovery) look(ctx workflow.Context) {
	d, err := lookAt(ctx, activities.DiagnoseInput{
		Service: r.in.Service, Active: r.in.Active, Health: r.in.Runbook.Health, Traffic: r.in.Runbook.TrafficOf(r.in.Active.Name),
	})()
	if err == nil {
		r.before = d.View
	}
}

// dataHome stops the writing, waits until the last change is replicated, and
// lets the primary take it over. The rows that the primary wrote before it
// failed, and never replicated, are kept aside there.
func (r *recovery) dataHome(ctx workflow.Context, home runbooks.Target) bool {
	call := r.in.Runbook.Primary.Activate
	if call == nil {
		r.note(ctx, Record{Step: runbooks.StepRestore, Tier: home.Name, State: Refused,
			Reason: "data is written on " + r.in.Active.Name + " since the recovery, and the runbook does not say how the primary takes it over: set primary.activate"})
		return false
	}
	if r.in.Runbook.BatchesOf(r.in.Active.Name) != nil && !r.rest(ctx) {
		return false
	}
	balancer := r.in.Runbook.TrafficOf(r.in.Active.Name)
	r.undo.push(undo{what: r.in.Active.Server + " back on the traffic", act: func(ctx workflow.Context) error {
		_, err := r.put(ctx, balancer, r.in.Active, traffic.Ready, "unquiesce")
		return err
	}})
	shut := r.open(ctx, runbooks.StepQuiesce, r.in.Active.Name, "no more requests to "+r.in.Active.Server)
	result, err := r.put(ctx, balancer, r.in.Active, traffic.Maint, "quiesce")
	if err != nil {
		shut(Failed, reason(err), result.Timing)
		return false
	}
	shut(Done, r.in.Active.Server+" is off the traffic; what it had accepted is answered", result.Timing)

	shut = r.open(ctx, runbooks.StepSync, r.in.Active.Name, "waiting until its last changes are replicated")
	due := workflow.Now(ctx).Add(cmp.Or(r.in.Runbook.Policy.Pause.D(), homeWithin))
	left := func() time.Duration { return max(due.Sub(workflow.Now(ctx)), time.Second) }
	points, err := do(ctx, within(longLook, finalSyncWithin+10*time.Second), "wait for the final sync", acts.AwaitSync, activities.AwaitSyncInput{
		DataInput: activities.DataInput{Data: r.in.Runbook.DataOf(r.in.Active.Name), From: r.in.DataEpoch, Known: true, Before: r.in.Epoch},
		Until:     workflow.Now(ctx).Add(min(finalSyncWithin, left())),
		Service:   r.in.Service, Home: home.Name,
	})
	if err != nil {
		shut(Failed, "the last changes did not arrive: "+reason(err), points.Timing)
		return false
	}
	var arrived []string
	for _, p := range points.Points {
		r.report.Restored = append(r.report.Restored, Recovered{Restored: replica.Restored{Point: p.Point, Path: p.Data.Path}})
		arrived = append(arrived, fmt.Sprintf("%s at %s, changed last at %s", p.Data.Path, p.Point.Position, p.Point.At.UTC().Format(time.TimeOnly)))
	}
	r.report.share(&r.mark, PartSync, points.Ended)
	shut(Done, join(arrived), points.Timing)
	r.learn(points.Pace)

	target := home
	if call.Undo != "" {
		// The service does not wait for it: the primary is off the traffic, and the standby has all the data.
		r.undo.push(undo{what: "the primary goes on with the data that it had before; what it wrote since is kept beside it", slow: true, act: func(ctx workflow.Context) error {
			_, err := do(ctx, within(wakeStandby, homeWithin), "the primary gives the data back", acts.CallStandby, activities.CallStandbyInput{
				Effect: r.effect(ctx, "unhome-data", homeWithin), Target: target, Method: call.Method, Call: call.Undo, From: r.in.DataEpoch, Token: call.Token,
			})
			return err
		}})
	}
	shut = r.open(ctx, runbooks.StepRestore, home.Name, "the primary takes the data over")
	answer, err := do(ctx, within(wakeStandby, left()), "the primary takes the data over", acts.CallStandby, activities.CallStandbyInput{
		Effect: r.effect(ctx, "home", left()), Target: target, Method: call.Method, Call: call.URL, From: r.in.DataEpoch, Token: call.Token,
	})
	if err != nil {
		shut(Failed, "the primary did not take the data over: "+reason(err), answer.Timing)
		return false
	}
	said := fmt.Sprintf("the primary has the data of epoch %d, and writes below epoch %d", r.in.DataEpoch, r.in.Epoch)
	if answer.Said != "" {
		said += ": " + answer.Said
	}
	r.report.share(&r.mark, PartRestore, answer.Ended)
	shut(Done, said, answer.Timing)

	shut = r.open(ctx, runbooks.StepLoad, home.Name, "waiting until "+target.URL+" is ready")
	if ready, err := do(ctx, within(longLook, left()+10*time.Second), "wait until the primary is ready", acts.AwaitReady, activities.AwaitReadyInput{
		Target: target, Health: r.in.Runbook.Health, Until: due,
	}); err != nil {
		shut(Failed, "the primary is not ready with the data: "+reason(err), ready.Timing)
		return false
	}
	r.report.DataEpoch, r.report.DataKnown = r.in.Epoch, true
	r.report.share(&r.mark, PartLoad, workflow.Now(ctx))
	shut(Done, "it is ready with the data", activities.Timing{})
	return true
}

// rest waits until no batch writes on the active any more. Batches see by
// themselves that their service is about to move, and go on where it went.
func (r *recovery) rest(ctx workflow.Context) bool {
	shut := r.open(ctx, runbooks.StepRest, r.in.Active.Name, "batches end what they have in flight")
	result, err := do(ctx, within(longLook, restWithin+time.Minute), "batches end what they have in flight", acts.AwaitRest, activities.AwaitRestInput{
		Service: r.in.Service, Until: workflow.Now(ctx).Add(restWithin),
	})
	switch {
	case err != nil:
		shut(Failed, "it is not known whether batches are at work: "+reason(err), result.Timing)
		return false
	case len(result.Working) > 0:
		shut(Failed, fmt.Sprintf("still at work after %s: %s; cancel or wait for them", restWithin, join(result.Working)), result.Timing)
		return false
	}
	r.report.share(&r.mark, PartRest, result.Ended)
	shut(Done, "no batch is at work; they go on when "+r.in.Service+" has moved", result.Timing)
	return true
}

// switchHome puts the primary on the traffic, and the standby off it.
func (r *recovery) switchHome(ctx workflow.Context, rung runbooks.Rung) bool {
	shut := r.open(ctx, runbooks.StepCutOver, rung.Tier, fmt.Sprintf("%s on the traffic, %s off it", rung.Target.Server, r.in.Active.Server))
	source, destination := r.in.Runbook.TrafficOf(r.in.Active.Name), r.in.Runbook.TrafficOf(rung.Tier)
	// Taken back in the other order: the primary is off before the standby is on, or two would write for a moment.
	r.undo.push(undo{what: r.in.Active.Server + " back on the traffic", act: func(ctx workflow.Context) error {
		_, err := r.put(ctx, source, r.in.Active, traffic.Ready, "back")
		return err
	}})
	r.undo.push(undo{what: rung.Target.Server + " off the traffic again", act: func(ctx workflow.Context) error {
		_, err := r.put(ctx, destination, rung.Target, traffic.Maint, "unhome")
		return err
	}})
	in := activities.CutOverInput{
		Effect: r.effect(ctx, "cut-home", homeWithin), Holder: r.report.Recovery, From: r.in.Active, To: rung.Target, Health: r.in.Runbook.Health, Source: source, Planned: true,
	}
	if !sameTraffic(source, destination) {
		in.Destination = &destination
	}
	options := switching(source, destination)
	options.ScheduleToCloseTimeout = undoWithin
	options.WaitForCancellation = true
	result, err := do(ctx, options, "traffic home to the primary", acts.CutOver, in)
	if err != nil {
		shut(Failed, reason(err), result.Timing)
		if errorType(err) == activities.ErrTypeSuperseded {
			r.superseded(reason(err))
		}
		return false
	}
	r.report.share(&r.mark, PartSwitch, result.Switched)
	shut(Done, rung.Target.Server+" is on the traffic, "+r.in.Active.Server+" off it; read back", result.Timing)
	r.report.Active, r.report.Made = runbooks.PrimaryName, nil
	return true
}

// protectAgain brings the running standbys back to where good times have them:
// a backup that the load balancer may use by itself, or disabled where the
// runbook holds it.
func (r *recovery) protectAgain(ctx workflow.Context) {
	for _, t := range r.in.Runbook.Tiers {
		if t.Provision != nil {
			continue
		}
		target, _ := r.in.Runbook.TargetNamed(t.Name)
		state := traffic.Ready
		if t.Hold || t.Activate != nil {
			state = traffic.Maint
		}
		shut := r.open(ctx, runbooks.StepProtect, t.Name, fmt.Sprintf("%s: %s", t.Server, state))
		if state == traffic.Ready {
			if gate, err := r.askSlowly(ctx, target); err != nil || len(gate.Refusals) > 0 {
				shut(Failed, "it is left off the traffic: "+join(gate.Refusals), gate.Timing)
				continue
			}
		}
		if t.Activate != nil && t.Activate.Undo != "" && t.Name == r.in.Active.Name {
			if _, err := do(ctx, within(wakeStandby, undoWithin), "put "+t.Name+" to rest", acts.CallStandby, activities.CallStandbyInput{
				Effect: r.effect(ctx, "rest-"+t.Name, 0), Target: target, Method: t.Activate.Method, Call: t.Activate.Undo, Token: t.Activate.Token,
			}); err != nil {
				shut(Failed, "it could not be put to rest: "+reason(err), activities.Timing{})
				continue
			}
		}
		result, err := r.put(ctx, r.in.Runbook.TrafficOf(t.Name), target, state, "protect-"+t.Name)
		if err != nil {
			shut(Failed, reason(err), result.Timing)
			continue
		}
		shut(Done, fmt.Sprintf("%s is %s, as in good times", t.Server, state), result.Timing)
	}
	r.report.Fenced = nil
}

// protectData makes sure that what the primary writes from now on is replicated:
// a Litestream that did not start says nothing to anybody, until it is needed.
func (r *recovery) protectData(ctx workflow.Context) {
	data := r.in.Runbook.DataOf(runbooks.PrimaryName)
	if r.report.DataEpoch != r.in.Epoch || len(data) == 0 {
		return // it did not move
	}
	shut := r.open(ctx, runbooks.StepProtect, runbooks.PrimaryName, "waiting until its data is replicated")
	for due := workflow.Now(ctx).Add(replicatedWithin); ; {
		found, err := do(ctx, longLook, "is the primary's data replicated?", acts.LookAtData, activities.DataInput{
			Data: data, From: r.in.Epoch, Known: true, Before: r.in.Epoch + 1,
		})
		if err == nil {
			shut(Done, fmt.Sprintf("its data is replicated below epoch %d", r.in.Epoch), found.Timing)
			return
		}
		if workflow.Now(ctx).After(due) || workflow.Sleep(ctx, replicatedAgain) != nil {
			shut(Failed, reason(err), found.Timing)
			r.report.Person = true
			r.report.Advice = append(r.report.Advice, fmt.Sprintf("what the primary writes is not replicated below epoch %d: see why its Litestream, or whatever replicates its data, does not run", r.in.Epoch))
			return
		}
	}
}

// put brings one server into one state at a load balancer.
func (r *recovery) put(ctx workflow.Context, balancer runbooks.Traffic, target runbooks.Target, state traffic.State, act string) (activities.SetTrafficResult, error) {
	return do(ctx, within(switching(balancer), undoWithin), fmt.Sprintf("%s: %s", target.Server, state), acts.SetTraffic, activities.SetTrafficInput{
		Effect: r.effect(ctx, act, 0), Traffic: balancer,
		Change: traffic.Change{Set: []traffic.Assignment{{Server: target.Server, State: state, Address: target.Address}}},
	})
}

// within bounds an activity with all its retries.
func within(options workflow.ActivityOptions, d time.Duration) workflow.ActivityOptions {
	options.ScheduleToCloseTimeout = d
	options.StartToCloseTimeout = min(options.StartToCloseTimeout, d)
	return options
}

// mayGoHome refuses a failback that makes no sense now.
func (g *guard) mayGoHome(u FailbackUpdate) error {
	s := g.state
	switch {
	case u.By == "" || u.Reason == "":
		return errors.New("a failback needs a name and a reason")
	case !s.away():
		return fmt.Errorf("%s is at home, on its primary", s.Service)
	case s.Running != nil:
		return fmt.Errorf("%s %d of %s is running; wait for its end", kind(s.Running.Mode), s.Running.Epoch, s.Service)
	default:
		return nil
	}
}

func (g *guard) askedHome(ctx workflow.Context, u FailbackUpdate) (RecoverAnswer, error) {
	now := workflow.Now(ctx)
	trigger := Trigger{Kind: TriggerPerson, Text: fmt.Sprintf("%s asks for the way home: %s", u.By, u.Reason), By: u.By, Received: now, OutageSince: now}
	return g.answered(ctx, Ask{Trigger: trigger, Failback: true})
}
