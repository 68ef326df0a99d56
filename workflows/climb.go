package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// climb tries one rung and reports whether the service runs there, verified. A
// rung that fails takes back what it did.
func (r *recovery) climb(ctx workflow.Context, rung runbooks.Rung, verdict runbooks.Verdict) bool {
	foot := r.undo.mark()
	r.current = nil
	if r.try(ctx, rung, verdict) {
		return true
	}
	if ctx.Err() == nil && r.report.Outcome == "" {
		r.unwind(ctx, foot) // the traffic fence stays: the failed active must not come back by itself
		r.report.Active, r.report.Made = r.in.Active.Name, r.in.Made
		r.report.DataEpoch, r.report.DataKnown = r.in.DataEpoch, r.in.DataKnown
	}
	return false
}

// try is the story of one rung.
func (r *recovery) try(ctx workflow.Context, rung runbooks.Rung, verdict runbooks.Verdict) bool {
	r.began = workflow.Now(ctx)
	due := r.began.Add(rung.Within.D())
	tier, _ := r.in.Runbook.TierNamed(rung.Tier)
	// Step 1. A standby that rests is woken, one that does not exist is made.
	if tier.Rests() {
		var ok bool
		if due, ok = r.prepare(ctx, &rung, tier); !ok {
			return false
		}
	} else if tier.Approval != nil {
		// One that runs already is only switched to; where its tier asks for a person's agreement, that is asked first.
		if !r.agreed(ctx, &making{tier: tier}) {
			return false
		}
		due = workflow.Now(ctx).Add(rung.Within.D())
		delete(r.gates, rung.Tier) // what was seen before a person has thought about it is old
	}
	// Step 2. The gate: health, readiness, version, settings of the standby.
	if !r.gate(ctx, rung, verdict) {
		return false
	}
	// Step 3. Proof before traffic, where the standby is held or new, or where the failed one still answers somehow.
	r.ponders = false
	if (rung.Hold || tier.Rests() || verdict != runbooks.Dead) && !r.prove(ctx, rung, verdict) {
		return false
	}
	// Step 4. An alert that has resolved meanwhile: look once more, before anything is changed.
	if r.resolved && r.cameBack(ctx) {
		return false
	}
	if r.current.tainted() {
		return false // its model was hashed meanwhile
	}
	// Step 5. Cut over: pin the failed primary off the traffic, put the standby on it, read back.
	if !r.cutOver(ctx, rung, verdict, due) {
		return false
	}
	// Step 6. Verify through the front door.
	if r.verify(ctx, rung, due) {
		return true
	}
	if ctx.Err() == nil {
		r.undo.entries[len(r.undo.entries)-1] = r.takenOff(rung) // what does not pass gets no traffic, also where the load balancer had moved by itself
	}
	return false
}

// gate refuses a standby that must not be used, with every reason. One that
// answers, and that a self-moving balancer may already have put on the traffic,
// is taken off it again.
func (r *recovery) gate(ctx workflow.Context, rung runbooks.Rung, verdict runbooks.Verdict) bool {
	gate, known := r.gates[rung.Tier]
	if !known {
		var err error
		if gate, err = r.askSlowly(ctx, rung.Target); err != nil {
			r.note(ctx, Record{Step: runbooks.StepGate, Tier: rung.Tier, State: Failed, Reason: "it could not be asked: " + reason(err)})
			return false
		}
	}
	delete(r.gates, rung.Tier) // asked again should the rung be tried again
	rec := Record{Step: runbooks.StepGate, Tier: rung.Tier, State: Done, Reason: "health, version and settings are right", Started: gate.Started, Ended: gate.Ended}
	if len(gate.Notes) > 0 {
		rec.Reason += "; " + strings.Join(gate.Notes, "; ")
	}
	if len(gate.Refusals) > 0 {
		rec.State, rec.Reason = Refused, strings.Join(gate.Refusals, "; ")
	}
	r.note(ctx, rec)
	if len(gate.Refusals) > 0 {
		r.suspectShared(verdict, rung, gate.Finding, join(gate.Refusals))
	}
	r.report.share(&r.mark, PartDecide, gate.Ended)
	// One that the load balancer has chosen, and with which nothing is known to be wrong, is better than nobody.
	if len(gate.Refusals) > 0 && gate.Answers && !gate.Unsure {
		r.takeOut(ctx, rung, rec.Reason)
	}
	return len(gate.Refusals) == 0
}

