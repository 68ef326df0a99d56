package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// remindEvery is how often people are told that a service is still away from home.
	remindEvery = 24 * time.Hour
	// homeLookEvery is the pause between two health checks of a primary that is awaited.
	homeLookEvery = 5 * time.Second
	// homeAgain is how often it is seen whether the runbook asks for an automatic way home now.
	homeAgain = time.Hour
	// homeMost automatic ways home within homeSpan, and then a person must look: a primary that comes and goes would
	// take its users along.
	homeMost, homeSpan = 2, 24 * time.Hour
)

// mindHome begins to look after the way home, for as long as the service is away:
// people are reminded, and where the runbook says failback: auto, the way is taken.
func (g *guard) mindHome(ctx workflow.Context) {
	workflow.Go(ctx, g.remind)
	workflow.Go(ctx, g.comeHome)
}

// remind tells people once a day that the service is still away, and what that costs.
func (g *guard) remind(ctx workflow.Context) {
	s := &g.state
	for {
		if workflow.Await(ctx, func() bool { return s.away() && !g.renew }) != nil {
			return
		}
		due := s.Since.Add(remindEvery)
		if s.Reminded.After(s.Since) {
			due = s.Reminded.Add(remindEvery)
		}
		since := s.Since
		changed, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
			Timeout: max(due.Sub(workflow.Now(ctx)), 0), TimerOptions: workflow.TimerOptions{Summary: "until people are reminded that it is away from home"},
		}, func() bool { return g.renew || !s.Since.Equal(since) })
		if err != nil {
			return
		}
		if changed {
			continue
		}
		s.Reminded = workflow.Now(ctx)
		if loaded, err := g.runbook(ctx); err == nil {
			g.page(ctx, loaded, awayFor(*s, s.Reminded))
		}
	}
}

// awayFor says for how long a service has been away, and what it costs.
func awayFor(s GuardState, now time.Time) Decision {
	away := now.Sub(s.Since)
	d := Decision{
		Event: fmt.Sprintf("runs on %s since %s", s.Active, s.Since.UTC().Format("2 January 15:04 UTC")), Action: Hold,
		Reason: fmt.Sprintf("it has been away from its primary for %s", days(away)), Override: "understudy failback " + s.Service,
	}
	if s.Made != nil && s.Made.Price > 0 {
		d.Reason += fmt.Sprintf("; its machine has cost about %.2f so far", now.Sub(s.Made.Since).Hours()*s.Made.Price)
	}
	return d
}

func days(d time.Duration) string {
	if n := int(d.Hours() / 24); n > 1 {
		return fmt.Sprintf("%d days", n)
	}
	return fmt.Sprintf("%d hours", int(d.Hours()))
}

// comeHome takes the planned way home by itself, where the runbook asks for that:
// once the primary has been well for long enough, and nothing else goes on.
func (g *guard) comeHome(ctx workflow.Context) {
	s := &g.state
	var since time.Time
	for {
		if workflow.Await(ctx, func() bool { return s.away() && s.Running == nil && !g.renew }) != nil {
			return
		}
		moved := s.Since
		gone := func() bool { return g.renew || s.Running != nil || !s.Since.Equal(moved) }
		wait := func(d time.Duration, why string) bool {
			_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: d, TimerOptions: workflow.TimerOptions{Summary: why}}, gone)
			return err == nil
		}
		loaded, err := g.runbook(ctx)
		if err != nil || loaded.Runbook.Policy.Failback != "auto" {
			if !wait(homeAgain, "until it is seen whether the way home is automatic") {
				return
			}
			continue
		}
		r := loaded.Runbook
		w, err := g.awaitPrimary(ctx, r, since, gone)
		since = w.Since
		switch {
		case ctx.Err() != nil:
			return
		case gone():
			since = time.Time{}
		case err != nil:
			if !wait(lookAfter, "until the primary is looked at again") {
				return
			}
		case w.Well:
			since = time.Time{}
			g.post(func(ctx workflow.Context) error { return g.goHomeAlone(ctx, r) })
			// The decision may be to wait, and the way may lead back here: the primary is given its time again.
			if !wait(r.Policy.FailbackHold.D(), "until the way home may be tried again") {
				return
			}
		}
	}
}

// awaitPrimary waits until the primary has been well for as long as the runbook
// says, or an hour is over, or something else goes on.
func (g *guard) awaitPrimary(ctx workflow.Context, r runbooks.Runbook, since time.Time, gone func() bool) (w activities.Wellness, err error) {
	home, _ := r.TargetNamed(runbooks.PrimaryName)
	ctx, stop := workflow.WithCancel(ctx)
	defer stop()
	done := false
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { done = true }()
		w, err = do(ctx, longLook, "wait until the primary is well for "+r.Policy.FailbackHold.String(), acts.AwaitWell, activities.AwaitWellInput{
			ProveInput: activities.ProveInput{Service: r.Service, URL: home.URL, Canary: r.Canary, Health: r.Health},
			For:        r.Policy.FailbackHold, Every: runbooks.Duration(homeLookEvery), Within: runbooks.Duration(keepFor), Since: since,
		})
	})
	if waited := workflow.Await(ctx, func() bool { return done || gone() }); waited != nil {
		return w, waited
	}
	return w, err
}

// goHomeAlone asks for the way home without a person.
func (g *guard) goHomeAlone(ctx workflow.Context, r runbooks.Runbook) error {
	s, now := &g.state, workflow.Now(ctx)
	s.Homecomings = slices.DeleteFunc(s.Homecomings, func(at time.Time) bool { return now.Sub(at) > homeSpan })
	text := fmt.Sprintf("the primary has been well for %s (failback: auto)", r.Policy.FailbackHold)
	if len(s.Homecomings) >= homeMost {
		d := Decision{Event: text, Action: Hold, Override: "understudy failback " + s.Service,
			Reason: fmt.Sprintf("it has gone that way by itself %d times within a day; a person must look why it does not last", len(s.Homecomings))}
		g.decide(ctx, d)
		if now.Sub(s.Reminded) < remindEvery {
			return nil
		}
		s.Reminded = now
		loaded, err := g.runbook(ctx)
		if err == nil {
			g.page(ctx, loaded, d)
		}
		return nil
	}
	return g.consider(ctx, Ask{Trigger: Trigger{Kind: TriggerSchedule, Text: text, Received: now, OutageSince: now}, Failback: true, Alone: true})
}
