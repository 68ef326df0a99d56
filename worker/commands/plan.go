package commands

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
)

type planCommand struct {
	Service  string   `arg:"" help:"The service." predictor:"service"`
	Tier     string   `help:"Only this tier: hot, warm, cold, cross-region, or primary." placeholder:"TIER" predictor:"tier"`
	Force    bool     `help:"As recover --force would do it: what is left out until the end of the cooldown may be tried."`
	Runbooks []string `help:"Plan from these files alone, without a running Understudy." type:"path" placeholder:"PATH"`
	Print    bool     `help:"Write the runbook out as commands for a person, to be printed: for the day when Understudy itself is down. Goes with --runbooks, or with those of the site file."`
}

func (planCommand) Help() string {
	return `Nothing is changed. With a running Understudy the standbys are asked now, and what machines would need (room, model volumes,
data): each tier that would be refused says why. Behind each step stands how long it took in the latest recoveries (the median).
With --runbooks the plan is made from the files, for the day when Understudy itself is down.
The hash names the plan: understudy recover SERVICE --plan HASH carries out this one or none.
Exit status: 0, or 1 where no tier would be taken now.`
}

func (c *planCommand) Run(g *Globals) error {
	if c.Print {
		return c.print(g)
	}
	var detail triggers.PlanDetail
	if len(c.Runbooks) > 0 {
		r, err := c.read(c.Runbooks)
		if err != nil {
			return err
		}
		home, _ := r.TargetNamed(runbooks.PrimaryName)
		detail.Plan = runbooks.NewPlan(r, home, nil).Only(c.Tier)
	} else {
		var err error
		if detail, err = g.plan(c.Service, c.Tier, c.Force); err != nil {
			return err
		}
	}
	if err := g.print(detail, func(w io.Writer) { showPlan(w, detail) }); err != nil {
		return err
	}
	if !passes(detail) {
		return exit{ExitFailed, errors.New("no tier would be taken now")}
	}
	return nil
}

// print writes the paper copy.
func (c *planCommand) print(g *Globals) error {
	paths := c.Runbooks
	if len(paths) == 0 {
		site, err := g.site()
		if err != nil {
			return err
		}
		paths = site.Runbooks
	}
	r, err := c.read(paths)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(g.out, runbooks.Paper(r))
	return err
}

// read finds the service's runbook in files.
func (c *planCommand) read(paths []string) (runbooks.Runbook, error) {
	if len(paths) == 0 {
		return runbooks.Runbook{}, exit{ExitUsage, errors.New("name the runbooks with --runbooks, or the site file with --config")}
	}
	library, problems := runbooks.LoadLibrary(paths...)
	if err := problems.Err(); err != nil {
		return runbooks.Runbook{}, exit{ExitProblem, err}
	}
	r, ok := library.Lookup(c.Service)
	if !ok {
		return r, exit{ExitFailed, fmt.Errorf("there is no service %q in these runbooks", c.Service)}
	}
	return r, nil
}

// plan asks what a recovery would do now.
func (g *Globals) plan(service, tier string, force bool) (detail triggers.PlanDetail, err error) {
	asked := url.Values{}
	if tier != "" {
		asked.Set("tier", tier)
	}
	if force {
		asked.Set("force", "true")
	}
	return detail, g.get("/api/v1/services/"+url.PathEscape(service)+"/plan?"+asked.Encode(), &detail)
}

func showPlan(w io.Writer, d triggers.PlanDetail) {
	fmt.Fprintf(w, "%s runs on %s. Should that fail (plan %s):\n", d.Plan.Service, d.Plan.From.Name, d.Plan.Hash)
	for i, rung := range d.Plan.Rungs {
		fmt.Fprintf(w, "\n%d. %s, within %s%s\n", i+1, rung.Tier, rung.Within, expectedFor(d, rung))
		for _, reason := range d.Refusals(rung) {
			fmt.Fprintf(w, "   would be refused now: %s\n", oneLine(reason))
		}
		for _, note := range append(slices.Clone(d.Gates[rung.Tier].Notes), d.Machines[rung.Tier].Notes...) {
			fmt.Fprintf(w, "   note: %s\n", oneLine(note))
		}
		for _, step := range rung.Steps {
			took := ""
			if e, ok := expected(d, rung.Tier, step.Name); ok {
				took = seconds(e.Seconds)
			}
			fmt.Fprintf(w, "   %8s  - %s: %s%s\n", took, step.Name, oneLine(step.What), final(step))
			if step.Undo != "" {
				fmt.Fprintf(w, "   %8s    undo: %s\n", "", oneLine(step.Undo))
			}
		}
	}
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

// expectedFor sums up the steps until the service works again, where all of them
// were measured.
func expectedFor(d triggers.PlanDetail, rung runbooks.Rung) string {
	sum, runs := 0.0, 0
	for _, step := range rung.Steps {
		if step.Name == runbooks.StepFence || step.Name == runbooks.StepSettle {
			break
		}
		e, ok := expected(d, rung.Tier, step.Name)
		if !ok {
			return ""
		}
		sum, runs = sum+e.Seconds, max(runs, e.Runs)
	}
	if runs == 0 {
		return ""
	}
	return fmt.Sprintf("; took %.1f s before (median of %d)", sum, runs)
}

func passes(d triggers.PlanDetail) bool {
	return slices.ContainsFunc(d.Plan.Rungs, func(rung runbooks.Rung) bool { return len(d.Refusals(rung)) == 0 })
}