// askSlowly asks a standby whose health check does not fit into a workflow task.
func (r *recovery) askSlowly(ctx workflow.Context, target runbooks.Target) (activities.Gate, error) {
	return do(ctx, longLook, "ask "+target.Name, acts.CheckStandby, activities.CheckStandbyInput{
		Target: target, Health: r.in.Runbook.Health, Version: r.in.Runbook.Version, Settings: r.in.Runbook.Settings,
	})
}

// prove sends the canary to the standby itself.
func (r *recovery) prove(ctx workflow.Context, rung runbooks.Rung, verdict runbooks.Verdict) bool {
	if r.in.Runbook.Canary == nil {
		return true // its health was asked a moment ago
	}
	shut := r.open(ctx, runbooks.StepProve, rung.Tier, "sending the canary to "+rung.Target.URL)
	r.tell(ctx, r.color(), false)
	proof, err := do(ctx, longLook, "prove "+rung.Tier+" before it has traffic", acts.Prove, r.proveInput(rung.Target.URL, time.Time{}))
	if err != nil {
		shut(Failed, reason(err), proof.Timing)
		return false
	}
	r.report.share(&r.mark, PartVerify, proof.Ended)
	if !proof.Passed {
		shut(Refused, proof.Observation.Detail, proof.Timing)
		r.suspectShared(verdict, rung, proof.Observation.Finding, proof.Observation.Detail)
		r.takeOut(ctx, rung, proof.Observation.Detail)
		return false
	}
	shut(Done, proof.Observation.Detail, proof.Timing)
	r.ponders = proof.Ended.Sub(proof.Started) > activities.ProveAtOnce
	return true
}

// takeOut takes a standby off the traffic that must not have any. It stays out:
// what was found wrong is put back by a person.
func (r *recovery) takeOut(ctx workflow.Context, rung runbooks.Rung, why string) {
	if rung.Hold || r.before == nil {
		return
	}
	if s, ok := r.before.Server(rung.Target.Server); !ok || s.State != traffic.Ready {
		return
	}
	shut := r.open(ctx, runbooks.StepCutOver, rung.Tier, "taking "+rung.Target.Server+" off the traffic")
	result, err := r.set(ctx, rung, traffic.Maint, "out")
	if err != nil {
		shut(Failed, "it could not be taken off the traffic: "+reason(err), result.Timing)
		return
	}
	shut(Done, rung.Target.Server+" is off the traffic, because: "+why, result.Timing)
	r.report.Advice = append(r.report.Advice, fmt.Sprintf("%s was taken off the traffic; once it is mended, put server %s back at the load balancer", rung.Tier, rung.Target.Server))
}

// cameBack looks at the active once more, and ends the recovery where it works again.
func (r *recovery) cameBack(ctx workflow.Context) bool {
	d, err := lookAt(ctx, activities.DiagnoseInput{
		Service: r.in.Service, Active: r.in.Active, Health: r.in.Runbook.Health, Traffic: r.in.Runbook.TrafficOf(r.in.Active.Name),
	})()
	if err != nil {
		return false
	}
	verdict, why := r.judge(d, d.Started)
	if verdict != runbooks.Healthy {
		return false
	}
	r.note(ctx, Record{Step: runbooks.StepDiagnose, State: Done, Reason: "the alert has resolved, and " + why, Started: d.Started, Ended: d.Ended})
	r.end(OutcomeSelf, why)
	return true
}

