package commands

import (
	"fmt"
	"io"

	"github.com/understudy-dr/understudy/triggers"
)

type statusCommand struct {
	Service string `arg:"" optional:"" help:"Only this service, with more about it."`
}

func (statusCommand) Help() string {
	return `States: ready (at home), recovering, cooling down (a recovery has ended a moment ago), away (on a standby), paused, unknown.
Exit status: 0, or 1 where the guard of a service does not answer.`
}

func (c *statusCommand) Run(g *Globals) error {
	if c.Service != "" {
		return c.one(g)
	}
	var all []triggers.Service
	if err := g.get("/api/v1/services", &all); err != nil {
		return err
	}
	err := g.print(all, func(w io.Writer) {
		row(w, "SERVICE", "STATE", "RUNS ON", "SINCE", "EPOCH", "LAST RECOVERY")
		for _, s := range all {
			row(w, s.Service, s.State, s.Active, when(s.Since), s.Epoch, s.Last)
		}
	})
	for _, s := range all {
		if s.Problem != "" {
			return exit{ExitFailed, fmt.Errorf("%s: %s", s.Service, s.Problem)}
		}
	}
	return err
}

func (c *statusCommand) one(g *Globals) error {
	var s triggers.ServiceDetail
	if err := g.get("/api/v1/services/"+c.Service, &s); err != nil {
		return err
	}
	err := g.print(s, func(w io.Writer) {
		row(w, "service", s.Service.Service)
		row(w, "state", s.State)
		row(w, "runs on", s.Active)
		row(w, "since", when(s.Since))
		row(w, "epoch", s.Epoch)
		if s.Running != "" {
			row(w, "recovery", s.Running+", see understudy history "+s.Running)
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
	return err
}

type whyCommand struct {
	Service string `arg:"" help:"The service."`
}

func (whyCommand) Help() string {
	return `A guard keeps its last fifty decisions. Where a person may have it otherwise, the command for that stands below.`
}

func (c *whyCommand) Run(g *Globals) error {
	var s triggers.ServiceDetail
	if err := g.get("/api/v1/services/"+c.Service, &s); err != nil {
		return err
	}
	return g.print(s.Guard.Decisions, func(w io.Writer) {
		row(w, "TIME", "WHAT HAPPENED", "DECISION", "REASON")
		for _, d := range s.Guard.Decisions {
			row(w, when(d.At), d.Event, d.Action, d.Reason)
			if d.Override != "" {
				row(w, " ", " ", " ", "to have it otherwise: "+d.Override)
			}
		}
	})
}
