package commands

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// asking is what drill and failback have in common.
type asking struct {
	Service string        `arg:"" help:"The service." predictor:"service"`
	Reason  string        `help:"Why; it is kept with the decision." short:"r"`
	Wait    bool          `help:"Show it until it ends." short:"w"`
	Timeout time.Duration `help:"With --wait: how long." default:"1h"`
}

func (c asking) send(g *Globals, verb string, request any) error {
	var called triggers.Called
	if err := g.decide("/api/v1/services/"+url.PathEscape(c.Service)+"/"+verb, request, &called); err != nil {
		return err
	}
	if !called.Started {
		return exit{ExitFailed, fmt.Errorf("nothing was started: %s", called.Reason)}
	}
	if c.Wait {
		return g.watch(called.Recovery, c.Timeout)
	}
	return g.print(called, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s\nwatch it: understudy watch %s\n", called.Recovery, called.Leaves, called.Recovery)
	})
}

type drillCommand struct {
	asking
	Tier    []string `help:"Which tiers; without it those of the runbook's drill, or all that make machines." placeholder:"TIER"`
	GameDay bool     `help:"Really stop the primary, on purpose, with its users on it."`
	Plan    string   `help:"With --game-day: hash of the plan that you saw." placeholder:"HASH"`
}

func (drillCommand) Help() string {
	return `A drill goes the way of a recovery up to the switch: it makes the standby, restores the data, sends the canary, and removes
everything again. It has machines and prefixes of its own, gets no traffic, and makes way for a real recovery. Where an alert
fires, or the service is away from its primary, nothing is started.

  understudy drill fun-asr --tier cold --reason "after the model update" --wait

A game day is the whole chain, in production: the standby is proven, an approver agrees, the primary is really stopped (game_day
in the runbook says how), and the service recovers as it would from a failure. understudy abort, or the limit of the runbook,
starts the primary again and takes everything back. Afterwards it is started in any case, and understudy failback leads home.

  understudy drill fun-asr --game-day --reason "quarterly" --wait`
}

func (c *drillCommand) Run(g *Globals) error {
	if !c.GameDay && c.Plan != "" {
		return exit{ExitUsage, errors.New("--plan goes with --game-day")}
	}
	if c.GameDay {
		if len(c.Tier) > 0 {
			return exit{ExitUsage, errors.New("a game day climbs the whole ladder: it goes without --tier")}
		}
		shown := recoverCommand{Service: c.Service, Plan: c.Plan, question: "Really stop the primary of " + c.Service + " now, with its users on it?"}
		if err := shown.agree(g); err != nil {
			return err
		}
		c.Plan = shown.Plan
	}
	reason, err := g.because(c.Reason)
	if err != nil {
		return err
	}
	return c.send(g, "drill", triggers.Practice{Reason: reason, Tiers: c.Tier, GameDay: c.GameDay, Plan: c.Plan})
}

type failbackCommand struct {
	asking
	Show bool `help:"Only show what would be brought home."`
	Yes  bool `help:"Do not ask." short:"y"`
}

func (failbackCommand) Help() string {
	return `The planned way home, once the primary is mended: it is asked and proven first; where data was written on the standby, the writing
stops, the last change is waited for, and the primary takes it over; then the traffic moves, canaries pass for the confirm
window, and only then the standby is released. What fails leaves the service where it is. On a terminal it first shows what would be
brought home, and asks.

  understudy failback fun-asr --show
  understudy failback fun-asr --reason "new power supply" --wait`
}

func (c *failbackCommand) Run(g *Globals) error {
	if c.Show || g.terminal && !c.Yes {
		var w triggers.WayHome
		if err := g.get("/api/v1/services/"+url.PathEscape(c.Service)+"/failback", &w); err != nil {
			return err
		}
		if err := g.print(w, func(out io.Writer) { showWayHome(out, w) }); err != nil || c.Show {
			return err
		}
		if err := g.confirm("Bring " + c.Service + " home now?"); err != nil {
			return err
		}
	}
	reason, err := g.because(c.Reason)
	if err != nil {
		return err
	}
	return c.send(g, "failback", triggers.Because{Reason: reason})
}

// showWayHome prints what a failback would bring home.
func showWayHome(out io.Writer, w triggers.WayHome) {
	fmt.Fprintf(out, "%s runs on %s since %s.\n", w.Service, w.From, w.Since.Local().Format(time.DateTime))
	if len(w.Primary.Refusals) > 0 {
		fmt.Fprintf(out, "  primary  would be refused: %s\n", strings.Join(w.Primary.Refusals, "; "))
	} else {
		fmt.Fprintln(out, "  primary  passes its gate; the canary comes with the order")
	}
	for _, d := range w.Data {
		fmt.Fprintf(out, "  data     %s\n", d)
	}
	for _, b := range w.Batches {
		fmt.Fprintf(out, "  batch    %s done; it rests on the way, and goes on at home\n", b)
	}
	switch {
	case !w.Pauses:
		fmt.Fprintln(out, "  pause    none: no data moves")
	case w.PauseSeconds > 0:
		fmt.Fprintf(out, "  pause    users wait while the data moves: %.0f s before, at most %s\n", w.PauseSeconds, w.PauseMost)
	default:
		fmt.Fprintf(out, "  pause    users wait while the data moves, at most %s\n", w.PauseMost)
	}
	if w.Cost > 0 {
		fmt.Fprintf(out, "  cost     %.2f so far\n", w.Cost)
	}
	if w.Refused != "" {
		fmt.Fprintf(out, "  refused  %s\n", w.Refused)
	}
}

type readinessCommand struct {
	Service string `arg:"" help:"The service." predictor:"service"`
	Now     bool   `help:"Look now, canaries included, instead of showing what was found last."`
}

func (readinessCommand) Help() string {
	return `Would each tier work right now? What was found, since when, and what to do about it. Exit status 1 where a recovery would fail
somewhere.`
}

func (c *readinessCommand) Run(g *Globals) error {
	var s workflows.ReadinessState
	path := "/api/v1/services/" + url.PathEscape(c.Service) + "/readiness"
	if c.Now {
		path += "?now=true"
	}
	if err := g.get(path, &s); err != nil {
		return err
	}
	err := g.print(s, func(w io.Writer) {
		row(w, "TIER", "CHECK", "", "SINCE", "FOUND", "WHAT TO DO")
		for _, f := range s.Findings {
			tier := f.Tier
			if tier == "" {
				tier = "all"
			}
			row(w, tier, f.Check, f.Level, when(f.Since), f.What, f.Do)
		}
	})
	if n := len(s.Failing("")); err == nil && n > 0 {
		return exit{ExitFailed, fmt.Errorf("a recovery would fail for %d reasons", n)}
	}
	return err
}