// cutOver moves the traffic. Its undo is in place before it begins.
func (r *recovery) cutOver(ctx workflow.Context, rung runbooks.Rung, verdict runbooks.Verdict, due time.Time) bool {
	shut := r.open(ctx, runbooks.StepCutOver, rung.Tier, fmt.Sprintf("%s off the traffic, %s on it", r.in.Active.Server, rung.Target.Server))
	source := r.in.Runbook.TrafficOf(r.in.Active.Name)
	r.pinned = &undo{what: r.in.Active.Server + " back as it was", act: func(ctx workflow.Context) error {
		_, err := r.restore(ctx, source, r.in.Active.Server, traffic.Ready)
		return err
	}}
	r.undo.push(r.backAsFound(rung))
	within := max(due.Sub(workflow.Now(ctx)), time.Second)
	in := activities.CutOverInput{
		Effect: r.effect(ctx, "cut-"+rung.Tier, within), Holder: r.report.Recovery,
		From: r.in.Active, To: rung.Target, Health: r.in.Runbook.Health, Source: source, Cut: verdict != runbooks.Dead,
	}
	destination := r.in.Runbook.TrafficOf(rung.Tier)
	if !sameTraffic(source, destination) {
		in.Destination = &destination
	}
	proof := r.proveInput(r.in.Runbook.TrafficOf(rung.Tier).Front, due)
	if in.Prove, r.proof = &proof, nil; r.ponders {
		in.Prove = nil // it would be given up after a second, and go on in the standby beside the next one
	}
	options := switching(source, destination)
	options.ScheduleToCloseTimeout = within
	options.WaitForCancellation = true // an abort undoes it, and must know that it is over
	result, err := do(ctx, options, fmt.Sprintf("pin the failed %s, traffic to %s", r.in.Active.Server, rung.Target.Server), acts.CutOver, in)
	if err != nil {
		shut(Failed, reason(err), result.Timing)
		if errorType(err) == activities.ErrTypeSuperseded {
			r.superseded(reason(err))
		}
		return false
	}
	r.report.Claim, r.claimed = result.Claim, result.Claimed
	r.proof = result.Proof
	r.report.Active, r.report.Fenced = rung.Target.Name, appendNew(r.in.Fenced, r.in.Active.Server)
	r.report.Made = nil
	r.follow(rung)
	what := fmt.Sprintf("%s is pinned off the traffic, %s is on it; read back", r.in.Active.Server, rung.Target.Server)
	if r.movedByItself(rung) {
		what += "; the load balancer had moved by itself"
	}
	if result.Unfenced != "" {
		what = fmt.Sprintf("%s is on the traffic; read back. The load balancer of %s is away (%s): it is told as soon as it is back", rung.Target.Server, r.in.Active.Name, result.Unfenced)
		r.report.Advice = append(r.report.Advice, "the load balancer that "+r.in.Active.Name+" stands behind did not answer; see that it sends nobody there when it comes back")
	}
	if !result.Claimed {
		what += "; " + result.Claim
	}
	shut(Done, what, result.Timing)
	r.report.share(&r.mark, PartFence, result.Fenced)
	r.report.share(&r.mark, PartSwitch, result.Switched)
	return true
}

// follow notes what has moved together with the traffic: the machine, and from
// where on the data is written.
func (r *recovery) follow(rung runbooks.Rung) {
	m := r.current
	if m == nil {
		return // a standby that follows the data by itself goes on writing where its operator lets it
	}
	r.report.Made = m.made
	if r.in.Runbook.Writes(m.tier) {
		r.report.DataEpoch, r.report.DataKnown = r.in.Epoch, true
	}
	r.report.Restored, r.report.RPOSeconds = nil, 0
	for _, d := range m.restored {
		lag := d.Lag(r.in.Trigger.OutageSince).Seconds()
		r.report.Restored = append(r.report.Restored, Recovered{Restored: d, LagSeconds: lag})
		r.report.RPOSeconds = max(r.report.RPOSeconds, lag)
	}
}

// backAsFound brings a rung's server back into the state in which it was found:
// a load balancer that had moved by itself goes on sending it the traffic.
func (r *recovery) backAsFound(rung runbooks.Rung) undo {
	if tier, ok := r.in.Runbook.TierNamed(rung.Tier); ok && tier.Traffic != nil {
		return r.takenOff(rung) // at a load balancer of its own, which was not looked at before
	}
	otherwise := traffic.Ready
	if rung.Hold || r.current != nil {
		otherwise = traffic.Maint
	}
	return undo{what: rung.Target.Server + " back as it was", tier: rung.Tier, act: func(ctx workflow.Context) error {
		_, err := r.restore(ctx, r.in.Runbook.TrafficOf(rung.Tier), rung.Target.Server, otherwise)
		return err
	}}
}

// takenOff takes a rung's server off the traffic.
func (r *recovery) takenOff(rung runbooks.Rung) undo {
	made := r.current
	return undo{what: rung.Target.Server + " off the traffic", tier: rung.Tier, act: func(ctx workflow.Context) error {
		if made != nil && r.before != nil {
			if s, ok := r.before.Server(rung.Target.Server); ok {
				rung.Target.Address = s.Address // the slot no longer points at a machine that goes
			}
		}
		_, err := r.set(ctx, rung, traffic.Maint, "undo")
		return err
	}}
}

