package console

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// historyPerPage is how many recoveries stand on a page.
const historyPerPage = 40

// historyPage lists past and running recoveries.
type historyPage struct {
	Rows   []runRow
	Chart  chart
	Filter filterView
	// Older is the query of the next page; empty where there is none.
	Older string
	// Begun is true where this is not the first page.
	Begun bool
}

// filterView is the form above the list.
type filterView struct {
	Services, Outcomes, Tiers, Modes, Triggers []string
	Service, Outcome, Tier, Mode, Trigger      string
	Since, Until                               string
}

// runRow is a recovery in a list.
type runRow struct {
	ID, Outcome, Tone, Tier, Mode, Trigger, Question string
	Started                                          time.Time
	Ago, RTO, Objective                              string
	Kept                                             bool
}

func (c *Console) history(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := filterView{
		Services: c.Library().Services(), Tiers: []string{runbooks.PrimaryName, runbooks.TierHot, runbooks.TierWarm, runbooks.TierCold, runbooks.TierCrossRegion},
		Outcomes: outcomes, Modes: []string{workflows.ModeLive, workflows.ModeDrill}, Triggers: kinds,
		Service: q.Get("service"), Outcome: q.Get("outcome"), Tier: q.Get("tier"), Mode: q.Get("mode"), Trigger: q.Get("trigger"), Since: q.Get("since"), Until: q.Get("until"),
	}
	ask := f.query()
	ask.Set("limit", strconv.Itoa(historyPerPage))
	if from := q.Get("cursor"); from != "" {
		ask.Set("cursor", from)
	}
	var all []triggers.Recovery
	next, err := c.getPage(r.Context(), "/recoveries?"+ask.Encode(), &all)
	p := page{Title: "History", Here: "history"}
	if err != nil {
		p.Problem = err.Error()
	}
	body := historyPage{Rows: rows(all, c.Now()), Chart: newChart(all, c.objective(f.Service), chartSize), Filter: f, Begun: q.Get("cursor") != ""}
	if values, err := url.ParseQuery(next); err == nil && next != "" {
		older := f.fields()
		older.Set("cursor", values.Get("cursor"))
		body.Older = older.Encode()
	}
	p.Body = body
	status := http.StatusOK
	if err != nil {
		status = statusOf(err)
	} else if !body.Begun {
		p.Events = base + "/events"
	}
	c.show(w, r, status, "history", p)
}

// objective is the promise of a service; 0 where several are shown, each with its own.
func (c *Console) objective(service string) time.Duration {
	book, _ := c.Library().Lookup(service)
	return book.Objectives.RTO.D()
}

// outcomes and kinds are what a person may choose.
var (
	outcomes = []string{
		triggers.Running, workflows.OutcomeRecovered, workflows.OutcomeFailed, workflows.OutcomeHeld, workflows.OutcomeDegraded, workflows.OutcomeAborted, workflows.OutcomeRolledBack,
		workflows.OutcomeFalseAlarm, workflows.OutcomeSelf, workflows.OutcomeHome, workflows.OutcomeStayed, workflows.OutcomeDrilled, workflows.OutcomeDrillFailed, workflows.OutcomeSuperseded,
	}
	kinds = []string{workflows.TriggerAlert, workflows.TriggerPerson, workflows.TriggerHeartbeat, workflows.TriggerWatchdog, workflows.TriggerLost, workflows.TriggerSchedule}
)

// fields are what the form was filled in with.
func (f filterView) fields() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"service": f.Service, "outcome": f.Outcome, "tier": f.Tier, "mode": f.Mode, "trigger": f.Trigger, "since": f.Since, "until": f.Until} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// query is what the API is asked: a day begins at its first second, and ends
// with its last one. What is no day goes to the API as it is, which says so.
func (f filterView) query() url.Values {
	q := f.fields()
	if day, err := time.Parse(time.DateOnly, f.Since); err == nil {
		q.Set("since", day.Format(time.RFC3339))
	}
	if day, err := time.Parse(time.DateOnly, f.Until); err == nil {
		q.Set("until", day.AddDate(0, 0, 1).Format(time.RFC3339))
	}
	return q
}

// rows are recoveries as people read them.
func rows(all []triggers.Recovery, now time.Time) []runRow {
	var out []runRow
	for _, r := range all {
		row := runRow{
			ID: r.ID, Outcome: r.Outcome, Tone: outcomeTone(r.Outcome), Tier: r.Tier, Mode: r.Mode, Trigger: r.Trigger, Question: r.Question,
			Started: r.Started, Ago: ago(r.Started, now),
		}
		if r.RTOSeconds > 0 && r.Mode == workflows.ModeLive {
			row.RTO, row.Kept = span(r.RTOSeconds), keptTone(r, 0) == toneGood
			if objective := promise(r, 0); objective > 0 {
				row.Objective = span(objective)
			}
		}
		out = append(out, row)
	}
	return out
}
