package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/chat"
)

const (
	// deafAgain is the pause where the process that was asked takes no alerts; another one may.
	deafAgain = 10 * time.Second
	// watchdogMessages is how many messages and looks a watchdog takes before it continues as new.
	watchdogMessages = 1000
)

// lookAtSite: two tries of each service's health check, from everywhere at once, and again after a lost worker.
var lookAtSite = func() workflow.ActivityOptions {
	options := longLook
	options.StartToCloseTimeout, options.ScheduleToCloseTimeout = 2*time.Minute, 5*time.Minute
	return options
}()

// watches is never called: workflows name activities by its method values.
var watches *activities.Watching

// watchdog is the dead-man's switch of one site: where signs of life cease, it
// looks for itself, and then pages or asks for recoveries.
type watchdog struct {
	site            string
	state           WatchdogState
	signs, silences workflow.ReceiveChannel
	// timer runs until wake.
	timer workflow.Future
	wake  time.Time
	// telling is how many pieces of news are being handed over.
	telling  int
	messages int
	gone     bool
}

// Watchdog watches over one site for as long as the site file names it.
func Watchdog(ctx workflow.Context, in WatchdogInput) error {
	w := &watchdog{
		site: in.Site, state: in.State,
		signs: workflow.GetSignalChannel(ctx, SignSignalName), silences: workflow.GetSignalChannel(ctx, SilenceSignalName),
	}
	if err := workflow.SetQueryHandler(ctx, StateQueryName, func() (WatchdogState, error) { return w.state, nil }); err != nil {
		return err
	}
	for !w.gone && !w.full(ctx) {
		// Step 1. Wait for a sign, for the word that there was none, or for the time when there should have been one.
		if err := w.wait(ctx); err != nil {
			return err
		}
		expired := w.state.expired(workflow.Now(ctx))
		w.state.Word = false
		if !expired {
			continue
		}
		// Step 2. Make sure that somebody has listened all the time.
		if !w.confirm(ctx) {
			continue
		}
		// Step 3. Look for ourselves, act by the site file, and tell people.
		if err := w.look(ctx); err != nil {
			return err
		}
	}
	// Step 4. Leave no news behind, and take no signal along unread.
	if err := workflow.Await(ctx, func() bool { return w.telling == 0 }); err != nil {
		return err
	}
	w.drain(ctx)
	if w.gone {
		return nil
	}
	return workflow.NewContinueAsNewError(ctx, Watchdog, WatchdogInput{Site: w.site, State: w.state})
}

// wait waits until something was heard, or it is time to look at the clock. A
// timer that runs longer than needed is not cancelled for each sign of life: when
// it fires, the next one is set.
func (w *watchdog) wait(ctx workflow.Context) error {
	due := w.state.due(workflow.Now(ctx))
	if !due.IsZero() && (w.timer == nil || due.Before(w.wake)) {
		w.wake = due
		w.timer = workflow.NewTimerWithOptions(ctx, max(due.Sub(workflow.Now(ctx)), 0), workflow.TimerOptions{Summary: cut("no sign of life of "+w.site, 200)})
	}
	var err error
	selector := workflow.NewSelector(ctx)
	selector.AddReceive(w.signs, func(workflow.ReceiveChannel, bool) {})
	selector.AddReceive(w.silences, func(workflow.ReceiveChannel, bool) {})
	selector.AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) { err = ctx.Err() })
	if w.timer != nil {
		selector.AddFuture(w.timer, func(f workflow.Future) {
			w.timer = nil
			err = f.Get(ctx, nil)
		})
	}
	selector.Select(ctx)
	w.drain(ctx)
	return err
}

// drain takes in every signal that has come.
func (w *watchdog) drain(ctx workflow.Context) {
	for {
		var sign SignOfLife
		var silence SilenceSignal
		switch {
		case w.signs.ReceiveAsync(&sign):
			w.sign(ctx, sign)
		case w.silences.ReceiveAsync(&silence):
			w.state.Word = true
		default:
			return
		}
		w.messages++
	}
}

