package commands

import (
	"fmt"
	"io"
	"time"

	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// progress tells a recovery on a terminal, or line by line: each step when it
// begins and when it is done.
type progress struct {
	out io.Writer
	// told is how each record of the timeline was told last.
	told     []string
	question string
	begun    bool
}

// show tells what is new.
func (p *progress) show(d triggers.RecoveryDetail) {
	r := d.Report
	if !p.begun {
		p.begun = true
		fmt.Fprintf(p.out, "%s: %s\n", d.ID, oneLine(r.Trigger.Text))
	}
	for i, rec := range r.Timeline {
		text := rec.State + ": " + rec.Reason
		if i < len(p.told) && p.told[i] == text {
			continue
		}
		if i < len(p.told) {
			p.told[i] = text
		} else {
			p.told = append(p.told, text)
		}
		step := rec.Step
		if rec.Tier != "" {
			step += " (" + rec.Tier + ")"
		}
		at := rec.Started
		if !rec.Ended.IsZero() {
			at = rec.Ended
		}
		fmt.Fprintf(p.out, "%9s  %-24s %-8s %s\n", since(r, at), step, rec.State, oneLine(rec.Reason))
	}
	if q := r.Question; q != nil && q.ID != p.question {
		p.question = q.ID
		fmt.Fprintf(p.out, "%9s  a person must decide: %s\n", "", oneLine(q.Text))
		for _, c := range q.Choices {
			fmt.Fprintf(p.out, "%9s    %s  (%s)\n", "", command(d.ID, *q, c), oneLine(c.Leaves))
		}
	}
}

// command is what a person types to answer.
func command(id string, q workflows.Question, c workflows.Choice) string {
	if q.Plan != "" && (c.Answer == "approve" || c.Answer == "reject") {
		return fmt.Sprintf("understudy %s %s --plan %s", c.Answer, id, q.Plan)
	}
	return fmt.Sprintf("understudy answer %s %q --question %s", id, c.Answer, q.ID)
}

// since is how long after the recovery's start something was.
func since(r workflows.Report, at time.Time) string {
	return fmt.Sprintf("+%.1f s", max(at.Sub(r.Started).Seconds(), 0))
}
