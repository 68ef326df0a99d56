package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/workflows"
)

// recoveryPage is one recovery, while it runs and afterwards.
type recoveryPage struct {
	ID, Service, Outcome, Tone string
	// Headline is the state in one sentence.
	Headline  string
	Over      bool
	Head      head
	Decide    decisions
	Checks    []checkGroup
	Fall      waterfall
	Breakdown breakdown
	Timeline  []timelineRow
	Answers   []workflows.Answered
	Seen      []seen
	Restored  []string
	Drilled   []workflows.Practice
	Advice    []string
	// Plan is the hash of the plan that is carried out.
	Plan string
}

// head are the figures at the top.
type head struct {
	Trigger, Verdict, From, Active string
	Started, Ended, Outage         time.Time
	// RTO is how long the service was gone, against Objective; Kept whether that was promised.
	RTO, Objective string
	Kept           bool
	// Ticking is true while the service is still gone: the seconds run.
	Ticking bool
	RPO     string
	Cost    string
	Machine string
	Claim   string
	Link    string
}

// seen is what one observer saw.
type seen struct{ Who, What, Detail string }

// timelineRow is one step as it went.
type timelineRow struct {
	At                              time.Time
	Offset                          string
	Step, Tier, State, Tone, Reason string
	Took                            string
}

// decisions are what a person may decide now.
type decisions struct {
	ID       string
	Question *questionView
	Verbs    []verbView
}

// questionView is what a recovery asks.
type questionView struct {
	ID, Text, Plan string
	Choices        []workflows.Choice
	Until          time.Time
	// Mine reports whether the person's role may answer, Roles which may.
	Mine  bool
	Roles string
}

// verbView is an order that a recovery takes now.
type verbView struct{ Verb, Label, Leaves, Tone string }

func (c *Console) recovery(w http.ResponseWriter, r *http.Request) {
	c.showRecovery(w, r, http.StatusOK, "")
}

// showRecovery shows one recovery, and why what was just ordered was not done.
func (c *Console) showRecovery(w http.ResponseWriter, r *http.Request, status int, trouble string) {
	id := r.PathValue("id")
	var detail triggers.RecoveryDetail
	if err := c.get(r.Context(), "/recoveries/"+url.PathEscape(id), &detail); err != nil {
		c.fail(w, r, err)
		return
	}
	body := viewRecovery(detail, access.Of(r.Context()).Role, c.Now())
	p := page{Title: id + ": " + body.Outcome, Here: "history", Problem: trouble, Done: done(r), Body: body}
	if !body.Over {
		p.Here, p.Reload = "services", 5
		if len(body.Decide.Verbs) > 0 {
			p.Reload = 30 // without a script whoever writes a reason needs the time
		}
		p.Events = base + "/recoveries/" + url.PathEscape(id) + "/events"
	}
	c.show(w, r, status, "recovery", p)
}

// viewRecovery is a recovery as somebody with a role reads it.
func viewRecovery(d triggers.RecoveryDetail, role access.Role, now time.Time) recoveryPage {
	r := d.Report
	listed := triggers.Listed(r)
	p := recoveryPage{
		ID: d.ID, Service: r.Service, Outcome: listed.Outcome, Tone: outcomeTone(listed.Outcome), Headline: headline(r), Over: r.Outcome != "" && !r.Ended.IsZero(),
		Head: viewHead(r, d.Link, now), Decide: viewDecisions(d, role), Checks: checklist(r), Fall: newWaterfall(r, now), Breakdown: newBreakdown(r),
		Answers: r.Answers, Drilled: r.Drilled, Advice: r.Advice, Plan: r.Plan.Hash,
	}
	if r.Trigger.Kind == workflows.TriggerPerson && r.Trigger.By != "" {
		p.Answers = slices.Insert(slices.Clone(p.Answers), 0, workflows.Answered{By: r.Trigger.By, Answer: "start", Question: r.Trigger.Text, At: r.Trigger.Received})
	}
	for _, rec := range r.Timeline {
		row := timelineRow{At: rec.Started, Step: rec.Step, Tier: rec.Tier, State: rec.State, Tone: recordTone(rec.State), Reason: rec.Reason}
		row.Offset = "+" + span(max(0, rec.Started.Sub(r.Started).Seconds()))
		if rec.Ended.After(rec.Started) {
			row.Took = span(rec.Ended.Sub(rec.Started).Seconds())
		}
		p.Timeline = append(p.Timeline, row)
	}
	p.Seen = observations(r.Evidence)
	for _, data := range r.Restored {
		p.Restored = append(p.Restored, fmt.Sprintf("%s, from epoch %d at %s: %s behind the outage", data.Path, data.Epoch, data.Position, span(data.LagSeconds)))
	}
	for _, lost := range r.InFlight {
		p.Restored = append(p.Restored, "batch "+workflows.LostText(lost))
	}
	return p
}

