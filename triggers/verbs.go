package triggers

import (
	"fmt"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// Verb is something that may be ordered of a recovery now.
type Verb struct {
	Verb string `json:"verb" doc:"abort, retry, skip, commit, rollback, or answer"`
	// Answer is the choice, where the verb is answer.
	Answer string `json:"answer,omitempty" doc:"the choice, where the verb is answer"`
	// Leaves says beforehand in which state the verb leaves the service.
	Leaves string `json:"leaves" doc:"in which state it leaves the service"`
}

// verbs are what a report leaves open. The recovery itself has the last word:
// it may have moved on meanwhile.
func verbs(r workflows.Report) []Verb {
	if r.Outcome != "" {
		return nil
	}
	var all []Verb
	if q := r.Question; q != nil {
		for _, c := range q.Choices {
			all = append(all, Verb{Verb: "answer", Answer: c.Answer, Leaves: c.Leaves})
		}
	}
	switch tier, settling := trying(r); {
	case settling:
		all = append(all, Verb{Verb: "commit", Leaves: fmt.Sprintf("%s stays on %s", r.Service, r.Active)})
		if !r.NoReturn {
			all = append(all, Verb{Verb: "rollback", Leaves: fmt.Sprintf("%s goes back to %s if that passes its gate and the canary; else it stays on %s", r.Service, r.From, r.Active)})
		}
	case tier != "" && r.Verified.IsZero():
		all = append(all,
			Verb{Verb: "retry", Leaves: "what " + tier + " did is undone, and it is tried from its beginning"},
			Verb{Verb: "skip", Leaves: "what " + tier + " did is undone, and the next tier is tried"})
	}
	leaves := fmt.Sprintf("what was done is undone, and %s stays on %s", r.Service, r.From)
	if r.NoReturn || !r.Verified.IsZero() {
		leaves = "it stops where it stands, with the traffic on " + r.Active
	}
	return append(all, Verb{Verb: "abort", Leaves: leaves})
}

// trying is the tier that a recovery tries now, and whether its switch is
// already provisional.
func trying(r workflows.Report) (tier string, settling bool) {
	for _, rec := range r.Timeline {
		if rec.State == workflows.InProgress {
			if rec.Step == runbooks.StepSettle {
				return rec.Tier, true
			}
			if rec.Tier != "" {
				tier = rec.Tier
			}
		}
	}
	return tier, false
}
