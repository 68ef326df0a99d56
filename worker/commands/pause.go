package commands

import (
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/understudy-dr/understudy/triggers"
)

// pausing is what pause and resume have in common.
type pausing struct {
	Service string `arg:"" optional:"" help:"The service." predictor:"service"`
	All     bool   `help:"Every service; each answer is shown."`
}

// path is where the decision goes.
func (p pausing) path(verb string) (string, error) {
	switch {
	case p.All && p.Service != "":
		return "", exit{ExitUsage, errors.New("name a service, or --all; not both")}
	case p.All:
		return "/api/v1/" + verb, nil
	case p.Service != "":
		return "/api/v1/services/" + url.PathEscape(p.Service) + "/" + verb, nil
	default:
		return "", exit{ExitUsage, errors.New("name a service, or --all")}
	}
}

// send sends it, and shows every answer.
func (p pausing) send(g *Globals, verb string, decision any) error {
	path, err := p.path(verb)
	if err != nil {
		return err
	}
	if !p.All {
		return g.tell(path, decision)
	}
	var each []triggers.EachAnswer
	if err := g.decide(path, decision, &each); err != nil {
		return err
	}
	refused := 0
	err = g.print(each, func(w io.Writer) {
		row(w, "SERVICE", "DONE", "ANSWER")
		for _, a := range each {
			row(w, a.Service, map[bool]string{true: "yes", false: "no"}[a.OK], a.Leaves+a.Problem)
		}
	})
	for _, a := range each {
		if !a.OK {
			refused++
		}
	}
	if err == nil && refused > 0 {
		return exit{ExitFailed, fmt.Errorf("%d of %d services did not %s", refused, len(each), verb)}
	}
	return err
}

type pauseCommand struct {
	pausing
	Reason string `help:"Why; everybody who looks is told." short:"r"`
}

func (pauseCommand) Help() string {
	return `Alerts are still heard, and kept; nothing is done about them until understudy resume. A recovery that runs goes on. A person
can pass a pause: understudy recover SERVICE --force.

  understudy pause fun-asr --reason "new model, until noon"
  understudy pause --all --reason "network maintenance"`
}

func (c *pauseCommand) Run(g *Globals) error {
	if _, err := c.path("pause"); err != nil {
		return err
	}
	reason, err := g.because(c.Reason)
	if err != nil {
		return err
	}
	return c.send(g, "pause", triggers.Because{Reason: reason})
}

type resumeCommand struct{ pausing }

func (resumeCommand) Help() string {
	return `What was held while it was paused is looked at now.
With --all, services that were not paused say so, and the exit status is 1.`
}

func (c *resumeCommand) Run(g *Globals) error { return c.send(g, "resume", struct{}{}) }
