package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// drill practises tiers: by the very steps of a recovery, with machines, data
// and keys of its own, and without any traffic. What it made is gone when it
// ends, and that is looked at.
func (r *recovery) drill(ctx workflow.Context) {
	for _, rung := range r.in.Plan.Rungs {
		if !slices.Contains(r.in.Tiers, rung.Tier) {
			continue
		}
		began := workflow.Now(ctx)
		from := len(r.report.Timeline)
		foot := r.undo.mark()
		passed := rung.Refused == "" && r.practise(ctx, rung)
		p := Practice{Tier: rung.Tier, Passed: passed, Seconds: workflow.Now(ctx).Sub(began).Seconds(), Reason: rung.Refused}
		for _, rec := range r.report.Timeline[from:] {
			if rec.State == Refused || rec.State == Failed {
				p.Reason = rec.Step + ": " + rec.Reason
			}
		}
		r.report.Drilled = append(r.report.Drilled, p)
		if passed {
			r.report.Proven = append(r.report.Proven, activities.Proven{Tier: p.Tier, At: workflow.Now(ctx), Seconds: p.Seconds, Epoch: r.in.Epoch, Mode: r.in.Mode})
		}
		r.unwind(ctx, foot)
		if r.stopped(ctx) {
			break
		}
	}
	r.lookForOrphans(ctx)
	if r.report.Outcome != "" {
		return
	}
	var failed, passed []string
	for _, p := range r.report.Drilled {
		if p.Passed {
			passed = append(passed, fmt.Sprintf("%s proven in %.1f s", p.Tier, p.Seconds))
		} else {
			failed = append(failed, p.Tier+" would fail: "+p.Reason)
		}
	}
	switch {
	case len(r.report.Orphans) > 0:
		r.report.Person = true
		r.end(OutcomeDrillFailed, "machines were left behind: "+strings.Join(r.report.Orphans, ", "))
	case len(failed) > 0:
		r.report.Person = true
		r.end(OutcomeDrillFailed, join(append(failed, passed...)))
	default:
		r.end(OutcomeDrilled, join(append(passed, "0 orphans")))
	}
}

// practise goes the way to one standby, up to the switch.
func (r *recovery) practise(ctx workflow.Context, rung runbooks.Rung) bool {
	tier, _ := r.in.Runbook.TierNamed(rung.Tier)
	if tier.Rests() {
		var ok bool
		if _, ok = r.prepare(ctx, &rung, tier); !ok {
			return false
		}
	}
	rung.Hold = true // nothing is ever taken out of the traffic by a drill
	return r.gate(ctx, rung, runbooks.Dead) && r.prove(ctx, rung, runbooks.Dead)
}

// lookForOrphans looks, after everything was taken back, for machines of this
// recovery that are still there.
func (r *recovery) lookForOrphans(ctx workflow.Context) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if workflow.Await(ctx, func() bool { return r.undoing == 0 }) != nil {
		return
	}
	var provisions []runbooks.Provision
	for _, name := range r.in.Tiers {
		if tier, ok := r.in.Runbook.TierNamed(name); ok && tier.Provision != nil {
			provisions = append(provisions, *tier.Provision)
		}
	}
	if len(provisions) == 0 {
		return
	}
	shut := r.open(ctx, runbooks.StepOrphans, "", "looking for what was left behind")
	options := r.takingBack()
	result, err := do(ctx, options, "look for orphans", acts.FindOrphans, activities.FindOrphansInput{Service: r.in.Service, Epoch: r.in.Epoch, Mode: r.in.Mode, Provisions: provisions})
	if err != nil {
		r.report.Person = true
		shut(Failed, "it could not be looked for orphans: "+reason(err), result.Timing)
		return
	}
	r.report.Orphans = result.Machines
	if len(result.Machines) > 0 {
		shut(Failed, "still there: "+strings.Join(result.Machines, ", ")+"; see understudy status --machines", result.Timing)
		return
	}
	shut(Done, fmt.Sprintf("0 orphans: %d machines listed, none of this drill", result.Listed), result.Timing)
}

// mayDrill refuses what makes no sense.
func (g *guard) mayDrill(u DrillUpdate) error {
	switch {
	case u.By == "":
		return errors.New("who asks? a drill needs a name")
	case u.GameDay && u.Reason == "":
		return errors.New("a game day needs a reason: somebody will ask why the service was stopped")
	default:
		return nil
	}
}

// askedToDrill starts a drill where the times are good. A repeated update is
// answered again.
func (g *guard) askedToDrill(ctx workflow.Context, u DrillUpdate) (RecoverAnswer, error) {
	now := workflow.Now(ctx)
	trigger := Trigger{Kind: TriggerPerson, Text: fmt.Sprintf("%s asks for a drill: %s", u.By, u.Reason), By: u.By, Received: now, OutageSince: now}
	if u.Scheduled {
		trigger.Kind, trigger.Text = TriggerSchedule, "scheduled drill"
	}
	if u.GameDay {
		trigger.Text = fmt.Sprintf("%s holds a game day: %s", u.By, u.Reason)
		return g.answered(ctx, Ask{Trigger: trigger, GameDay: true, Plan: u.Plan, Role: u.Role})
	}
	return g.answered(ctx, Ask{Trigger: trigger, Drill: true, Tiers: u.Tiers})
}

// drillTiers are the tiers that a drill tries, where nobody says which: those
// of the runbook's drill, or all that make machines.
func drillTiers(r runbooks.Runbook, asked []string) []string {
	if len(asked) > 0 {
		return asked
	}
	if r.Drill != nil && len(r.Drill.Tiers) > 0 {
		return r.Drill.Tiers
	}
	var names []string
	for _, t := range r.Tiers {
		if t.Provision != nil {
			names = append(names, t.Name)
		}
	}
	if len(names) == 0 {
		for _, t := range r.Tiers {
			names = append(names, t.Name)
		}
	}
	return names
}