// movedByItself reports whether the load balancer already sent everything to
// the standby when it was first looked at.
func (r *recovery) movedByItself(rung runbooks.Rung) bool {
	if r.before == nil {
		return false
	}
	serving := r.before.Serving()
	return len(serving) == 1 && serving[0] == rung.Target.Server
}

// verify wants a good answer through the front door. It is what ends the outage.
func (r *recovery) verify(ctx workflow.Context, rung runbooks.Rung, due time.Time) bool {
	shut := r.open(ctx, runbooks.StepVerify, rung.Tier, "the canary through the front door")
	front := r.in.Runbook.TrafficOf(rung.Tier).Front
	in := r.proveInput(front, due)
	var proof activities.Proof
	var err error
	if r.proof != nil {
		proof = *r.proof
	} else if in.Canary == nil && quick(in.Health) {
		in.Until = time.Time{}
		proof, err = glance(ctx, "ask the front door", acts.Prove, in)()
	}
	if err != nil || !proof.Passed {
		in.Until = due
		r.tell(ctx, r.color(), false)
		proof, err = do(ctx, longLook, "canary through the front door, "+front, acts.Prove, in)
	}
	if err != nil {
		shut(Failed, reason(err), proof.Timing)
		return false
	}
	r.report.share(&r.mark, PartVerify, proof.Ended)
	if !proof.Passed {
		shut(Failed, proof.Observation.Detail, proof.Timing)
		return false
	}
	shut(Done, "through the front door: "+proof.Observation.Detail, proof.Timing)
	r.report.Verified, r.report.Tier = proof.Answered, rung.Tier
	began := r.began
	if began.IsZero() { // the way home climbs nothing
		began = r.report.Started
	}
	r.report.Proven = append(r.report.Proven, activities.Proven{
		Tier: rung.Tier, At: proof.Answered, Seconds: proof.Answered.Sub(began).Seconds(), Epoch: r.in.Epoch, Mode: r.in.Mode,
	})
	r.report.RTOSeconds = max(proof.Answered.Sub(r.in.Trigger.OutageSince).Seconds(), 0)
	if tier, ok := r.in.Runbook.TierNamed(rung.Tier); ok && tier.Objectives != nil && tier.Objectives.RTO > 0 {
		r.report.Objective = tier.Objectives.RTO
	}
	r.tell(ctx, r.color(), false)
	return true
}

// set brings a rung's server into a state, where the rung's load balancer is.
func (r *recovery) set(ctx workflow.Context, rung runbooks.Rung, state traffic.State, act string) (activities.SetTrafficResult, error) {
	options := switching(r.in.Runbook.TrafficOf(rung.Tier))
	options.ScheduleToCloseTimeout = undoWithin
	return do(ctx, options, fmt.Sprintf("%s: %s", rung.Target.Server, state), acts.SetTraffic, activities.SetTrafficInput{
		Effect: r.effect(ctx, act+"-"+rung.Tier, 0), Traffic: r.in.Runbook.TrafficOf(rung.Tier),
		Change: traffic.Change{Set: []traffic.Assignment{{Server: rung.Target.Server, State: state, Address: rung.Target.Address}}},
	})
}

// restore brings a server back into the state in which it was found, or into
// another one where that is not known.
func (r *recovery) restore(ctx workflow.Context, balancer runbooks.Traffic, server string, otherwise traffic.State) (activities.SetTrafficResult, error) {
	state, address := otherwise, ""
	if r.before != nil {
		if s, ok := r.before.Server(server); ok {
			state = s.State
			if r.current != nil && server == r.current.rung.Target.Server {
				address = s.Address // the slot no longer points at a machine that is gone
			}
		}
	}
	options := switching(balancer)
	options.ScheduleToCloseTimeout = undoWithin
	return do(ctx, options, fmt.Sprintf("%s back: %s", server, state), acts.SetTraffic, activities.SetTrafficInput{
		Effect: r.effect(ctx, "restore-"+server, 0), Traffic: balancer,
		Change: traffic.Change{Set: []traffic.Assignment{{Server: server, State: state, Address: address}}},
	})
}
