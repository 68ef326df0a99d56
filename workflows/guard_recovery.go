package workflows

import (
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/runbooks"
)

// consider decides about one request and does what was decided.
func (g *guard) consider(ctx workflow.Context, ask Ask) error {
	if last := g.state.Last; last != nil && last.Outcome == OutcomeSuperseded && g.state.Running == nil {
		g.adopt(ctx) // the one that acted may be through by now
	}
	superseded := int64(0)
	if run := g.state.Running; run != nil && ask.Supersede && run.Mode != ModeDrill {
		// First of all: where the service runs, and what the next plan is, is known only once the old one is over.
		superseded = run.Epoch
		g.makeWay(ctx, ask.Trigger.By)
	}
	loaded, err := g.runbook(ctx)
	if err != nil {
		g.decide(ctx, Decision{Event: ask.Trigger.Text, Action: Hold, Reason: "no runbook: " + reason(err)})
		return nil
	}
	active, ok := g.state.Target(loaded.Runbook)
	if !ok {
		d := Decision{Event: ask.Trigger.Text, Action: Hold, Reason: fmt.Sprintf("%s runs on tier %s, which the runbook no longer has; put the tier back", g.state.Service, g.state.Active)}
		g.decide(ctx, d)
		g.page(ctx, loaded, d)
		return nil
	}
	now := workflow.Now(ctx)
	plan := runbooks.NewPlan(loaded.Runbook, active, g.state.failedNow(now)).Only(ask.Tier)
	shown := plan.Hash
	if ask.Force && (ask.Plan != shown || !plan.Tries()) {
		// Force passes the cooldown, and with it what is left out until its end; a plan that was shown is carried out as it is.
		plan = runbooks.NewPlan(loaded.Runbook, active, nil).Only(ask.Tier)
	}
	if ask.Drill {
		ask.Tiers = drillTiers(loaded.Runbook, ask.Tiers)
	}
	if ask.Plan != "" && ask.Plan != plan.Hash && ask.Plan != shown {
		g.decide(ctx, Decision{Event: ask.Trigger.Text, Action: Ignore, Reason: fmt.Sprintf("the plan has changed: %s was shown, now it is %s; look at it again", ask.Plan, plan.Hash)})
		return nil
	}
	d := Decide(g.state, plan, ask, now)
	if superseded != 0 && d.Action == Start {
		d.Reason = fmt.Sprintf("it takes the place of recovery %d, by order of %s", superseded, ask.Trigger.By)
	}
	if d.Action == Look {
		ask.Looked = g.lookAt(ctx, loaded.Runbook, active)
		if d = Decide(g.state, plan, ask, now); d.Action == Start {
			// The alert is the old one: it says nothing about the new active, which was looked at instead.
			ask.Trigger.Kind = TriggerLost
			ask.Trigger.OutageSince = now
		}
	}
	switch d.Action {
	case Start:
		if g.state.Running != nil { // a drill, which makes way and leaves everything as it was
			d.Reason += "; the drill makes way"
			g.makeWay(ctx, "the guard: a recovery is called for")
		}
		return g.launch(ctx, loaded, active, plan, ask, d)
	case Wait, Hold:
		told := g.state.Pending != nil
		pending := ask.Trigger
		g.state.Pending = &pending
		g.decide(ctx, d)
		if !told {
			g.page(ctx, loaded, d) // once: an alert that repeats itself must not page each time
		}
		g.wakeAtCooldown(ctx)
	default:
		g.decide(ctx, d)
	}
	return nil
}

// lookAt looks at the active once, within a second.
func (g *guard) lookAt(ctx workflow.Context, r runbooks.Runbook, active runbooks.Target) *Glance {
	d, err := lookAt(ctx, activities.DiagnoseInput{
		Service: r.Service, Active: active, Health: r.Health, Traffic: r.TrafficOf(active.Name),
	})()
	if err != nil {
		return &Glance{Verdict: runbooks.Unknown, Reason: "it could not be looked at: " + reason(err)}
	}
	verdict, why := runbooks.Judge(d.Evidence, r.Health, 0)
	return &Glance{Verdict: verdict, Reason: why}
}

// launch starts a recovery as a child that outlives the guard's run.
func (g *guard) launch(ctx workflow.Context, loaded activities.LoadRunbookResult, active runbooks.Target, plan runbooks.Plan, ask Ask, d Decision) error {
	s := &g.state
	g.keeper.pause()
	now := workflow.Now(ctx)
	in := RecoveryInput{
		Service: s.Service, Mode: ask.mode(), Tiers: ask.Tiers, Key: s.Key, Trigger: ask.Trigger, Runbook: loaded.Runbook, Active: active, Plan: plan,
		ActiveSince: s.Since, Made: s.Made, DataEpoch: s.DataEpoch, DataKnown: s.DataKnown, Fenced: s.Fenced, Deadline: now.Add(loaded.Runbook.Policy.Deadline.D()),
		SearchAttributes: loaded.SearchAttributes, Console: loaded.Console, Force: ask.Force, GameDay: ask.GameDay, Approved: ask.approves(loaded.Runbook),
	}
	// An id that is taken belongs to a recovery of an earlier engine: the next epoch is free, or the one after it.
	for {
		s.Epoch++
		in.Epoch = s.Epoch
		err := g.startChild(ctx, in, d.Reason)
		if err == nil {
			break
		}
		if !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
			g.keeper.resume()
			return fmt.Errorf("start recovery %d of %s: %w", s.Epoch, s.Service, err)
		}
	}
	if ask.Alone {
		s.Homecomings = append(s.Homecomings, now)
	}
	s.Running = &Running{Epoch: s.Epoch, Mode: in.Mode, Trigger: ask.Trigger, Started: now, Deadline: in.Deadline}
	s.Pending = nil
	d.Epoch = s.Epoch
	g.decide(ctx, d)
	g.watch(ctx, s.Epoch)
	return nil
}

