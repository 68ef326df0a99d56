package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// servicesPerPage bounds how many guards a page asks for everything they know.
	servicesPerPage = 50
	// sparkRuns are so many of the latest recoveries in a sparkline.
	sparkRuns = 12
)

// servicesPage is the first page: every service in a line.
type servicesPage struct {
	Rows []serviceRow
	// Counts say how the services are, the worst first.
	Counts []count
	// Asking are recoveries that wait for a person.
	Asking []triggers.Recovery
	Query  string
	State  string
	// Found is how many there are of those that were looked for; Page is the page of them, from 1.
	Found, Page, Pages int
	Total              int
	// Held reports whether any of them is paused.
	Held bool
}

type count struct {
	State, Tone string
	Count       int
}

// serviceRow is one service in the list.
type serviceRow struct {
	Name, State, Tone, Problem string
	Active, Since              string
	// Running is the recovery that runs.
	Running string
	Paused  *workflows.Pause
	Ready   []mark
	// Proof is when a standby was last proven, and how.
	Proof string
	Chart chart
}

// mark is the readiness of one tier.
type mark struct {
	Tier, Level, Tone, Word string
	// Why is what a person should know first.
	Why string
}

func (c *Console) services(w http.ResponseWriter, r *http.Request) {
	c.showServices(w, r, http.StatusOK, "")
}

// showServices lists the services, and says why what was just ordered was not done.
func (c *Console) showServices(w http.ResponseWriter, r *http.Request, status int, trouble string) {
	var all []triggers.Service
	if err := c.get(r.Context(), "/services", &all); err != nil {
		c.fail(w, r, err)
		return
	}
	query := r.URL.Query()
	number, _ := strconv.Atoi(query.Get("page")) // what is no number is the first page
	body := chooseServices(all, query.Get("q"), query.Get("state"), number)
	var running []triggers.Recovery
	if err := c.get(r.Context(), "/recoveries?outcome=running&limit=50", &running); err == nil { // else the list stands without it
		body.Asking = slices.DeleteFunc(running, func(r triggers.Recovery) bool { return r.Question == "" })
	}
	eachAtOnce(len(body.Rows), func(i int) { c.fill(r.Context(), &body.Rows[i]) })
	c.show(w, r, status, "services", page{Title: "Services", Here: "services", Problem: trouble, Events: base + "/events", Every: 20, Reload: 20, Done: done(r), Body: body})
}

// chooseServices picks those that a person looks for, what needs eyes first.
func chooseServices(all []triggers.Service, query, state string, number int) servicesPage {
	p := servicesPage{Query: query, State: state, Total: len(all)}
	counts := map[string]int{}
	var found []triggers.Service
	for _, s := range all {
		counts[s.State]++
		p.Held = p.Held || s.State == "paused"
		if (state == "" || s.State == state) && strings.Contains(s.Service, strings.ToLower(strings.TrimSpace(query))) {
			found = append(found, s)
		}
	}
	for s, n := range counts {
		p.Counts = append(p.Counts, count{State: s, Tone: stateTone(s), Count: n})
	}
	slices.SortFunc(p.Counts, func(x, y count) int { return cmp.Or(urgency(x.State)-urgency(y.State), cmp.Compare(x.State, y.State)) })
	slices.SortStableFunc(found, func(x, y triggers.Service) int {
		return cmp.Or(urgency(x.State)-urgency(y.State), cmp.Compare(x.Service, y.Service))
	})
	p.Found, p.Pages = len(found), max(1, (len(found)+servicesPerPage-1)/servicesPerPage)
	p.Page = min(max(number, 1), p.Pages)
	found = found[(p.Page-1)*servicesPerPage : min(p.Page*servicesPerPage, len(found))]
	for _, s := range found {
		p.Rows = append(p.Rows, serviceRow{
			Name: s.Service, State: s.State, Tone: stateTone(s.State), Problem: s.Problem, Active: s.Active, Running: s.Running,
		})
	}
	return p
}

// urgency puts first what a person should look at first.
func urgency(state string) int {
	return 1 + slices.Index([]string{"unknown", "recovering", "paused", "away", "cooling down", "ready"}, state)
}

// Other is the query of another page of the same services.
func (p servicesPage) Other(number int) string {
	q := url.Values{"page": {strconv.Itoa(number)}}
	if p.Query != "" {
		q.Set("q", p.Query)
	}
	if p.State != "" {
		q.Set("state", p.State)
	}
	return q.Encode()
}

func (p servicesPage) Next() int { return p.Page + 1 }
func (p servicesPage) Past() int { return p.Page - 1 }

// fill asks for what a line shows besides. What cannot be had is left out: the
// state says already that the guard does not answer.
func (c *Console) fill(ctx context.Context, row *serviceRow) {
	book, _ := c.Library().Lookup(row.Name)
	now := c.Now()
	var detail triggers.ServiceDetail
	if c.get(ctx, "/services/"+url.PathEscape(row.Name), &detail) == nil {
		row.Paused = detail.Guard.Paused
		row.Proof = proofText(detail.Guard.Proofs, now)
		if !detail.Since.IsZero() {
			row.Since = ago(detail.Since, now)
		}
	}
	var ready workflows.ReadinessState
	_ = c.get(ctx, "/services/"+url.PathEscape(row.Name)+"/readiness", &ready)
	row.Ready = marks(book, row.Active, ready)
	row.Chart = newChart(c.recovered(ctx, row.Name, sparkRuns), book.Objectives.RTO.D(), sparkSize)
}

// recovered are the latest recoveries of a service that brought it back.
func (c *Console) recovered(ctx context.Context, service string, most int) (all []triggers.Recovery) {
	q := triggers.Filter{Service: service, Outcome: workflows.OutcomeRecovered, Mode: workflows.ModeLive}.Query()
	q.Set("limit", strconv.Itoa(most))
	_ = c.get(ctx, "/recoveries?"+q.Encode(), &all) // an empty chart says that there is nothing to show
	return all
}

// marks are what was found of each standby, by its worst finding.
func marks(book runbooks.Runbook, active string, ready workflows.ReadinessState) []mark {
	var all []mark
	for _, t := range book.Tiers {
		if t.Name == active {
			continue
		}
		all = append(all, worst(t.Name, ready))
	}
	return all
}

func worst(tier string, ready workflows.ReadinessState) mark {
	m := mark{Tier: tier, Word: "not looked at yet", Tone: toneIdle}
	for _, f := range ready.Findings {
		if f.Tier == tier && gravity(f.Level) > gravity(m.Level) {
			m.Level, m.Tone, m.Word, m.Why = f.Level, levelTone(f.Level), levelWord(f.Level), ""
			if f.Level != activities.LevelOK {
				m.Why = f.What
			}
		}
	}
	return m
}

// gravity orders levels; what is none of them is below all.
func gravity(level string) int {
	return slices.Index([]string{activities.LevelOK, activities.LevelWarn, activities.LevelFail}, level)
}

// proofText says when any standby was proven last.
func proofText(proofs []activities.Proven, now time.Time) string {
	if len(proofs) == 0 {
		return ""
	}
	latest := slices.MaxFunc(proofs, func(x, y activities.Proven) int { return x.At.Compare(y.At) })
	return latest.Tier + ", " + ago(latest.At, now)
}

// atOnce bounds how many questions of one page are under way.
const atOnce = 16

// eachAtOnce does something for each, some at a time.
func eachAtOnce(count int, do func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range count {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(i)
		})
	}
	wg.Wait()
}
