package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// StepSlow is the timeline's note of a step that takes longer than it ever did.
	StepSlow = "slow step"
	// paceRuns are so many earlier runs, below which nobody can say what is usual.
	paceRuns = 3
	// paceLeast is the shortest usual time for which a step is watched: what is over in seconds is bounded well enough
	// by the tier's time, and a timer beside it would only cost.
	paceLeast = 5 * time.Second
	// paceSlack is added to the usual time: with few runs the longest of them is all that is known.
	paceSlack = 2 * time.Second
)

// paces is how long steps took before, by tier and step.
type paces map[[2]string]reports.Pace

// learn takes in what an activity found in earlier reports. A recovery without
// earlier ones knows nothing, and watches nothing.
func (r *recovery) learn(all []reports.Pace) {
	for _, p := range all {
		if r.paces == nil {
			r.paces = paces{}
		}
		r.paces[[2]string{p.Tier, p.Step}] = p
	}
}

// usual is within which time a step is over where nothing is wrong; false where
// that is not known, or where the step's end is up to a person or to the runbook.
func (p paces) usual(tier, step string) (reports.Pace, time.Duration, bool) {
	pace, known := p[[2]string{tier, step}]
	within := time.Duration(pace.P95 * float64(time.Second))
	if !known || pace.Runs < paceRuns || within < paceLeast || step == runbooks.StepApprove || step == runbooks.StepSettle {
		return pace, 0, false
	}
	return pace, within + max(paceSlack, within/10), true
}

// watch sets a timer beside a step of which it is known how long it takes. A
// step that is still going on then is told to people, once; the timer is
// cancelled when the step ends.
func (r *recovery) watch(ctx workflow.Context, rec Record) (stop func()) {
	pace, within, ok := r.paces.usual(rec.Tier, rec.Step)
	if !ok {
		return func() {}
	}
	told := ""
	watching, cancel := workflow.WithCancel(ctx)
	workflow.Go(watching, func(ctx workflow.Context) {
		timer := workflow.NewTimerWithOptions(ctx, within, workflow.TimerOptions{Summary: cut("usually "+rec.Step+" is over by then", 200)})
		if timer.Get(ctx, nil) != nil {
			return // the step has ended, or the recovery
		}
		told = r.slowText(ctx, rec, pace)
		r.note(ctx, Record{Step: StepSlow, Tier: rec.Tier, State: Noted, Reason: told})
		r.report.Advice = append(r.report.Advice, told)
		r.tell(ctx, r.color(), false)
	})
	return func() {
		cancel()
		if told != "" {
			r.report.Advice = slices.DeleteFunc(r.report.Advice, func(a string) bool { return a == told }) // it has ended
		}
	}
}

// slowText says how long a step usually takes, when it should be over, and what
// a person can do about it.
func (r *recovery) slowText(ctx workflow.Context, rec Record, pace reports.Pace) string {
	text := fmt.Sprintf("%s takes longer than it usually does: %.0f s and no end. In %d earlier runs it took %.0f s (median), at most %.0f s", rec.Step,
		workflow.Now(ctx).Sub(rec.Started).Seconds(), pace.Runs, pace.Median, pace.Longest)
	if end := rec.Started.Add(time.Duration(pace.Longest * float64(time.Second))); end.After(workflow.Now(ctx)) {
		text += fmt.Sprintf("; as slow as the slowest, it ends at %s", clock(end))
	}
	if due := r.due(rec.Tier); !due.IsZero() {
		text += fmt.Sprintf("; at %s its time is over, and it is given up", clock(due))
	}
	id := fmt.Sprintf("%s-%d", r.in.Service, r.in.Epoch)
	switch {
	case r.leave != nil && r.trying == rec.Tier:
		text += fmt.Sprintf(". To undo what %[1]s did and try it again: understudy retry %[2]s; to try the next tier: understudy skip %[2]s", rec.Tier, id)
	case r.leave != nil:
		text += fmt.Sprintf(". It is made ready beside %s, and nothing waits for it yet", r.trying)
	default:
		text += ". To end it all: understudy abort " + id
	}
	return text
}

// due is when the time of a tier that is being made is over; zero where none is.
func (r *recovery) due(tier string) time.Time {
	m := r.makings[tier]
	if m == nil && r.current != nil && r.current.tier.Name == tier {
		m = r.current
	}
	if m == nil {
		return time.Time{}
	}
	return m.due
}
