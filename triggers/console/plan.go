package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
)

// planPage is what a recovery would do now, and the form that starts it.
type planPage struct {
	Service, From, Hash string
	// Only is the tier that alone would be tried; empty for the whole ladder.
	Only  string
	Tiers []string
	Rungs []rungView
	// Tries reports whether any tier would be tried now.
	Tries  bool
	Paused string
	// Reason and Force are what was filled in before the form came back.
	Reason string
	Force  bool
}

// rungView is one standby of the ladder.
type rungView struct {
	Tier, Where, Within string
	// Refusals are why it would be refused now; empty where it would be tried.
	Refusals, Notes []string
	// Expected is how long it took before until the service worked again; empty where that is not known.
	Expected string
	Steps    []planStep
	Approval bool
}

type planStep struct {
	Name, What, Undo string
	Final            bool
	Took             string
}

// plan shows the page that the Recover button leads to; a script shows the same
// page as a dialog.
func (c *Console) plan(w http.ResponseWriter, r *http.Request) {
	c.showPlan(w, r, http.StatusOK, r.FormValue("tier"), "")
}

func (c *Console) showPlan(w http.ResponseWriter, r *http.Request, status int, tier, trouble string) {
	name := r.PathValue("service")
	at := "/services/" + url.PathEscape(name)
	ask := at + "/plan"
	if tier != "" {
		ask += "?" + url.Values{"tier": {tier}}.Encode()
	}
	var detail triggers.PlanDetail
	if err := c.get(r.Context(), ask, &detail); err != nil {
		c.fail(w, r, err)
		return
	}
	body := viewPlan(detail, tier)
	var s triggers.ServiceDetail
	if c.get(r.Context(), at, &s) == nil && s.Guard.Paused != nil {
		body.Paused = s.Guard.Paused.By + ": " + s.Guard.Paused.Reason
	}
	if r.Method == http.MethodPost {
		body.Reason, body.Force = r.PostForm.Get("reason"), r.PostForm.Get("force") != ""
	}
	c.show(w, r, status, "plan", page{Title: "Recover " + name, Here: "services", Problem: trouble, Body: body})
}

// viewPlan is a plan as people read it.
func viewPlan(d triggers.PlanDetail, only string) planPage {
	p := planPage{Service: d.Plan.Service, From: d.Plan.From.Name, Hash: d.Plan.Hash, Only: only}
	for _, rung := range d.Plan.Rungs {
		p.Tiers = append(p.Tiers, rung.Tier)
		v := rungView{Tier: rung.Tier, Where: rung.Target.URL, Within: span(rung.Within.D().Seconds()), Refusals: d.Refusals(rung)}
		v.Notes = append(slices.Clone(d.Gates[rung.Tier].Notes), d.Machines[rung.Tier].Notes...)
		p.Tries = p.Tries || len(v.Refusals) == 0
		sum, known, serves := 0.0, len(rung.Steps) > 0, false
		for _, s := range rung.Steps {
			step := planStep{Name: s.Name, What: s.What, Undo: s.Undo, Final: s.Final}
			took, ok := expected(d, rung.Tier, s.Name)
			if ok {
				step.Took = span(took.Seconds)
			}
			v.Approval = v.Approval || s.Name == runbooks.StepApprove
			if !serves && s.Name != runbooks.StepApprove { // nobody knows how long a person takes
				sum, known = sum+took.Seconds, known && ok
			}
			serves = serves || s.Name == runbooks.StepVerify
			v.Steps = append(v.Steps, step)
		}
		if known {
			v.Expected = span(sum)
		}
		p.Rungs = append(p.Rungs, v)
	}
	return p
}

// expected is how long a step took before. Steps that belong to no tier stand
// for every tier.
func expected(d triggers.PlanDetail, tier, step string) (triggers.Expected, bool) {
	for _, of := range []string{tier, ""} {
		if i := slices.IndexFunc(d.Expected, func(e triggers.Expected) bool { return e.Tier == of && e.Step == step }); i >= 0 {
			return d.Expected[i], true
		}
	}
	return triggers.Expected{}, false
}

// recover starts a recovery, by the plan that was shown or not at all.
func (c *Console) recover(w http.ResponseWriter, r *http.Request) {
	name, form := r.PathValue("service"), r.PostForm
	call := triggers.Call{Reason: strings.TrimSpace(form.Get("reason")), Tier: form.Get("tier"), Plan: form.Get("plan"), Force: form.Get("force") != ""}
	if call.Reason == "" {
		c.showPlan(w, r, http.StatusUnprocessableEntity, call.Tier, sayWhy)
		return
	}
	var called triggers.Called
	if err := c.decide(r.Context(), "/services/"+url.PathEscape(name)+"/recover", form.Get("key"), call, &called); err != nil {
		c.showPlan(w, r, statusOf(err), call.Tier, err.Error())
		return
	}
	if !called.Started {
		c.showPlan(w, r, http.StatusConflict, call.Tier, fmt.Sprintf("Nothing was started: %s.", strings.TrimSuffix(called.Reason, ".")))
		return
	}
	http.Redirect(w, r, "/recoveries/"+url.PathEscape(called.Recovery), http.StatusSeeOther)
}
