package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// whyShown are so many of the guard's latest decisions on a service's page.
	whyShown = 12
	// runsShown are so many of its latest recoveries.
	runsShown = 10
)

// servicePage is one service.
type servicePage struct {
	Name, State, Tone, Problem string
	Active, Since              string
	Running                    string
	Away                       bool
	Paused                     *workflows.Pause
	Pending                    string
	Cooldown                   time.Time
	Objective                  string
	Link                       string
	Tiers                      []tierView
	// Common are findings that are about all tiers.
	Common  []findingView
	Looked  string
	Why     []workflows.Decision
	Runs    []runRow
	Chart   chart
	Machine string
}

// tierView is one place where the service can run.
type tierView struct {
	Name, Where, Kind string
	// Active is where it runs now.
	Active   bool
	Mark     mark
	Findings []findingView
	Within   string
	Approval []string
	Proof    string
	// Fenced and Failed say what stands against it now.
	Fenced, Failed bool
}

// findingView is one thing that was looked at.
type findingView struct {
	Check, Level, Tone, What, Do, Since string
}

func (c *Console) service(w http.ResponseWriter, r *http.Request) {
	c.showService(w, r, http.StatusOK, "")
}

// showService shows one service, and why what was just ordered was not done.
func (c *Console) showService(w http.ResponseWriter, r *http.Request, status int, trouble string) {
	name := r.PathValue("service")
	at := "/services/" + url.PathEscape(name)
	var detail triggers.ServiceDetail
	if err := c.get(r.Context(), at, &detail); err != nil {
		c.fail(w, r, err)
		return
	}
	var ready workflows.ReadinessState
	_ = c.get(r.Context(), at+"/readiness", &ready) // the page says that nothing was looked at
	var runs []triggers.Recovery
	_ = c.get(r.Context(), "/recoveries?"+url.Values{"service": {name}, "limit": {"10"}}.Encode(), &runs)
	book, _ := c.Library().Lookup(name)
	body := viewService(book, detail, ready, c.Now())
	body.Runs = rows(runs, c.Now())
	body.Chart = newChart(c.recovered(r.Context(), name, 40), book.Objectives.RTO.D(), chartSize)
	c.show(w, r, status, "service", page{Title: name, Here: "services", Events: base + "/events", Every: 10, Reload: 20, Problem: trouble, Done: done(r), Body: body})
}

// viewService is what is known of a service, as people read it.
func viewService(book runbooks.Runbook, d triggers.ServiceDetail, ready workflows.ReadinessState, now time.Time) servicePage {
	g := d.Guard
	p := servicePage{
		Name: d.Service.Service, State: d.State, Tone: stateTone(d.State), Problem: d.Problem, Active: d.Active, Running: d.Running,
		Away: d.Active != "" && d.Active != runbooks.PrimaryName, Paused: g.Paused, Link: d.Link,
	}
	if !d.Since.IsZero() {
		p.Since = ago(d.Since, now)
	}
	if g.Pending != nil {
		p.Pending = g.Pending.Text
	}
	if now.Before(g.CooldownUntil) {
		p.Cooldown = g.CooldownUntil
	}
	if rto := book.Objectives.RTO.D(); rto > 0 {
		p.Objective = span(rto.Seconds())
	}
	if g.Made != nil {
		p.Machine = g.Made.Machine.ID
		if g.Made.Where != "" {
			p.Machine += ", " + g.Made.Where
		}
	}
	home, _ := book.TargetNamed(runbooks.PrimaryName)
	p.Tiers = append(p.Tiers, tierView{Name: runbooks.PrimaryName, Where: home.URL, Kind: "where it belongs", Active: d.Active == runbooks.PrimaryName})
	for _, t := range book.Tiers {
		v := tierView{Name: t.Name, Where: t.URL, Kind: kindOf(t), Active: d.Active == t.Name, Within: span(t.Within.D().Seconds()), Mark: worst(t.Name, ready), Findings: findings(ready, t.Name, now)}
		if t.Approval != nil && !t.Approval.Waived {
			v.Approval = t.Approval.Roles
		}
		p.Tiers = append(p.Tiers, v)
	}
	for i := range p.Tiers {
		t := &p.Tiers[i]
		target, _ := book.TargetNamed(t.Name)
		t.Fenced = target.Server != "" && slices.Contains(g.Fenced, target.Server)
		t.Failed = now.Before(g.CooldownUntil) && slices.Contains(g.Failed, t.Name)
		if at := slices.IndexFunc(g.Proofs, func(proof activities.Proven) bool { return proof.Tier == t.Name }); at >= 0 {
			proof := g.Proofs[at]
			t.Proof = ago(proof.At, now) + " in " + span(proof.Seconds)
			if proof.Mode == workflows.ModeDrill {
				t.Proof += ", by a drill"
			}
		}
	}
	p.Common = findings(ready, activities.ServiceTier, now)
	if !ready.At.IsZero() {
		p.Looked = ago(ready.At, now)
	}
	for i := len(g.Decisions) - 1; i >= 0 && len(p.Why) < whyShown; i-- {
		p.Why = append(p.Why, g.Decisions[i])
	}
	return p
}

// kindOf says how a standby comes to serve.
func kindOf(t runbooks.Tier) string {
	switch {
	case t.Provision != nil:
		return "made when needed (" + t.Provision.Kind + ")"
	case t.Activate != nil:
		return "woken when needed"
	case t.Hold:
		return "running, held back until it is proven"
	default:
		return "running"
	}
}

// findings are those of a tier, the worst first.
func findings(ready workflows.ReadinessState, tier string, now time.Time) []findingView {
	var all []findingView
	for _, f := range ready.Findings {
		if f.Tier == tier {
			v := findingView{Check: f.Check, Level: f.Level, Tone: levelTone(f.Level), What: f.What, Do: f.Do}
			if !f.Since.IsZero() && f.Level != activities.LevelOK {
				v.Since = ago(f.Since, now)
			}
			all = append(all, v)
		}
	}
	slices.SortStableFunc(all, func(x, y findingView) int { return cmp.Compare(gravity(y.Level), gravity(x.Level)) })
	return all
}
