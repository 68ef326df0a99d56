package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
)

// listen opens the guard's ears: signals, which are kept with no worker alive,
// for alerts and for the ends of recoveries; updates, which are answered, for
// people; a query for everybody.
func (g *guard) listen(ctx workflow.Context) error {
	// Ends before alerts: what arrives in one workflow task has no order between channels, and an alert that comes
	// right after an end must not join a recovery that is over.
	workflow.Go(ctx, func(ctx workflow.Context) {
		ends := workflow.GetSignalChannel(ctx, EndedSignalName)
		for {
			var result activities.RecoveryResult
			ends.Receive(ctx, &result)
			g.hearEnd(result)
		}
	})
	workflow.Go(ctx, func(ctx workflow.Context) {
		alerts := workflow.GetSignalChannel(ctx, AlertSignalName)
		for {
			var signal AlertSignal
			alerts.Receive(ctx, &signal)
			g.hearAlert(signal)
		}
	})
	return errors.Join(
		workflow.SetQueryHandler(ctx, StateQueryName, func() (GuardState, error) { return g.state, nil }),
		workflow.SetUpdateHandlerWithOptions(ctx, RecoverUpdateName, g.asked, workflow.UpdateHandlerOptions{Validator: g.mayAsk}),
		workflow.SetUpdateHandlerWithOptions(ctx, FailbackUpdateName, g.askedHome, workflow.UpdateHandlerOptions{Validator: g.mayGoHome}),
		workflow.SetUpdateHandlerWithOptions(ctx, DrillUpdateName, g.askedToDrill, workflow.UpdateHandlerOptions{Validator: g.mayDrill}),
		workflow.SetUpdateHandlerWithOptions(ctx, PauseUpdateName, g.pause, workflow.UpdateHandlerOptions{Validator: g.mayPause}),
		workflow.SetUpdateHandlerWithOptions(ctx, ResumeUpdateName, g.resume, workflow.UpdateHandlerOptions{Validator: g.mayResume}),
	)
}

func (g *guard) hearEnd(result activities.RecoveryResult) {
	g.messages++
	g.heardEnd = &result
	g.post(func(ctx workflow.Context) error { return g.ended(ctx, result) })
}

func (g *guard) hearAlert(signal AlertSignal) {
	g.messages++
	g.post(func(ctx workflow.Context) error { return g.alerted(ctx, signal) })
}

// drain takes what has arrived in this very workflow task and was not heard
// yet: what is left in a channel is lost with the run.
func (g *guard) drain(ctx workflow.Context) {
	ends, alerts := workflow.GetSignalChannel(ctx, EndedSignalName), workflow.GetSignalChannel(ctx, AlertSignalName)
	for result := (activities.RecoveryResult{}); ends.ReceiveAsync(&result); result = (activities.RecoveryResult{}) {
		g.hearEnd(result)
	}
	for signal := (AlertSignal{}); alerts.ReceiveAsync(&signal); signal = (AlertSignal{}) {
		g.hearAlert(signal)
	}
}

// alerted deals with the alerts of one webhook. One recovery answers them all.
func (g *guard) alerted(ctx workflow.Context, signal AlertSignal) error {
	now := workflow.Now(ctx)
	var firing *Alert
	for _, a := range signal.Alerts {
		if !a.Firing {
			g.resolved(ctx, a)
			continue
		}
		// The newest alert speaks for all; a late copy of one that has resolved speaks only where no other does.
		if firing == nil || g.late(*firing) && !g.late(a) || g.late(*firing) == g.late(a) && a.StartsAt.After(firing.StartsAt) {
			firing = &a
		}
	}
	if firing != nil {
		trigger := Trigger{
			Kind: TriggerAlert, Text: alertText(*firing), Received: signal.Received, OutageSince: firing.StartsAt,
			TraceParent: signal.TraceParent,
		}
		for _, a := range signal.Alerts {
			if a.Firing {
				trigger.Fingerprints = append(trigger.Fingerprints, a.Fingerprint)
			}
		}
		if run := g.state.Running; run != nil && firing.StartsAt.After(run.Started) && !g.late(*firing) {
			g.state.Joined = &Joined{Trigger: trigger, Alert: *firing}
		}
		if err := g.consider(ctx, Ask{Trigger: trigger, Alert: firing}); err != nil {
			return err
		}
	}
	for _, a := range signal.Alerts {
		known := g.state.note(a, now)
		if a.Firing && g.state.Running != nil {
			known.Epoch = g.state.Running.Epoch
		}
	}
	return nil
}

// resolved tells a running recovery, which may then end as recovered by itself,
// and forgets a request that waits.
func (g *guard) resolved(ctx workflow.Context, a Alert) {
	if g.late(a) {
		return
	}
	if j := g.state.Joined; j != nil && j.Alert.Fingerprint == a.Fingerprint {
		g.state.Joined = nil
	}
	if p := g.state.Pending; p != nil && len(p.Fingerprints) == 1 && p.Fingerprints[0] == a.Fingerprint {
		g.state.Pending = nil
		g.decide(ctx, Decision{Event: alertText(a), Action: Ignore, Reason: "the alert has resolved within the cooldown"})
	}
	if run := g.state.Running; run != nil {
		// Nobody waits for the answer: the recovery may have ended in this moment.
		workflow.SignalExternalWorkflow(ctx, RecoveryID(g.state.Service, run.Epoch), "", ResolvedSignalName, ResolvedSignal{At: a.EndsAt})
	}
}

