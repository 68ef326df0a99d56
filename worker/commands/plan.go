package commands

import (
	"errors"
	"fmt"
	"io"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
)

type planCommand struct {
	Service  string   `arg:"" help:"The service."`
	Runbooks []string `help:"Plan from these files alone, without a running Understudy." type:"path" placeholder:"PATH"`
}

func (planCommand) Help() string {
	return `Nothing is changed. With a running Understudy the standbys are asked now, and each one that would be refused says why.
With --runbooks the plan is made from the files, for the day when Understudy itself is down.`
}

func (c *planCommand) Run(g *Globals) error {
	var detail triggers.PlanDetail
	if len(c.Runbooks) > 0 {
		library, problems := runbooks.LoadLibrary(c.Runbooks...)
		if err := problems.Err(); err != nil {
			return exit{ExitProblem, err}
		}
		r, ok := library.Lookup(c.Service)
		if !ok {
			return exit{ExitFailed, fmt.Errorf("there is no service %q in these runbooks", c.Service)}
		}
		home, _ := r.TargetNamed(runbooks.PrimaryName)
		detail.Plan = runbooks.NewPlan(r, home, nil)
	} else if err := g.get("/api/v1/services/"+c.Service+"/plan", &detail); err != nil {
		return err
	}
	if err := g.print(detail, func(w io.Writer) { showPlan(w, detail) }); err != nil {
		return err
	}
	if !passes(detail) {
		return exit{ExitFailed, errors.New("no tier would be taken now")}
	}
	return nil
}

func showPlan(w io.Writer, d triggers.PlanDetail) {
	fmt.Fprintf(w, "%s runs on %s. Should that fail (plan %s):\n", d.Plan.Service, d.Plan.From.Name, d.Plan.Hash)
	for i, rung := range d.Plan.Rungs {
		fmt.Fprintf(w, "\n%d. %s, within %s\n", i+1, rung.Tier, rung.Within)
		if why := refusals(rung, d.Gates); len(why) > 0 {
			for _, reason := range why {
				fmt.Fprintf(w, "   would be refused now: %s\n", reason)
			}
		}
		for _, step := range rung.Steps {
			mark := ""
			if step.Final {
				mark = " (cannot be undone)"
			}
			fmt.Fprintf(w, "   - %s: %s%s\n", step.Name, step.What, mark)
			if step.Undo != "" {
				fmt.Fprintf(w, "     undo: %s\n", step.Undo)
			}
		}
	}
}

func refusals(rung runbooks.Rung, gates map[string]activities.Gate) []string {
	if rung.Refused != "" {
		return []string{rung.Refused}
	}
	return gates[rung.Tier].Refusals
}

func passes(d triggers.PlanDetail) bool {
	for _, rung := range d.Plan.Rungs {
		if len(refusals(rung, d.Gates)) == 0 {
			return true
		}
	}
	return false
}
