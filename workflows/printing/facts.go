package printing

import (
	"fmt"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// comparable are so many runs, below which nobody can say what is usual.
const comparable = 3

// Tones of what is shown.
const (
	good = "good"
	bad  = "bad"
	warn = "warn"
	calm = "calm"
)

// finding is one sentence about what somebody should know or look after.
type finding struct {
	Tone, Text string
}

// title names a report.
func title(r workflows.Report) string {
	kind := map[string]string{workflows.ModeDrill: "Drill", workflows.ModeFailback: "Failback"}[r.Mode]
	if kind == "" {
		kind = "Recovery"
	}
	return fmt.Sprintf("%s %d of %s", kind, r.Epoch, r.Service)
}

// outcomeTone is how an outcome is to be taken.
func outcomeTone(outcome string) string {
	switch outcome {
	case workflows.OutcomeRecovered, workflows.OutcomeFalseAlarm, workflows.OutcomeSelf, workflows.OutcomeDrilled, workflows.OutcomeHome:
		return good
	case workflows.OutcomeFailed, workflows.OutcomeDrillFailed:
		return bad
	case "":
		return calm
	default:
		return warn
	}
}

// took is how long a record took, in seconds; false where it has not ended.
func took(rec workflows.Record) (float64, bool) {
	if rec.Ended.IsZero() {
		return 0, false
	}
	return rec.Ended.Sub(rec.Started).Seconds(), true
}

// beyond is the pace that a step has missed; false where it kept it, or none is known.
func beyond(r workflows.Report, rec workflows.Record) (reports.Pace, bool) {
	seconds, ok := took(rec)
	pace, known := r.Past.Pace(rec.Tier, rec.Step)
	// What the runbook or a person sets the length of is never slow.
	if !ok || !known || rec.State != workflows.Done || rec.Step == runbooks.StepSettle || rec.Step == runbooks.StepApprove {
		return pace, false
	}
	return pace, slower(seconds, pace)
}

// slower reports whether something took longer than 95 of 100 runs, by more than
// the noise of a busy machine.
func slower(seconds float64, pace reports.Pace) bool {
	return pace.Runs >= comparable && seconds > pace.P95 && seconds-pace.P95 > max(0.1, pace.P95/20)
}

// findings are what the report says that somebody should know, the worst first.
func findings(r workflows.Report) []finding {
	var worst, slow, rest []finding
	add := func(to *[]finding, tone, format string, args ...any) {
		*to = append(*to, finding{tone, fmt.Sprintf(format, args...)})
	}
	if r.Outcome == workflows.OutcomeFailed || r.Outcome == workflows.OutcomeDrillFailed {
		add(&worst, bad, "%s", r.Reason)
	}
	if r.Lost != "" {
		add(&worst, bad, "the new active failed within the confirm window: %s", r.Lost)
	}
	for _, orphan := range r.Orphans {
		add(&worst, bad, "%s was left behind; see understudy status --machines", orphan)
	}
	if r.Evidence.OwnViewFails != "" {
		add(&worst, warn, "our own view failed as well: %s", r.Evidence.OwnViewFails)
	}
	if missed(r) {
		add(&worst, bad, "the objective of %s was missed by %.1f s", r.Objective, r.RTOSeconds-r.Objective.D().Seconds())
	}
	for _, p := range r.Drilled {
		if !p.Passed {
			add(&worst, bad, "%s would not have worked: %s", p.Tier, p.Reason)
		}
	}
	for _, rec := range r.Timeline {
		if pace, ok := beyond(r, rec); ok {
			seconds, _ := took(rec)
			add(&slow, warn, "%s took %s, longer than it usually does: in %d earlier runs %s (median), %s (p95)", of(rec), span(seconds), pace.Runs, span(pace.Median), span(pace.P95))
		}
		switch rec.State {
		case workflows.Refused:
			add(&rest, warn, "%s was refused: %s", of(rec), rec.Reason)
		case workflows.Failed:
			add(&rest, warn, "%s failed: %s", of(rec), rec.Reason)
		}
	}
	if r.RPOSeconds > 0 {
		add(&rest, calm, "the newest %s of data did not arrive", span(r.RPOSeconds))
	}
	for _, lost := range r.InFlight {
		add(&rest, calm, "batch %s", workflows.LostText(lost))
	}
	if r.NoReturn {
		add(&rest, calm, "something was done that cannot be undone: a host was stopped, or a machine given back")
	}
	return append(append(worst, slow...), rest...)
}

// promised leaves the objective only where it was one: a planned way home is no
// outage, and a drill brings nothing back.
func promised(r workflows.Report) workflows.Report {
	if r.Mode == workflows.ModeFailback || r.Mode == workflows.ModeDrill {
		r.Objective = 0
	}
	return r
}

func missed(r workflows.Report) bool {
	return r.Objective > 0 && !r.Verified.IsZero() && r.RTOSeconds > r.Objective.D().Seconds()
}

// of names a step with its tier.
func of(rec workflows.Record) string {
	if rec.Tier == "" {
		return rec.Step
	}
	return rec.Step + " (" + rec.Tier + ")"
}

// machines are the records of what was made and given back.
func machines(r workflows.Report) []workflows.Record {
	var all []workflows.Record
	for _, rec := range r.Timeline {
		about := rec.Step == runbooks.StepProvision || rec.Step == runbooks.StepRelease || rec.Step == runbooks.StepOrphans ||
			rec.Step == runbooks.StepUndo && strings.Contains(rec.Reason, "machine")
		if about {
			all = append(all, rec)
		}
	}
	return all
}

// observed is one observer's word.
type observed struct {
	runbooks.Observation
	// Who is the observer, for people.
	Who string
}

// evidence is what was seen before anything was done.
func evidence(r workflows.Report) []observed {
	var all []observed
	add := func(who string, o runbooks.Observation) {
		if o.Finding != "" {
			all = append(all, observed{o, who})
		}
	}
	add("Understudy's own probe", r.Evidence.Own)
	for _, o := range r.Evidence.Others {
		add(o.Domain, o)
	}
	if r.Evidence.Canary != nil {
		add("the canary", *r.Evidence.Canary)
	}
	return all
}

// batches is what became of interrupted batches; empty where there were none.
func batches(r workflows.Report) string {
	for _, rec := range r.Timeline {
		if rec.Step == runbooks.StepResume {
			return rec.Reason
		}
	}
	return ""
}

// span words seconds.
func span(seconds float64) string {
	switch {
	case seconds < 0.9995:
		return fmt.Sprintf("%.0f ms", seconds*1000)
	case seconds < 100:
		return fmt.Sprintf("%.2f s", seconds)
	default:
		return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
	}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05.000 UTC")
}
