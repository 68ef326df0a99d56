package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/chat"
)

// outbox hands a recovery's news to its announcement, one after the other,
// beside the recovery's own work.
type outbox struct {
	seq     int64
	waiting []activities.AnnounceInput
	running bool
	// told is how many records of the timeline are in the thread already.
	told int
}

// tell hands over the state as it is now. The recovery goes on at once.
func (r *recovery) tell(ctx workflow.Context, color chat.Color, final bool) {
	if len(r.in.Runbook.Notify) == 0 {
		return
	}
	o := &r.news
	o.seq++
	o.waiting = append(o.waiting, activities.AnnounceInput{
		Service: r.in.Service, Story: fmt.Sprint(r.in.Epoch), Seq: o.seq, Notify: r.in.Runbook.Notify,
		Message: r.message(color), Log: r.log(), Final: final,
	})
	if o.running {
		return
	}
	o.running = true
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		for len(o.waiting) > 0 {
			next := o.waiting[0]
			o.waiting = o.waiting[1:]
			// What cannot be handed over is in the report; the next news carries the newer state anyway.
			_ = perform(ctx, handOver, "tell people: "+next.Message.Headline, acts.Announce, next)
		}
		o.running = false
	})
}

// flush waits until everything is handed over. That is the engine's work, and
// takes milliseconds; how long the chat takes is the announcement's business.
func (o *outbox) flush(ctx workflow.Context) {
	_ = workflow.Await(ctx, func() bool { return !o.running })
}

// message is the state as one message that edits itself.
func (r *recovery) message(color chat.Color) chat.Message {
	m := chat.Message{
		Color:    color,
		Headline: fmt.Sprintf("%s: %s", r.in.Service, cut(r.report.headline(), 140)),
		Fields: []chat.Field{
			{Name: "Recovery", Value: fmt.Sprintf("%d (%s)", r.in.Epoch, r.in.Mode)},
			{Name: "Trigger", Value: cut(r.in.Trigger.Text, 300)},
		},
	}
	add := func(name, value string) {
		if value != "" {
			m.Fields = append(m.Fields, chat.Field{Name: name, Value: value})
		}
	}
	add("Verdict", r.report.Verdict)
	if r.report.Outcome != OutcomeFailed {
		add("Runs on", r.report.Active)
	}
	for _, rung := range r.in.Plan.Rungs {
		if m := r.makings[rung.Tier]; m != nil && m.booting != "" {
			add("Boot of "+rung.Tier, m.booting)
		}
	}
	if !r.report.Verified.IsZero() {
		add("Recovery time", fmt.Sprintf("%.1f s", r.report.RTOSeconds))
	}
	if r.report.Outcome != "" {
		m.Lines = append(m.Lines, r.report.Reason)
	}
	m.Lines = append(m.Lines, r.report.Advice...)
	for _, a := range r.report.Answers {
		m.Lines = append(m.Lines, cut(fmt.Sprintf("Decided: %s, by %s at %s", a.Answer, a.By, a.At.UTC().Format("15:04:05 UTC")), 300))
	}
	m.Actions = r.actions()
	if r.in.Console != "" {
		id := fmt.Sprintf("%s-%d", r.in.Service, r.in.Epoch)
		m.Links = append(m.Links, chat.Link{Text: "Details", URL: r.in.Console + "/recoveries/" + id})
		if r.report.Outcome != "" {
			m.Links = append(m.Links, chat.Link{Text: "Report", URL: r.in.Console + "/api/v1/recoveries/" + id + "/report?format=html"})
		}
	}
	return m
}

// actions are the buttons for what people may decide now: the open question,
// the provisional switch, and the end of it all. Each is bound to what the
// message shows; the recovery has the last word when one comes back.
func (r *recovery) actions() []chat.Action {
	if r.report.Outcome != "" || r.abort != nil {
		return nil
	}
	id := fmt.Sprintf("%s-%d", r.in.Service, r.in.Epoch)
	var all []chat.Action
	add := func(text string, style chat.Style, leaves string, c chat.Choice) {
		c.Recovery = id
		all = append(all, chat.Action{ID: fmt.Sprintf("%s-%d", c.Verb, len(all)), Text: text, Style: style, Value: c.Value(), Leaves: cut(leaves, 280)})
	}
	if q := r.report.Question; q != nil {
		for i, c := range q.Choices {
			style := chat.Plain
			if i == 0 {
				style = chat.Primary
			}
			add(c.Answer, style, c.Leaves, chat.Choice{Verb: chat.Answer, Question: q.ID, Plan: q.Plan, Answer: c.Answer})
		}
	}
	if r.settling && r.decision == nil {
		add("commit", chat.Primary, r.in.Service+" stays on "+r.report.Active, chat.Choice{Verb: chat.Commit})
		if r.mayRollBack(SettleUpdate{By: "somebody", Reason: "asked"}) == nil {
			add("roll back", chat.Danger, r.in.Service+" goes back to "+r.in.Active.Name+" if that passes its gate and the canary", chat.Choice{Verb: chat.Rollback})
		}
	}
	add("abort", chat.Danger, r.leaves(), chat.Choice{Verb: chat.Abort})
	return all
}

// log is what happened since the last news.
func (r *recovery) log() []string {
	var lines []string
	if id := traceID(r.in.Trigger.TraceParent); id != "" && r.news.seq == 1 {
		lines = append(lines, "trace "+id)
	}
	for ; r.news.told < len(r.report.Timeline); r.news.told++ {
		rec := r.report.Timeline[r.news.told]
		if rec.State == InProgress {
			break // told once it is known how it ended
		}
		tier := ""
		if rec.Tier != "" {
			tier = " (" + rec.Tier + ")"
		}
		lines = append(lines, fmt.Sprintf("%s %s%s: %s. %s", rec.Started.UTC().Format("15:04:05.000"), rec.Step, tier, rec.State, rec.Reason))
	}
	return lines
}

// traceID is the trace of a W3C traceparent, by which logs and traces elsewhere
// are found.
func traceID(parent string) string {
	if parts := strings.Split(parent, "-"); len(parts) == 4 {
		return parts[1]
	}
	return ""
}