// sign takes in a sign of life. One that is older than what is known changes nothing.
func (w *watchdog) sign(ctx workflow.Context, sign SignOfLife) {
	s := &w.state
	s.Silence, s.Action = sign.Silence, sign.Action
	s.Listening = latest(s.Listening, sign.Listening)
	if !sign.At.After(s.Last) {
		return
	}
	s.Last = sign.At
	if silent := s.Silent; silent != nil {
		s.Silent = nil
		if silent.Told != "" {
			w.tell(ctx, silent, w.spoken(*silent), true)
		}
	}
}

// full reports whether it is time for a new run.
func (w *watchdog) full(ctx workflow.Context) bool {
	return w.messages >= watchdogMessages || workflow.GetInfo(ctx).GetContinueAsNewSuggested()
}

// confirm asks a process that takes alerts. After our own downtime nobody has
// listened for a while, and that is no silence: a whole one must pass first.
func (w *watchdog) confirm(ctx workflow.Context) bool {
	s := &w.state
	heard, err := glance(ctx, "ask who listens", watches.HeardOf, activities.HeardOfInput{Site: w.site})()
	switch {
	case err != nil || heard.Deaf:
		_ = workflow.NewTimerWithOptions(ctx, deafAgain, workflow.TimerOptions{Summary: "nobody who takes alerts has answered"}).Get(ctx, nil)
		w.messages++
		return false
	case heard.Gone:
		w.gone = true
		if silent := s.Silent; silent != nil && silent.Told != "" {
			w.tell(ctx, silent, chat.Message{Headline: w.site + " is not watched over any more"}, true)
		}
		return false
	}
	if heard.Last.After(s.Last) {
		w.sign(ctx, SignOfLife{At: heard.Last, Listening: heard.Listening, Silence: s.Silence, Action: s.Action})
	}
	s.Listening = latest(s.Listening, heard.Listening)
	// A process that has just begun to listen ends no silence that was found before.
	return s.Silent != nil || workflow.Now(ctx).Sub(s.heardOf()) >= s.Silence.D()
}

// look looks at the silent site, acts by the site file, and tells people.
func (w *watchdog) look(ctx workflow.Context) error {
	s := &w.state
	if s.Silent == nil {
		s.Silent = &Silent{Since: s.Last}
		if s.Last.IsZero() {
			s.Silent.Since = s.Listening
		}
	}
	silent := s.Silent
	if silent.Asked == nil {
		silent.Asked = map[string]activities.AskForRecoveryResult{}
	}
	found, err := do(ctx, lookAtSite, "look at the silent site "+w.site, watches.LookAtSite, activities.LookAtSiteInput{
		Site: w.site, Since: silent.Since, Never: s.Last.IsZero(),
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		found = activities.SiteLook{Blind: "the look failed: " + reason(err), Notify: silent.Look.Notify}
	}
	w.messages++
	silent.Looked, silent.Looks, silent.Look = workflow.Now(ctx), silent.Looks+1, found
	if w.drain(ctx); s.Silent != silent {
		return nil // it has spoken meanwhile
	}
	if asks := w.asks(*silent); len(asks) > 0 {
		answers, err := do(ctx, lookAtSite, fmt.Sprintf("ask for %d recoveries", len(asks)), watches.AskForRecoveries, activities.AskForRecoveriesInput{Asks: asks})
		for i, ask := range asks {
			answer := activities.AskForRecoveryResult{}
			if err != nil {
				answer.Reason = "it could not be asked for: " + reason(err)
			} else if i < len(answers) {
				answer = answers[i]
			}
			silent.Asked[ask.Service] = answer
		}
	}
	w.drain(ctx)
	if s.Silent == silent {
		w.tell(ctx, silent, w.picture(*silent), false)
	}
	return nil
}

// asks are the requests for recoveries that a look calls for. A recovery that was
// started for this silence has its own life, and is not asked for again.
func (w *watchdog) asks(silent Silent) []activities.AskForRecoveryInput {
	var asks []activities.AskForRecoveryInput
	for _, service := range toRecover(silent.Look, w.state.Action) {
		if silent.Asked[service.Service].Started {
			continue
		}
		asks = append(asks, activities.AskForRecoveryInput{
			Service: service.Service, ID: fmt.Sprintf("%s/%s/%d/%d", WatchdogID(w.site), service.Service, silent.Since.Unix(), silent.Looks),
			Since: silent.Since, Reason: fmt.Sprintf("site %s is silent since %s; %s: %s", w.site, clock(silent.Since), service.Verdict, service.Reason),
		})
	}
	return asks
}
