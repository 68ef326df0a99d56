package commands

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/understudy-dr/understudy/triggers"
)

type statusCommand struct {
	Service  string `arg:"" optional:"" help:"Only this service, with more about it." predictor:"service"`
	Machines bool   `help:"The machines that carry our tags, and why each is there."`
}

func (statusCommand) Help() string {
	return `States: ready (at home), recovering, cooling down (a recovery has ended a moment ago), away (on a standby), paused, unknown.
With --machines: what was made for standbys and drills, at every provider, what it has cost so far where the runbook names a
price, and what the sweeper removes next, every ten minutes. One that nothing holds stays until it expires.
Exit status: 0, or 1 where the guard of a service, or a provider, does not answer, or where a standby would fail now.`
}

func (c *statusCommand) Run(g *Globals) error {
	switch {
	case c.Machines && c.Service != "":
		return exit{ExitUsage, errors.New("name a service, or --machines; not both")}
	case c.Machines:
		return c.machines(g)
	case c.Service != "":
		return c.one(g)
	}
	var all []triggers.Service
	if err := g.get("/api/v1/services", &all); err != nil {
		return err
	}
	err := g.print(all, func(w io.Writer) {
		row(w, "SERVICE", "STATE", "RUNS ON", "SINCE", "EPOCH", "LAST RECOVERY", "STANDBYS")
		for _, s := range all {
			row(w, s.Service, s.State, s.Active, when(s.Since), s.Epoch, s.Last, standbys(s.Standbys))
		}
	})
	for _, s := range all {
		if s.Problem != "" {
			return exit{ExitFailed, fmt.Errorf("%s: %s", s.Service, s.Problem)}
		}
	}
	for _, s := range all {
		if unready := wouldFail(s); err == nil && unready != nil {
			return unready
		}
	}
	return err
}

func (c *statusCommand) one(g *Globals) error {
	var s triggers.ServiceDetail
	if err := g.get("/api/v1/services/"+url.PathEscape(c.Service), &s); err != nil {
		return err
	}
	err := g.print(s, func(w io.Writer) {
		row(w, "service", s.Service.Service)
		row(w, "state", s.State)
		row(w, "runs on", s.Active)
		row(w, "since", when(s.Since))
		row(w, "epoch", s.Epoch)
		row(w, "standbys", standbys(s.Standbys))
		if s.Running != "" {
			row(w, "recovery", s.Running+", see understudy watch "+s.Running)
		}
		if p := s.Guard.Paused; p != nil {
			row(w, "paused", fmt.Sprintf("by %s since %s: %s", p.By, when(p.Since), p.Reason))
		}
		if l := s.Guard.Last; l != nil {
			row(w, "last recovery", fmt.Sprintf("%d, %s: %s", l.Epoch, l.Outcome, l.Reason))
		}
		if !s.Guard.CooldownUntil.IsZero() {
			row(w, "cooldown until", when(s.Guard.CooldownUntil))
		}
		for _, server := range s.Guard.Fenced {
			row(w, "kept off the traffic", server)
		}
		row(w, "in the Temporal UI", s.Link)
	})
	if s.Problem != "" {
		return exit{ExitFailed, fmt.Errorf("%s", s.Problem)}
	}
	if unready := wouldFail(s.Service); err == nil && unready != nil {
		return unready
	}
	return err
}

// wouldFail is the failure of the command where a standby of a service would fail now.
func wouldFail(s triggers.Service) error {
	for _, standby := range s.Standbys {
		if !standby.Ready {
			return exit{ExitFailed, fmt.Errorf("%s: %s would fail now; see understudy readiness %s", s.Service, standby.Tier, s.Service)}
		}
	}
	return nil
}

// standbys words whether tiers would work now.
func standbys(all []triggers.StandbyReady) string {
	if all == nil {
		return "not looked at yet"
	}
	var words []string
	for _, s := range all {
		if s.Ready {
			words = append(words, "✓ "+s.Tier)
		} else {
			words = append(words, "✗ "+s.Tier+" would fail: "+s.Why)
		}
	}
	return strings.Join(words, ", ")
}

func (c *statusCommand) machines(g *Globals) error {
	var list triggers.MachineList
	if err := g.get("/api/v1/machines", &list); err != nil {
		return err
	}
	err := g.print(list, func(w io.Writer) {
		row(w, "MACHINE", "SERVICE", "KIND", "STATE", "WHERE", "ADDRESS", "EXPIRES", "PRICE/H", "COST SO FAR", "WHY IT IS THERE")
		for _, m := range list.Machines {
			expires, _ := m.Expires()
			price, cost, why := "", "", m.Held
			if m.Price > 0 {
				price, cost = fmt.Sprintf("%.2f", m.Price), fmt.Sprintf("%.2f", m.Cost)
			}
			switch {
			case m.Remove:
				why = "removed at the next sweep: " + m.Reason
			case why == "":
				why = "nothing holds it"
				if m.Reason != "" {
					why += ": " + m.Reason
				}
			}
			row(w, m.ID, m.Service, m.Kind, m.State, m.Where, m.Address, when(expires), price, cost, why)
		}
	})
	if err == nil && list.Problem != "" {
		return exit{ExitFailed, fmt.Errorf("there may be more: %s", list.Problem)}
	}
	return err
}
