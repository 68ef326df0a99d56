package commands

import (
	"io"
	"net/url"

	"github.com/understudy-dr/understudy/workflows"
)

type whyCommand struct {
	Service string `arg:"" help:"The service." predictor:"service"`
}

func (whyCommand) Help() string {
	return `A guard keeps its last fifty decisions. Where a person may have it otherwise, the command for that stands below.`
}

func (c *whyCommand) Run(g *Globals) error {
	var decisions []workflows.Decision
	if err := g.get("/api/v1/services/"+url.PathEscape(c.Service)+"/why", &decisions); err != nil {
		return err
	}
	return g.print(decisions, func(w io.Writer) {
		row(w, "TIME", "WHAT HAPPENED", "DECISION", "REASON")
		for _, d := range decisions {
			row(w, when(d.At), d.Event, d.Action, d.Reason)
			if d.Override != "" {
				row(w, " ", " ", " ", "to have it otherwise: "+d.Override)
			}
		}
	})
}
