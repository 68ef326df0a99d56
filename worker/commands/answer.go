package commands

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// agreeing is what approve and reject have in common.
type agreeing struct {
	target
	Plan   string `help:"Hash of the plan that you saw. Without it the plan is shown, and a terminal is asked." placeholder:"HASH"`
	Reason string `help:"Why; it is kept with the decision." short:"r"`
}

// agree sends a yes or a no to the plan that the person saw.
func (a agreeing) agree(g *Globals, verb string) error {
	detail, err := a.find(g)
	if err != nil {
		return err
	}
	q := detail.Report.Question
	switch {
	case q == nil:
		return exit{ExitRefused, fmt.Errorf("%s asks nothing now; the time for an answer may be over", detail.ID)}
	case q.Plan == "":
		return exit{ExitRefused, fmt.Errorf("%s asks something else: %s Answer with: understudy answer %s CHOICE (%s)", detail.ID, sentence(q.Text), a.Recovery, choices(q))}
	case a.Plan == "" && !g.terminal:
		return exit{ExitUsage, fmt.Errorf("name the plan that you saw with --plan HASH: understudy history %s shows what is asked, and about which plan", detail.ID)}
	case a.Plan == "":
		g.showQuestion(detail)
		if err := g.confirm(fmt.Sprintf("%s plan %s?", verb, q.Plan)); err != nil {
			return err
		}
		a.Plan = q.Plan
	}
	return g.tell("/api/v1/recoveries/"+url.PathEscape(detail.ID)+"/"+verb, triggers.Agreed{Question: q.ID, Plan: a.Plan, Reason: a.Reason})
}

// showQuestion shows what is asked, with the steps that it is about.
func (g *Globals) showQuestion(detail triggers.RecoveryDetail) {
	q := detail.Report.Question
	fmt.Fprintf(g.err, "%s asks: %s\n", detail.ID, oneLine(q.Text))
	for _, rung := range detail.Report.Plan.Rungs {
		if q.Plan == "" || rung.Tier != q.Tier {
			continue
		}
		fmt.Fprintf(g.err, "The plan %s for %s:\n", q.Plan, rung.Tier)
		for _, step := range rung.Steps {
			fmt.Fprintf(g.err, "  - %s: %s%s\n", step.Name, oneLine(step.What), final(step))
		}
	}
	for _, c := range q.Choices {
		fmt.Fprintf(g.err, "  %s: %s\n", c.Answer, oneLine(c.Leaves))
	}
	if len(q.Roles) > 0 {
		fmt.Fprintf(g.err, "It takes the role %v.\n", q.Roles)
	}
	if !q.Until.IsZero() {
		fmt.Fprintf(g.err, "Without an answer by %s it is not done.\n", when(q.Until))
	}
}

func final(step runbooks.Step) string {
	if step.Final {
		return " (cannot be undone)"
	}
	return ""
}

func choices(q *workflows.Question) string {
	text := ""
	for i, c := range q.Choices {
		if i > 0 {
			text += ", "
		}
		text += c.Answer
	}
	return text
}

func sentence(text string) string {
	text = oneLine(text)
	if text == "" || slices.Contains([]byte(".?!"), text[len(text)-1]) {
		return text
	}
	return text + "."
}

type approveCommand struct{ agreeing }

func (approveCommand) Help() string {
	return `Your yes is for one plan, the one that you saw: if it has changed meanwhile, it does not count. It takes the role that the
runbook names (usually approver). Silence is never a yes.

  understudy approve fun-asr                  show the plan, then ask
  understudy approve fun-asr --plan 3f2a...   agree to the plan with this hash`
}

func (c *approveCommand) Run(g *Globals) error { return c.agree(g, "approve") }

type rejectCommand struct{ agreeing }

func (rejectCommand) Help() string {
	return `The tier is left out, and nothing is made for it; the recovery goes on with what is left of its ladder.`
}

func (c *rejectCommand) Run(g *Globals) error { return c.agree(g, "reject") }

type answerCommand struct {
	target
	Choice   string `arg:"" optional:"" help:"One of the question's choices. Without it the question is shown."`
	Question string `help:"Id of the question that you saw. Without it the question is shown, and a terminal is asked." placeholder:"ID"`
	Plan     string `help:"Hash of the plan that you saw, where the question is about one." placeholder:"HASH"`
	Reason   string `help:"Why; it is kept with the decision." short:"r"`
}

func (answerCommand) Help() string {
	return `Recoveries ask where only a person may decide: a fence that failed, a cause that all tiers share, a budget that is used up.

  understudy answer fun-asr                      show the question with its choices, and what each leaves
  understudy answer fun-asr skip                 show it, then ask
  understudy answer fun-asr skip --question 7-1  answer the question with this id`
}

func (c *answerCommand) Run(g *Globals) error {
	detail, err := c.find(g)
	if err != nil {
		return err
	}
	q := detail.Report.Question
	switch {
	case q == nil:
		return exit{ExitRefused, fmt.Errorf("%s asks nothing now; the time for an answer may be over", detail.ID)}
	case c.Choice == "":
		g.showQuestion(detail)
		return exit{ExitUsage, fmt.Errorf("name one of its choices: understudy answer %s CHOICE --question %s (%s)", c.Recovery, q.ID, choices(q))}
	case c.Question == "" && !g.terminal:
		return exit{ExitUsage, errors.New("name the question that you saw with --question: understudy answer " + c.Recovery + " shows it")}
	case q.Plan != "" && c.Plan == "" && !g.terminal:
		return exit{ExitUsage, errors.New("the question is about a plan; name the one that you saw with --plan: understudy answer " + c.Recovery + " shows it")}
	case c.Question == "" || q.Plan != "" && c.Plan == "":
		g.showQuestion(detail)
		if err := g.confirm(fmt.Sprintf("Answer %s?", c.Choice)); err != nil {
			return err
		}
		c.Question, c.Plan = q.ID, q.Plan
	}
	return g.tell("/api/v1/recoveries/"+url.PathEscape(detail.ID)+"/answer", triggers.Answer{Question: c.Question, Answer: c.Choice, Plan: c.Plan, Reason: c.Reason})
}