func (g *guard) startChild(ctx workflow.Context, in RecoveryInput, why string) error {
	options := workflow.ChildWorkflowOptions{
		WorkflowID:            RecoveryID(in.Service, in.Epoch),
		WorkflowTaskTimeout:   TaskTimeout,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		Priority:              temporal.Priority{PriorityKey: 1},
		StaticSummary:         cut(fmt.Sprintf("%s: %s", in.Service, plain(why)), 200),
	}
	if in.SearchAttributes {
		options.TypedSearchAttributes = temporal.NewSearchAttributes(
			ServiceKey.ValueSet(in.Service), ModeKey.ValueSet(in.Mode), TriggerKey.ValueSet(in.Trigger.Kind))
	}
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, options), Recovery, in)
	return child.GetChildWorkflowExecution().Get(ctx, nil)
}

// makeWay ends the running recovery: it is asked, given time to clean up, and
// then terminated. The next one starts only after that.
func (g *guard) makeWay(ctx workflow.Context, by string) {
	old := g.state.Running
	workflow.RequestCancelExternalWorkflow(ctx, RecoveryID(g.state.Service, old.Epoch), "")
	_, _ = workflow.AwaitWithTimeout(ctx, supersedeAfter, func() bool { return g.heardEnd != nil && g.heardEnd.Epoch == old.Epoch })
	if end := g.heardEnd; end != nil && end.Epoch == old.Epoch {
		g.takeOver(ctx, *end) // it may have moved the service before it ended
	} else if err := perform(ctx, handOver, "end the recovery before", acts.EndRecovery, activities.EndRecoveryInput{
		Service: g.state.Service, Epoch: old.Epoch, Reason: "superseded by order of " + by,
	}); err != nil {
		g.decide(ctx, Decision{Event: "supersede", Action: Ignore, Reason: "the old recovery could not be terminated: " + reason(err)})
	}
	g.state.Running = nil
}

// watch looks after a running recovery until it is over.
func (g *guard) watch(ctx workflow.Context, epoch int64) {
	workflow.Go(ctx, func(ctx workflow.Context) {
		for {
			gone, err := workflow.AwaitWithTimeout(ctx, lookAfter, func() bool { return g.state.Running == nil || g.state.Running.Epoch != epoch })
			if err != nil || gone {
				return
			}
			g.post(func(ctx workflow.Context) error { return g.lookAfter(ctx, epoch) })
		}
	})
}

// lookAfter asks the engine about the running recovery, and tells people when
// it takes longer than it may.
func (g *guard) lookAfter(ctx workflow.Context, epoch int64) error {
	run := g.state.Running
	if run == nil || run.Epoch != epoch {
		return nil
	}
	status, err := glance(ctx, "look after the recovery", acts.FindRecovery, activities.FindRecoveryInput{Service: g.state.Service, Epoch: epoch})()
	if err == nil && !status.Running {
		result := status.Result
		if result == nil {
			result = &activities.RecoveryResult{Epoch: epoch, Outcome: OutcomeFailed, Active: g.state.Active, Person: true, Reason: "it ended without a result: it was terminated, or failed",
				Fenced: g.state.Fenced, Made: g.state.Made, DataEpoch: g.state.DataEpoch, DataKnown: g.state.DataKnown}
		}
		return g.ended(ctx, *result)
	}
	if workflow.Now(ctx).After(run.Deadline) && !run.DeadlineTold {
		run.DeadlineTold = true
		d := Decision{Event: fmt.Sprintf("recovery %d passes its deadline", epoch), Action: Hold, Epoch: epoch,
			Reason: "it runs since " + clock(run.Started) + "; a person should look", Override: "understudy recover " + g.state.Service + " --force --supersede"}
		g.decide(ctx, d)
		if loaded, err := g.runbook(ctx); err == nil {
			g.page(ctx, loaded, d)
		}
	}
	return nil
}

