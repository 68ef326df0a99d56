package console

import (
	"slices"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// States of a step that has no record.
const (
	stateAhead = "to come"
	stateLeft  = "not needed"
)

// checkGroup is a part of the checklist: what comes first, a tier, what else happened.
type checkGroup struct {
	Name, State, Tone string
	// Why is why the plan leaves it out.
	Why string
	// Folded groups are opened by whoever wants to know.
	Folded bool
	Items  []checkItem
}

// checkItem is a step of the plan with what became of it.
type checkItem struct {
	Step, What, State, Tone, Took string
	Final                         bool
	// at is when it began; zero where it did not.
	at time.Time
}

// checklist is the plan with what became of each step: first the look, then the
// ladder, then what happened besides.
func checklist(r workflows.Report) []checkGroup {
	l := lists{report: r, used: make([]bool, len(r.Timeline))}
	first := checkGroup{Name: "Look"}
	first.Items = append(first.Items, l.item(runbooks.Step{Name: runbooks.StepDiagnose, What: "ask " + r.Plan.From.URL + ", and whoever else can see it"}, ""))
	groups := []checkGroup{first.sum()}
	for _, rung := range r.Plan.Rungs {
		groups = append(groups, l.rung(rung))
	}
	if rest := l.rest(); len(rest.Items) > 0 {
		groups = append(groups, rest)
	}
	return groups
}

// lists makes a checklist; used marks the records that stand on it.
type lists struct {
	report workflows.Report
	used   []bool
}

func (l *lists) over() bool { return l.report.Outcome != "" }

// rung lists a tier: its steps where it was tried or may still be, one line where not.
func (l *lists) rung(rung runbooks.Rung) checkGroup {
	g := checkGroup{Name: rung.Tier}
	tried, left := false, l.gaveUp(rung.Tier)
	for _, rec := range l.report.Timeline {
		tried = tried || rec.Tier == rung.Tier
	}
	switch {
	case rung.Refused != "":
		for i, rec := range l.report.Timeline {
			l.used[i] = l.used[i] || rec.Tier == rung.Tier && rec.Step == runbooks.StepGate
		}
		g.State, g.Tone, g.Why = "left out", toneIdle, rung.Refused
		return g
	case !tried && (l.over() || !l.report.Verified.IsZero()):
		g.State, g.Tone = stateLeft, toneIdle
		return g
	}
	for _, s := range rung.Steps {
		// Where a tier was given up, what it would have done says nothing any more.
		if item := l.item(s, rung.Tier); !left || item.State != stateAhead && item.State != stateLeft {
			g.Items = append(g.Items, item)
		}
	}
	for i, rec := range l.report.Timeline {
		if !l.used[i] && rec.Tier == rung.Tier {
			g.insert(l.record(i))
		}
	}
	if !tried {
		g.State, g.Tone, g.Folded = stateAhead, toneIdle, true
		return g
	}
	return g.sum()
}

// gaveUp reports whether a recovery has left a tier for a later one, or for good.
func (l *lists) gaveUp(tier string) bool {
	later := false
	for _, rung := range l.report.Plan.Rungs {
		if rung.Tier == tier {
			later = true
		} else if later && slices.ContainsFunc(l.report.Timeline, func(rec workflows.Record) bool { return rec.Tier == rung.Tier && rec.Step != runbooks.StepGate }) {
			return true
		}
	}
	return l.over() && l.report.Tier != tier
}

// item finds what became of a step. What is done for the failed place stands
// under that one's name, or under none.
func (l *lists) item(s runbooks.Step, tier string) checkItem {
	item := checkItem{Step: s.Name, What: s.What, State: stateAhead, Tone: toneIdle, Final: s.Final}
	for i, rec := range l.report.Timeline {
		mine := rec.Tier == tier || rec.Tier == "" || isFor(rec, l.report.From)
		if l.used[i] || rec.Step != s.Name || !mine {
			continue
		}
		final := item.Final
		item = l.record(i)
		item.Final = final
		if rec.Step == runbooks.StepFence || rec.Step == runbooks.StepRelease {
			break // each has a line of its own
		}
	}
	if s.Name == runbooks.StepReport && !l.report.Ended.IsZero() && tier == l.report.Tier {
		item.State, item.Tone = workflows.Done, toneGood
	}
	if item.State == stateAhead && l.over() {
		item.State = stateLeft
	}
	return item
}

// record puts a record on the list.
func (l *lists) record(i int) checkItem {
	rec := l.report.Timeline[i]
	l.used[i] = true
	item := checkItem{Step: rec.Step, What: rec.Reason, State: rec.State, Tone: recordTone(rec.State), at: rec.Started}
	if rec.Ended.After(rec.Started) {
		item.Took = span(rec.Ended.Sub(rec.Started).Seconds())
	}
	return item
}

// insert puts a step that is on no plan where it was done.
func (g *checkGroup) insert(item checkItem) {
	at := 0
	for i, other := range g.Items {
		if !other.at.IsZero() && !other.at.After(item.at) {
			at = i + 1
		}
	}
	g.Items = slices.Insert(g.Items, at, item)
}

func isFor(rec workflows.Record, from string) bool {
	return rec.Tier == from && (rec.Step == runbooks.StepFence || rec.Step == runbooks.StepRelease)
}

// rest is what happened and is on no plan: an undo, a look for orphans.
func (l *lists) rest() checkGroup {
	g := checkGroup{Name: "Besides"}
	for i, rec := range l.report.Timeline {
		if l.used[i] {
			continue
		}
		item := l.record(i)
		if rec.Tier != "" {
			item.Step += " (" + rec.Tier + ")"
		}
		g.Items = append(g.Items, item)
	}
	return g.sum()
}

// sum is the state of a group: that of its worst step.
func (g checkGroup) sum() checkGroup {
	count := map[string]int{}
	for _, item := range g.Items {
		count[item.State]++
	}
	switch {
	case count[workflows.InProgress] > 0:
		g.State, g.Tone = "under way", toneBusy
	case count[workflows.Failed] > 0:
		g.State, g.Tone = "failed", toneBad
	case count[workflows.Refused] > 0:
		g.State, g.Tone = "refused", toneWarn
	case count[stateAhead] > 0 && count[stateAhead] < len(g.Items):
		g.State, g.Tone = "under way", toneBusy
	case count[stateAhead] == len(g.Items):
		g.State, g.Tone = stateAhead, toneIdle
	default:
		g.State, g.Tone = "done", toneGood
	}
	return g
}
