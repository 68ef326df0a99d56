package commands

import (
	"fmt"
	"io"
	"net/url"
	"slices"

	"github.com/understudy-dr/understudy/triggers"
)

// steering is what commands about a running recovery have in common.
type steering struct {
	target
	Reason string `help:"Why; it is kept with the decision." short:"r"`
	Yes    bool   `help:"Do not ask whether to go on." short:"y"`
}

// order says in which state the verb leaves the service, asks, and sends it.
func (s steering) order(g *Globals, verb string) error {
	detail, err := s.find(g)
	if err != nil {
		return err
	}
	leaves := "it may not be possible now: the recovery does not offer it"
	if i := slices.IndexFunc(detail.Verbs, func(v triggers.Verb) bool { return v.Verb == verb }); i >= 0 {
		leaves = detail.Verbs[i].Leaves
	}
	if g.terminal && !s.Yes {
		fmt.Fprintf(g.err, "%s %s: %s\n", verb, detail.ID, oneLine(leaves))
		if err := g.confirm("Go on?"); err != nil {
			return err
		}
	}
	reason, err := g.because(s.Reason)
	if err != nil {
		return err
	}
	return g.tell("/api/v1/recoveries/"+url.PathEscape(detail.ID)+"/"+verb, triggers.Because{Reason: reason})
}

// tell sends a decision and prints what became of it.
func (g *Globals) tell(path string, decision any) error {
	var done triggers.Decided
	if err := g.decide(path, decision, &done); err != nil {
		return err
	}
	return g.print(done, func(w io.Writer) { fmt.Fprintf(w, "%s %s: %s\n", done.Did, done.On, oneLine(done.Leaves)) })
}

type abortCommand struct{ steering }

func (abortCommand) Help() string {
	return `Before something was done that cannot be undone, what was done is undone, and the service stays where it was. After that, and
once the service works on a standby, the recovery stops where it stands. Which of the two it will be is said before it is done.

  understudy abort fun-asr --reason "planned maintenance, the alert was expected"`
}

func (c *abortCommand) Run(g *Globals) error { return c.order(g, "abort") }

type retryCommand struct{ steering }

func (retryCommand) Help() string {
	return `For a tier that is stuck or was started too early: a machine that boots for ever, a standby that was just mended.`
}

func (c *retryCommand) Run(g *Globals) error { return c.order(g, "retry") }

type skipCommand struct{ steering }

func (skipCommand) Help() string {
	return `For a tier of which you know that it will not work: why wait until its time is over?`
}

func (c *skipCommand) Run(g *Globals) error { return c.order(g, "skip") }

type commitCommand struct{ steering }

func (commitCommand) Help() string {
	return `After a switch canaries are sent for a while (policy.confirm), and then the switch is committed by itself. This does it now.`
}

func (c *commitCommand) Run(g *Globals) error { return c.order(g, "commit") }

type rollbackCommand struct{ steering }

func (rollbackCommand) Help() string {
	return `The service goes back to where it ran before, if that passes the same gate and canary as every standby; else it stays. It is
refused where data was written since the switch that the old place does not have: the way home is then a failback.`
}

func (c *rollbackCommand) Run(g *Globals) error { return c.order(g, "rollback") }
