package commands

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/understudy-dr/understudy/triggers"
)

type recoverCommand struct {
	Service   string        `arg:"" help:"The service." predictor:"service"`
	Reason    string        `help:"Why; it is kept with the decision." short:"r"`
	Tier      string        `help:"Only this tier. Without it the whole ladder is climbed: the first that passes its gate wins." placeholder:"TIER" predictor:"tier"`
	Plan      string        `help:"Hash of the plan that you saw: another one is not carried out. It also stands for the approvals that the plan asks for, where your role may give them." placeholder:"HASH"`
	Force     bool          `help:"Pass cooldown and pause, try what is left out until the end of the cooldown as well, and move the service whatever the diagnosis says."`
	Supersede bool          `help:"End a running recovery first, and take its place; goes with --force."`
	Wait      bool          `help:"Show the recovery until it ends." short:"w"`
	Timeout   time.Duration `help:"With --wait: watch at most so long. The recovery goes on." placeholder:"TIME"`
	Yes       bool          `help:"Do not show the plan, and do not ask." short:"y"`
	// question is what is asked below the plan; empty asks the usual one.
	question string
}

func (recoverCommand) Help() string {
	return `On a terminal the plan is shown, with why tiers would be refused and how long steps took before; then you are asked. What you
agree to is that plan: if it has changed in between, nothing is started. In a script, name the plan (--plan), or say --yes.

The service is diagnosed first: where it works, the recovery ends as a false alarm and nothing moves, unless you say --force.

  understudy recover fun-asr --reason "users hear silence" --wait
  understudy recover fun-asr --tier cold --force --yes --reason "hot standby is being repaired"

Exit status: 0 started (with --wait: and the service works); 1 not started, or the service does not work; 5 your role is not
enough; 6 it does not fit what goes on now, and nothing was changed; 7 it still runs after --timeout.`
}

func (c *recoverCommand) Run(g *Globals) error {
	switch {
	case c.Supersede && !c.Force:
		return exit{ExitUsage, errors.New("--supersede goes with --force")}
	case c.Supersede && c.Plan != "":
		return exit{ExitUsage, errors.New("--supersede goes without --plan: where the next recovery begins is known once the running one has ended")}
	}
	if err := c.agree(g); err != nil {
		return err
	}
	reason, err := g.because(c.Reason)
	if err != nil {
		return err
	}
	var called triggers.Called
	call := triggers.Call{Reason: reason, Tier: c.Tier, Plan: c.Plan, Force: c.Force, Supersede: c.Supersede}
	if err := g.decide("/api/v1/services/"+url.PathEscape(c.Service)+"/recover", call, &called); err != nil {
		return err
	}
	if !called.Started {
		if err := g.print(called, func(w io.Writer) { fmt.Fprintf(w, "%s: %s\n", called.Leaves, oneLine(called.Reason)) }); err != nil {
			return err
		}
		return exit{ExitFailed, errors.New("")}
	}
	if c.Wait {
		fmt.Fprintln(g.err, "in the Temporal UI:", called.Link)
		return g.watch(called.Recovery, c.Timeout)
	}
	return g.print(called, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s\n", called.Recovery, called.Leaves)
		fmt.Fprintf(w, "watch it: understudy watch %s\nin the Temporal UI: %s\n", called.Recovery, called.Link)
	})
}

// agree shows the plan and asks, unless the person has seen it.
func (c *recoverCommand) agree(g *Globals) error {
	switch {
	case c.Yes || c.Plan != "":
		return nil
	case !g.terminal:
		return exit{ExitUsage, fmt.Errorf("name the plan that you saw with --plan HASH (understudy plan %s shows it), or say --yes", c.Service)}
	}
	detail, err := g.plan(c.Service, c.Tier, c.Force)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(g.err, 0, 4, 2, ' ', 0)
	showPlan(w, detail)
	if err := w.Flush(); err != nil {
		return err
	}
	if !passes(detail) {
		fmt.Fprintln(g.err, "\nNo tier would be taken now.")
	}
	// Where a running recovery is ended first, it decides where the next one begins: no plan of now can be held to.
	if !c.Supersede {
		c.Plan = detail.Plan.Hash
	}
	question := c.question
	if question == "" {
		question = fmt.Sprintf("Recover %s?", c.Service)
	}
	return g.confirm("\n" + question)
}