// headline is the state in one sentence.
func headline(r workflows.Report) string {
	switch {
	case r.Question != nil:
		return "It waits for a person."
	case r.Outcome != "" && r.Reason != "":
		return strings.TrimSuffix(r.Reason, ".") + "."
	case r.Outcome != "":
		return strings.ToUpper(r.Outcome[:1]) + r.Outcome[1:] + "."
	case r.Mode == workflows.ModeDrill:
		return "A drill: nothing here gets any traffic."
	case r.Mode == workflows.ModeFailback && r.Verified.IsZero():
		return fmt.Sprintf("On the way home from %s.", r.From)
	case !r.Verified.IsZero():
		return fmt.Sprintf("%s runs on %s, verified, and is watched until the switch is committed.", r.Service, r.Active)
	case r.Verdict != "":
		return fmt.Sprintf("%s on %s is %s; a standby is brought up.", r.Service, r.From, strings.ToLower(r.Verdict))
	default:
		return fmt.Sprintf("Looking at %s on %s.", r.Service, r.From)
	}
}

// Still is the head without what ticks: the script counts the seconds itself.
func (h head) Still() head {
	if h.Ticking {
		h.RTO = ""
	}
	return h
}

func viewHead(r workflows.Report, link string, now time.Time) head {
	h := head{
		Trigger: r.Trigger.Text, Verdict: r.Verdict, From: r.From, Active: r.Active, Started: r.Started, Ended: r.Ended,
		Outage: r.Trigger.OutageSince, Claim: r.Claim, Link: link,
	}
	if h.Outage.IsZero() {
		h.Outage = r.Started
	}
	objective := r.Objective.D()
	if objective > 0 {
		h.Objective = span(objective.Seconds())
	}
	switch {
	case r.Mode != workflows.ModeLive:
	case r.RTOSeconds > 0:
		h.RTO, h.Kept = span(r.RTOSeconds), objective == 0 || r.RTOSeconds <= objective.Seconds()
	case !r.Verified.IsZero():
		gone := r.Verified.Sub(h.Outage)
		h.RTO, h.Kept = span(gone.Seconds()), objective == 0 || gone <= objective
	case r.Outcome == "":
		gone := now.Sub(h.Outage)
		h.RTO, h.Ticking, h.Kept = span(gone.Seconds()), true, objective == 0 || gone <= objective
	}
	if r.RPOSeconds > 0 {
		h.RPO = span(r.RPOSeconds)
	}
	if m := r.Made; m != nil {
		h.Machine = m.Machine.ID
		if m.Where != "" {
			h.Machine += ", " + m.Where
		}
		if m.Price > 0 {
			until := now
			if !r.Ended.IsZero() {
				until = r.Ended
			}
			h.Cost = fmt.Sprintf("%.2f so far, %.2f an hour", m.Price*until.Sub(m.Since).Hours(), m.Price)
		}
	}
	return h
}

// viewDecisions are what somebody with a role may decide now.
func viewDecisions(d triggers.RecoveryDetail, role access.Role) decisions {
	out := decisions{ID: d.ID}
	if q := d.Report.Question; q != nil && d.Report.Outcome == "" {
		out.Question = &questionView{ID: q.ID, Text: q.Text, Plan: q.Plan, Choices: q.Choices, Until: q.Until, Roles: strings.Join(q.Roles, " or "), Mine: mayAnswer(role, q.Roles)}
	}
	if !role.Includes(access.Responder) {
		return out
	}
	for _, v := range d.Verbs {
		if v.Verb != "answer" {
			out.Verbs = append(out.Verbs, verbView{Verb: v.Verb, Label: verbLabel(v.Verb), Leaves: v.Leaves, Tone: map[string]string{"commit": toneGood, "abort": toneBad}[v.Verb]})
		}
	}
	return out
}

// mayAnswer reports whether a role is one of those that a question takes, or includes one.
func mayAnswer(role access.Role, wanted []string) bool {
	if !role.Includes(access.Responder) {
		return false
	}
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return w != "" && role.Includes(access.Role(w)) })
}

func verbLabel(verb string) string {
	switch verb {
	case "rollback":
		return "Roll back"
	case "retry":
		return "Retry tier"
	case "skip":
		return "Skip tier"
	default:
		return strings.ToUpper(verb[:1]) + verb[1:]
	}
}

// observations are the evidence that was acted upon.
func observations(e runbooks.Evidence) (all []seen) {
	add := func(o runbooks.Observation, what string) {
		if o.Finding != "" {
			all = append(all, seen{Who: what, What: string(o.Finding), Detail: o.Detail})
		}
	}
	add(e.Own, "own probe")
	for _, o := range e.Others {
		add(o, o.Domain)
	}
	if e.Canary != nil {
		add(*e.Canary, "canary")
	}
	if e.OwnViewFails != "" {
		all = append(all, seen{Who: "Understudy", What: "does not trust its own view", Detail: e.OwnViewFails})
	}
	return all
}
