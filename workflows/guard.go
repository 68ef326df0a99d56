package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// GuardInput starts a guard, or carries it over to its next run.
type GuardInput struct {
	Service string `json:"service"`
	// State is empty for a guard that is born.
	State *GuardState `json:"state,omitempty"`
}

// acts is never called: workflows name activities by its method values.
var acts *activities.Activities

// guard is the one long-lived workflow of a service. It owns the service's lock
// (the running recovery itself), its active, cooldown, suppression and pause,
// and never waits for work.
type guard struct {
	state    GuardState
	inbox    []event
	messages int
	// renew is set when a recovery has ended: a good moment for a short history.
	renew bool
	// working is true while an event is taken out of the inbox and not done.
	working bool
	// telling is how many pages are being handed over, and looks for machines that go on.
	telling int
	// waking is the cooldown's end for which a timer runs.
	waking time.Time
	// heardEnd is the latest end that was heard of.
	heardEnd *activities.RecoveryResult
	keeper   *keeper
}

// event is something that the guard has to deal with, in the order of arrival.
type event func(ctx workflow.Context) error

// Guard guards one service for ever.
func Guard(ctx workflow.Context, in GuardInput) error {
	g := &guard{state: GuardState{Service: in.Service}}
	if in.State != nil {
		g.state = *in.State
	}
	g.keeper = &keeper{guard: g}

	// Step 1. Listen, before anything else: an update that finds no handler is lost.
	if err := g.listen(ctx); err != nil {
		return err
	}
	// Step 2. A guard without a past finds out which epoch comes next, and where the service runs.
	if in.State == nil {
		g.beBorn(ctx)
	}
	// Step 3. Take over what was going on in the run before.
	if g.state.Running != nil {
		g.watch(ctx, g.state.Running.Epoch)
	}
	g.wakeAtCooldown(ctx)
	g.findMachine(ctx)
	g.keeper.start(ctx)
	g.mindHome(ctx)

	// Step 4. Deal with one event after the other.
	for {
		if err := workflow.Await(ctx, func() bool { return len(g.inbox) > 0 || g.full(ctx) && workflow.AllHandlersFinished(ctx) }); err != nil {
			return err
		}
		if err := g.work(ctx); err != nil {
			return err
		}
		if g.drain(ctx); g.full(ctx) && workflow.AllHandlersFinished(ctx) {
			break
		}
	}
	// Step 5. Continue as new with one small state, and with nothing left behind.
	return workflow.NewContinueAsNewError(ctx, Guard, GuardInput{Service: in.Service, State: &g.state})
}

// work deals with everything in the inbox.
func (g *guard) work(ctx workflow.Context) error {
	for len(g.inbox) > 0 {
		next := g.inbox[0]
		g.inbox = g.inbox[1:]
		g.working = true
		err := next(ctx)
		g.working = false
		if err != nil {
			return err
		}
	}
	return nil
}

// full reports whether it is time for a new run.
func (g *guard) full(ctx workflow.Context) bool {
	return len(g.inbox) == 0 && !g.working && g.telling == 0 && (g.renew || g.messages >= guardMessages || workflow.GetInfo(ctx).GetContinueAsNewSuggested())
}

func (g *guard) post(e event) { g.inbox = append(g.inbox, e) }

// beBorn gives a guard without state its first epoch: the highest that is
// recorded outside Temporal, or, where there is no such record, the current
// second, which is higher than any count of recoveries ever was.
func (g *guard) beBorn(ctx workflow.Context) {
	s := &g.state
	s.Key = workflow.GetInfo(ctx).FirstRunID
	if len(s.Key) > 8 {
		s.Key = s.Key[:8]
	}
	s.Active, s.Since = runbooks.PrimaryName, workflow.Now(ctx)
	known, err := glance(ctx, "read the epoch store", acts.ReadEpoch, activities.ReadEpochInput{Service: s.Service})()
	if err != nil {
		known = activities.ReadEpochResult{Configured: true, Away: err.Error()}
	}
	switch {
	case known.Epoch > 0:
		s.Epoch, s.Born = known.Epoch, fmt.Sprintf("the epoch store records epoch %d", known.Epoch)
		if known.Active != "" {
			s.Active = known.Active
		}
	case known.Configured && known.Away == "":
		s.Born = "the epoch store has no record of this service"
	default:
		s.Epoch = workflow.Now(ctx).Unix()
		s.Born = "without an epoch store, epochs begin at the current second"
		if known.Away != "" {
			s.Born = "the epoch store is away (" + known.Away + "); epochs begin at the current second"
		}
	}
	g.decide(ctx, Decision{Event: "guard is born", Action: Ignore, Reason: s.Born})
}

// decide keeps a decision, for `understudy why` and the Temporal UI.
func (g *guard) decide(ctx workflow.Context, d Decision) {
	count(ctx, decisionsMetric, map[string]string{"service": g.state.Service, "action": string(d.Action)})
	if d.At.IsZero() {
		d.At = workflow.Now(ctx)
	}
	g.state.decided(d)
	workflow.SetCurrentDetails(ctx, g.details())
}

// runbook loads the runbook as it stands now.
func (g *guard) runbook(ctx workflow.Context) (activities.LoadRunbookResult, error) {
	return glance(ctx, "load the runbook", acts.LoadRunbook, activities.LoadRunbookInput{Service: g.state.Service})()
}

// wakeAtCooldown looks again at what waits for the end of the cooldown.
func (g *guard) wakeAtCooldown(ctx workflow.Context) {
	until := g.state.CooldownUntil
	if g.state.Pending == nil || until.IsZero() || until.Equal(g.waking) {
		return
	}
	g.waking = until
	workflow.Go(ctx, func(ctx workflow.Context) {
		wait := max(until.Sub(workflow.Now(ctx)), 0)
		timer := workflow.NewTimerWithOptions(ctx, wait, workflow.TimerOptions{Summary: "cooldown"})
		if timer.Get(ctx, nil) == nil {
			g.post(g.cooldownOver)
		}
	})
}

func (g *guard) cooldownOver(ctx workflow.Context) error {
	pending := g.state.Pending
	if pending == nil || workflow.Now(ctx).Before(g.state.CooldownUntil) {
		return nil
	}
	g.state.Pending = nil
	trigger := *pending
	trigger.Text = "after the cooldown: " + trigger.Text
	return g.consider(ctx, Ask{Trigger: trigger})
}

// details is what the Temporal UI shows of a living guard.
func (g *guard) details() string {
	s := g.state
	text := fmt.Sprintf("**%s** runs on **%s**, epoch %d\n", s.Service, s.Active, s.Epoch)
	if s.Running != nil {
		text += fmt.Sprintf("- recovery %d is running since %s\n", s.Running.Epoch, clock(s.Running.Started))
	}
	if s.Paused != nil {
		text += fmt.Sprintf("- paused by %s: %s\n", plain(s.Paused.By), plain(s.Paused.Reason))
	}
	for i := len(s.Decisions) - 1; i >= 0 && i >= len(s.Decisions)-5; i-- {
		d := s.Decisions[i]
		text += fmt.Sprintf("- %s %s: %s\n", d.At.UTC().Format(time.DateTime), d.Action, plain(d.Reason))
	}
	return cut(text, 4000)
}