// ended takes note of a recovery's end: the active, the cooldown, the lock.
func (g *guard) ended(ctx workflow.Context, r activities.RecoveryResult) error {
	s := &g.state
	if s.Running == nil || s.Running.Epoch != r.Epoch {
		return nil // heard of already, or superseded
	}
	now := workflow.Now(ctx)
	run := *s.Running
	s.Running = nil
	s.proved(r.Proven)
	if run.Mode == ModeDrill {
		s.LastDrill = &Ended{Epoch: r.Epoch, Outcome: r.Outcome, Reason: r.Reason, At: now}
		g.decide(ctx, Decision{Event: fmt.Sprintf("drill %d ends", r.Epoch), Action: Ignore, Reason: r.Outcome + ": " + r.Reason, Epoch: r.Epoch})
		g.renew = true
		g.keeper.resume()
		return nil
	}
	s.Last = &Ended{Epoch: r.Epoch, Outcome: r.Outcome, Reason: r.Reason, At: now}
	loaded, err := g.runbook(ctx)
	cooldown := loaded.Runbook.Policy.Cooldown.D()
	if err != nil {
		cooldown = 10 * time.Minute
	}
	if moved(r.Outcome) {
		if !now.Before(s.CooldownUntil) {
			s.Failed = nil
		}
		s.Failed = appendNew(s.Failed, s.Active)
		s.CooldownUntil = now.Add(cooldown)
	}
	g.takeOver(ctx, r)
	if r.Outcome == OutcomeSuperseded {
		g.adopt(ctx)
	}
	if r.Outcome == OutcomeHome {
		s.Failed, s.CooldownUntil = nil, time.Time{}
	}
	g.decide(ctx, Decision{Event: fmt.Sprintf("recovery %d ends", r.Epoch), Action: Ignore, Reason: r.Outcome + ": " + r.Reason, Epoch: r.Epoch})
	g.renew = true
	g.keeper.resume()
	joined := s.Joined
	s.Joined = nil
	if r.Lost != "" {
		return g.consider(ctx, Ask{Trigger: Trigger{
			Kind: TriggerLost, Text: fmt.Sprintf("%s failed after the switch: %s", r.Active, r.Lost), Received: now, OutageSince: now, TraceParent: run.Trigger.TraceParent,
		}, Looked: &Glance{Verdict: runbooks.Dead, Reason: r.Lost}})
	}
	if joined != nil {
		// It may have begun after the recovery's own look. One that has been answered is looked at, and no more.
		return g.consider(ctx, Ask{Trigger: joined.Trigger, Alert: &joined.Alert})
	}
	return nil
}

// takeOver takes over where a recovery left the service.
func (g *guard) takeOver(ctx workflow.Context, r activities.RecoveryResult) {
	s := &g.state
	if r.Active != "" && r.Active != s.Active {
		s.Active, s.Since = r.Active, workflow.Now(ctx)
	}
	s.Fenced, s.Made, s.DataEpoch, s.DataKnown = r.Fenced, r.Made, r.DataEpoch, r.DataKnown
}

// adopt takes over what another Understudy has written down about the service.
// What it has not written yet, because its recovery still runs, is learned later.
func (g *guard) adopt(ctx workflow.Context) {
	s := &g.state
	known, err := glance(ctx, "read the epoch store", acts.ReadEpoch, activities.ReadEpochInput{Service: s.Service})()
	if err != nil || known.Epoch == 0 {
		return
	}
	s.Epoch = max(s.Epoch, known.Epoch)
	if known.Active == "" || known.Active == s.Active {
		return
	}
	s.Active, s.Since, s.Pending, s.Made = known.Active, workflow.Now(ctx), nil, nil // the machine before was not the other one's
	g.findMachine(ctx)
	g.decide(ctx, Decision{Event: "another Understudy acts on " + s.Service, Action: Ignore, Reason: fmt.Sprintf("it has moved the service to %s (epoch %d)", known.Active, known.Epoch)})
}

// moved reports whether an outcome starts a cooldown: something was moved, or
// was tried to be.
func moved(outcome string) bool {
	return outcome == OutcomeRecovered || outcome == OutcomeFailed || outcome == OutcomeAborted || outcome == OutcomeRolledBack
}

// page tells people what the guard alone knows.
func (g *guard) page(ctx workflow.Context, loaded activities.LoadRunbookResult, d Decision) {
	if len(loaded.Runbook.Notify) == 0 {
		return
	}
	g.state.Pages++
	lines := []string{d.Reason}
	if d.Override != "" {
		lines = append(lines, "To do it all the same: "+d.Override)
	}
	news := activities.AnnounceInput{
		Service: g.state.Service, Story: fmt.Sprintf("guard-%s-%d", g.state.Key, g.state.Pages), Seq: 1, Notify: loaded.Runbook.Notify, Final: true,
		Message: chat.Message{Color: chat.Asking, Headline: fmt.Sprintf("%s: %s", g.state.Service, d.Event), Lines: lines},
	}
	g.telling++
	workflow.Go(ctx, func(ctx workflow.Context) {
		// A guard never waits for a chat; what cannot be handed over stays among its decisions.
		_ = perform(ctx, handOver, "tell people", acts.Announce, news)
		g.telling--
	})
}

func appendNew(list []string, item string) []string {
	if slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}