// late reports whether an alert is a late copy of one that has resolved.
func (g *guard) late(a Alert) bool {
	known := g.state.seen(a)
	return known != nil && known.Resolved
}

func alertText(a Alert) string {
	if a.Summary == "" {
		return "alert " + a.Name
	}
	return fmt.Sprintf("alert %s: %s", a.Name, a.Summary)
}

// mayAsk refuses, without a trace in the history, what makes no sense now.
func (g *guard) mayAsk(ctx workflow.Context, u RecoverUpdate) error {
	s := g.state
	if _, known := s.past(workflow.GetCurrentUpdateInfo(ctx).ID); known {
		return nil // it is answered again
	}
	switch {
	case u.Supersede && u.Plan != "":
		return errors.New("where the next recovery begins is known only once the old one is over: --supersede goes without a plan")
	case u.By == "":
		return errors.New("who asks? a request needs a name")
	case s.Running != nil && !u.Supersede:
		return fmt.Errorf("recovery %d of %s is running; watch it, or take its place with --force --supersede", s.Running.Epoch, s.Service)
	case s.Paused != nil && !u.Force:
		return fmt.Errorf("%s is paused by %s (%s); resume it, or pass the pause with --force", s.Service, s.Paused.By, s.Paused.Reason)
	case u.Supersede && !u.Force:
		return errors.New("--supersede goes with --force")
	default:
		return nil
	}
}

// asked carries out a person's request. A repeated update is answered again.
func (g *guard) asked(ctx workflow.Context, u RecoverUpdate) (RecoverAnswer, error) {
	now := workflow.Now(ctx)
	trigger := Trigger{Kind: TriggerPerson, Text: fmt.Sprintf("%s asks: %s", u.By, u.Reason), By: u.By, Received: now, OutageSince: now, TraceParent: u.TraceParent}
	if u.Trigger != "" {
		trigger.Kind, trigger.Text = u.Trigger, u.Reason
	}
	if !u.Since.IsZero() {
		trigger.OutageSince = u.Since
	}
	return g.answered(ctx, Ask{Trigger: trigger, Force: u.Force, Supersede: u.Supersede, Tier: u.Tier, Plan: u.Plan, Role: u.Role})
}

// answered considers a person's request in its turn, and answers with what was
// decided. An update that was answered before is answered again.
func (g *guard) answered(ctx workflow.Context, ask Ask) (RecoverAnswer, error) {
	g.messages++
	id := workflow.GetCurrentUpdateInfo(ctx).ID
	if answer, ok := g.state.past(id); ok {
		return answer, nil
	}
	done, failed := false, error(nil)
	g.post(func(ctx workflow.Context) error {
		defer func() { done = true }()
		failed = g.consider(ctx, ask)
		return nil
	})
	if err := workflow.Await(ctx, func() bool { return done }); err != nil {
		return RecoverAnswer{}, err
	}
	if failed != nil {
		return RecoverAnswer{}, failed
	}
	last := g.state.Decisions[len(g.state.Decisions)-1]
	answer := RecoverAnswer{Started: last.Action == Start, Epoch: last.Epoch, Reason: last.Reason}
	if answer.Started {
		answer.Recovery = RecoveryID(g.state.Service, last.Epoch)
	}
	g.state.remember(id, answer)
	return answer, nil
}

func (g *guard) mayPause(u PauseUpdate) error {
	if u.By == "" || u.Reason == "" {
		return errors.New("a pause needs a name and a reason: somebody will ask")
	}
	return nil
}

// pause stops recoveries from starting; one that runs goes on.
func (g *guard) pause(ctx workflow.Context, u PauseUpdate) (string, error) {
	g.messages++
	id := workflow.GetCurrentUpdateInfo(ctx).ID
	if left, ok := g.state.pastPause(id); ok {
		return left, nil // a repeated request must not undo what somebody has decided since
	}
	g.state.Paused = &Pause{By: u.By, Reason: u.Reason, Since: workflow.Now(ctx)}
	left := "no recovery will start by itself"
	if run := g.state.Running; run != nil {
		left = fmt.Sprintf("recovery %d goes on; after it none will start by itself", run.Epoch)
	}
	g.state.keep(PastUpdate{ID: id, Left: left})
	g.decide(ctx, Decision{Event: u.By + " pauses", Action: Hold, Reason: u.Reason, Override: "understudy resume " + g.state.Service})
	return left, nil
}

func (g *guard) mayResume(ctx workflow.Context, _ ResumeUpdate) error {
	if _, known := g.state.pastPause(workflow.GetCurrentUpdateInfo(ctx).ID); known {
		return nil // it is answered again
	}
	if g.state.Paused == nil {
		return fmt.Errorf("%s is not paused", g.state.Service)
	}
	return nil
}

// resume ends a pause, and looks again at what was held meanwhile.
func (g *guard) resume(ctx workflow.Context, u ResumeUpdate) (string, error) {
	g.messages++
	id := workflow.GetCurrentUpdateInfo(ctx).ID
	if left, ok := g.state.pastPause(id); ok {
		return left, nil
	}
	g.state.Paused = nil
	g.decide(ctx, Decision{Event: u.By + " resumes", Action: Ignore, Reason: "recoveries start again"})
	held, left := g.state.Pending, "recoveries start again"
	if held != nil {
		left += "; what was held is looked at now: " + held.Text
		g.state.Pending = nil
		g.post(func(ctx workflow.Context) error { return g.consider(ctx, Ask{Trigger: *held}) })
	}
	g.state.keep(PastUpdate{ID: id, Left: left})
	return left, nil
}
