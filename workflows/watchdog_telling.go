package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/chat"
)

// picture words what is known of a silent site.
func (w *watchdog) picture(silent Silent) chat.Message {
	m := chat.Message{Color: chat.Asking, Headline: w.site + " is silent", Fields: []chat.Field{
		{Name: "Last sign of life", Value: w.last(silent)}, {Name: "If a service is dead", Value: w.state.Action},
	}}
	if silent.Look.Blind != "" {
		m.Headline += ", and Understudy cannot see: nothing is done"
		m.Lines = append(m.Lines, silent.Look.Blind)
	}
	failed := 0
	for _, s := range silent.Look.Services {
		line := fmt.Sprintf("%s (%s): %s. %s", s.Service, s.Active, s.Verdict, cut(s.Reason, 300))
		if s.Verdict.Failed() {
			failed++
		}
		switch answer, asked := silent.Asked[s.Service]; {
		case s.Recovering, answer.Started:
			line += " A recovery runs."
		case asked:
			line += " No recovery was started: " + answer.Reason
		case s.Verdict.Failed():
			line += " To bring it back: understudy recover " + s.Service
		}
		m.Lines = append(m.Lines, line)
	}
	switch {
	case silent.Look.Blind != "":
	case len(silent.Look.Services) == 0:
		m.Lines = append(m.Lines, "No service of the runbooks runs there.")
	case failed == 0:
		m.Headline += ", its services are not known to be down"
		m.Lines = append(m.Lines, "Look at the monitoring there: Prometheus, Alertmanager, and the way from them to here.")
	default:
		m.Color, m.Headline = chat.Bad, fmt.Sprintf("%s, %d of %d services are down", m.Headline, failed, len(silent.Look.Services))
	}
	return m
}

// spoken words the end of a silence.
func (w *watchdog) spoken(silent Silent) chat.Message {
	return chat.Message{Color: chat.Good, Headline: w.site + " speaks again", Fields: []chat.Field{{Name: "Silent", Value: fmt.Sprintf(
		"from %s to %s", clock(silent.Since), clock(w.state.Last))}}}
}

func (w *watchdog) last(silent Silent) string {
	if w.state.Last.IsZero() {
		return "none ever came since " + clock(silent.Since) + "; look at the route of the alert that is the site's sign of life"
	}
	return silent.Since.UTC().Format(time.DateTime) + " UTC"
}

// tell hands news over where they are new. A watchdog never waits for a chat.
func (w *watchdog) tell(ctx workflow.Context, silent *Silent, m chat.Message, final bool) {
	text := m.Headline
	for _, s := range silent.Look.Services {
		text += fmt.Sprintf("; %s %s %v %v", s.Service, s.Verdict, s.Recovering, silent.Asked[s.Service].Started)
	}
	if len(silent.Look.Notify) == 0 || text == silent.Told && !final {
		return
	}
	silent.Told = text
	silent.Seq++
	news := activities.AnnounceInput{
		Service: w.site, Story: fmt.Sprintf("silence-%d", silent.Since.Unix()), Seq: silent.Seq, Notify: silent.Look.Notify, Message: m, Final: final,
		Log: []string{clock(workflow.Now(ctx)) + " " + m.Headline},
	}
	w.telling++
	workflow.Go(ctx, func(ctx workflow.Context) {
		// What cannot be handed over is in the state; the next news carries the newer one anyway.
		_ = perform(ctx, handOver, "tell people: "+m.Headline, acts.Announce, news)
		w.telling--
	})
}
