package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// means says what each part of the recovery time is.
var means = map[string]string{
	workflows.PartDetect:    "until Alertmanager's webhook reached Understudy",
	workflows.PartDecide:    "until observers agreed and the standby passed its gate",
	workflows.PartMount:     "until s3fs had the model mounted and proven",
	workflows.PartRestore:   "until Litestream had restored the history",
	workflows.PartProvision: "until the machine was made: here, a process started",
	workflows.PartBoot:      "until it ran",
	workflows.PartLoad:      "until the recognizer had loaded its model",
	workflows.PartFence:     "until the failed server was off the traffic",
	workflows.PartSwitch:    "until the standby was on it, read back from HAProxy",
	workflows.PartVerify:    "until real transcriptions came back right",
}

// others are the steps in which Understudy waits for others: the store, the
// program that starts and loads its model, the model that transcribes.
var others = []string{
	runbooks.StepMount, runbooks.StepRestore, runbooks.StepBoot, runbooks.StepLoad, runbooks.StepProve, runbooks.StepVerify,
}

// barWidth is the length of the bar of the whole time.
const barWidth = 24

// own is Understudy's own share of a recovery time: what is left from the
// moment in which it heard of the outage without the steps in which it waited
// for others. Steps that ran side by side count once.
func own(r workflows.Report) time.Duration {
	if r.Verified.IsZero() {
		return 0
	}
	var steps []workflows.Record
	switched := r.Verified
	for _, rec := range r.Timeline {
		switch {
		case rec.Ended.IsZero():
		case rec.Step == runbooks.StepCutOver:
			switched = rec.Ended
		case slices.Contains(others, rec.Step):
			// A first canary goes together with the switch. Where it is too slow for that, it is in no step of its own.
			if rec.Step == runbooks.StepVerify && switched.Before(rec.Started) {
				rec.Started = switched
			}
			steps = append(steps, rec)
		}
	}
	slices.SortFunc(steps, func(a, b workflows.Record) int { return a.Started.Compare(b.Started) })
	left, mark := r.Verified.Sub(r.Trigger.Received), r.Trigger.Received
	for _, rec := range steps {
		from, to := rec.Started, rec.Ended
		if from.Before(mark) {
			from = mark
		}
		if to.After(r.Verified) {
			to = r.Verified
		}
		if to.After(from) {
			left -= to.Sub(from)
			mark = to
		}
	}
	return max(left, 0)
}

// showTimes splits the recovery time of an act, and holds it against its objectives.
func showTimes(s *show, p played, objectives runbooks.Objectives) {
	r := p.recovery.Report
	if r.Verified.IsZero() {
		return
	}
	s.text(bold, "From %s to %s", p.victim, p.tier)
	unseen, whole := r.Trigger.OutageSince.Sub(p.kill).Seconds(), r.Verified.Sub(p.kill).Seconds()
	line := func(name string, seconds float64, style style, bar, text string) {
		s.row(cell{name, 10, style}, cell{fmt.Sprintf("%7.3f s", seconds), 11, style}, cell{bar, barWidth + 2, chat}, cell{text: text})
	}
	line("unseen", unseen, dim, bar(0, unseen/whole), fmt.Sprintf("from the kill until Prometheus saw it; it looks every %s", scrapeEvery))
	from := unseen
	for _, part := range r.Breakdown {
		line(part.Name, part.Seconds, normal, bar(from/whole, part.Seconds/whole), means[part.Name]+took(r, part.Name))
		from += part.Seconds
	}
	line("RTO", r.RTOSeconds, bold, bar(unseen/whole, r.RTOSeconds/whole), "from the alert to a verified answer; "+against(r.RTOSeconds, objectives.RTO))
	line("own", own(r).Seconds(), bold, "", "of it Understudy's own: all but alerts, stores and models")
	if len(r.Restored) > 0 {
		line("RPO", r.RPOSeconds, bold, "", "age of the newest change that arrived; "+against(r.RPOSeconds, objectives.RPO))
	}
	line("in all", whole, bold, bar(0, 1), "from the kill to a verified answer")
}

// took says how long the steps took that run side by side: of the recovery time
// only what the other one had not taken before is theirs.
func took(r workflows.Report, part string) string {
	if part != workflows.PartMount && part != workflows.PartRestore {
		return ""
	}
	for _, rec := range r.Timeline {
		if rec.Step == part && rec.State == workflows.Done {
			return fmt.Sprintf(" (took %.1f s)", rec.Ended.Sub(rec.Started).Seconds())
		}
	}
	return ""
}

// objectivesOf are the service's, or those of a tier where it has its own.
func objectivesOf(r runbooks.Runbook, tier string) runbooks.Objectives {
	o := r.Objectives
	if t, ok := r.TierNamed(tier); ok && t.Objectives != nil {
		o.RTO = cmp.Or(t.Objectives.RTO, o.RTO)
		o.RPO = cmp.Or(t.Objectives.RPO, o.RPO)
	}
	return o
}

func against(seconds float64, objective runbooks.Duration) string {
	switch {
	case objective == 0:
		return "no objective"
	case seconds <= objective.D().Seconds():
		return fmt.Sprintf("objective %s: met", objective)
	default:
		return fmt.Sprintf("objective %s: missed", objective)
	}
}

// bar draws a span of the whole, both as shares of it; what is too short to see is a thin line.
func bar(from, length float64) string {
	begin := min(int(barWidth*max(from, 0)+0.5), barWidth-1)
	cells := min(int(barWidth*length+0.5), barWidth-begin)
	if cells <= 0 {
		return strings.Repeat(" ", begin) + "▏"
	}
	return strings.Repeat(" ", begin) + strings.Repeat("█", cells)
}
