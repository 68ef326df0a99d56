package workflows

import (
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/runbooks"
)

// prewarm begins to make the standbys that the runbook wants warmed up while
// the tiers before them are still tried.
func (r *recovery) prewarm(ctx workflow.Context) {
	for _, rung := range r.in.Plan.Rungs {
		tier, ok := r.in.Runbook.TierNamed(rung.Tier)
		if ok && rung.Refused == "" && tier.Prewarm && tier.Rests() && (tier.Approval == nil || tier.Approval.Waived) {
			r.begin(ctx, rung, tier)
		}
	}
}

// begin starts a making beside the recovery's own steps.
func (r *recovery) begin(ctx workflow.Context, rung runbooks.Rung, tier runbooks.Tier) *making {
	m := &making{rung: rung, tier: tier, due: workflow.Now(ctx).Add(rung.Within.D())}
	r.tries[tier.Name]++
	m.try = r.tries[tier.Name]
	ctx, m.cancel = workflow.WithCancel(ctx)
	r.makings[tier.Name] = m
	workflow.Go(ctx, func(ctx workflow.Context) { r.make(ctx, m) })
	return m
}

// prepare waits until a rung's standby serves, and hands its undo over to the
// recovery. What is left of the tier's time is returned with the rung.
func (r *recovery) prepare(ctx workflow.Context, rung *runbooks.Rung, tier runbooks.Tier) (due time.Time, ok bool) {
	m := r.makings[tier.Name]
	if m == nil {
		m = r.begin(ctx, *rung, tier)
	}
	// A cancellation reaches the making as well; it ends by itself, and soon.
	waiting, _ := workflow.NewDisconnectedContext(ctx)
	_ = workflow.Await(waiting, func() bool { return m.done })
	delete(r.makings, tier.Name)
	r.undo.entries = append(r.undo.entries, m.undo.entries...)
	if !m.ok || ctx.Err() != nil {
		return m.due, false
	}
	rung.Target = m.target
	r.current = m
	return m.due, true
}

// dropMakings ends the makings that are not needed, all but that of the tier
// given, and takes back what they did.
func (r *recovery) dropMakings(ctx workflow.Context, but string) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	for _, rung := range r.in.Plan.Rungs {
		m := r.makings[rung.Tier]
		if m == nil || rung.Tier == but {
			continue
		}
		delete(r.makings, rung.Tier)
		m.cancel()
		_ = workflow.Await(ctx, func() bool { return m.done })
		kept := r.undo
		r.undo = m.undo
		r.unwind(ctx, 0)
		r.undo = kept
	}
}

// leaveNothing removes what was made for a tier that did not get the traffic.
func (r *recovery) leaveNothing(ctx workflow.Context) {
	if r.report.Active != r.in.Active.Name {
		return // it serves
	}
	r.dropMakings(ctx, "")
	r.undo.onlyOurs()
	r.unwind(ctx, 0)
}

// hopeless passes over a rung for which a machine would be made, or an instance
// woken, where a cause is known that would let it fail as well.
func (r *recovery) hopeless(ctx workflow.Context, rung runbooks.Rung) bool {
	tier, _ := r.in.Runbook.TierNamed(rung.Tier)
	if r.shared == "" || !tier.Rests() {
		return false
	}
	cause := r.shared
	if r.alike {
		answer := r.question(ctx, Question{
			Text: "a shared cause? " + cause + ". Climb on to " + rung.Tier + " all the same?", Tier: rung.Tier,
			Choices: []Choice{{"climb", rung.Tier + " is tried"}, {"stop", "the recovery ends here; nothing more is made"}},
		})
		if answer.choice() == "climb" {
			r.note(ctx, Record{Step: runbooks.StepGate, Tier: rung.Tier, State: Noted, Reason: "climbs on by order of " + answer.By + ": " + answer.Reason})
			r.shared, r.alike = "", false
			return false
		}
	}
	r.note(ctx, Record{Step: runbooks.StepGate, Tier: rung.Tier, State: Refused, Reason: "shared cause: " + cause + "; climbing would only burn machines"})
	return true
}

// suspectShared notes that a standby fails as the active does: answering, and
// wrongly. Two hosts that are both gone are a site that is gone, and that is
// what the next tiers are for.
func (r *recovery) suspectShared(verdict runbooks.Verdict, rung runbooks.Rung, finding runbooks.Finding, detail string) {
	same := verdict == runbooks.Wrong && (finding == runbooks.Incorrect || finding == runbooks.Errors) ||
		verdict == runbooks.Hung && finding == runbooks.Silent
	if same && r.shared == "" {
		r.shared, r.alike = rung.Tier+" fails in the same way as "+r.in.Active.Name+": "+detail, true
	}
}

// expires is when a machine that nobody claims any more is forgotten.
func (r *recovery) expires(ctx workflow.Context) time.Time {
	ttl := r.in.Runbook.Policy.Limits.TTL.D()
	if r.in.Mode == ModeDrill && r.in.Runbook.Drill != nil {
		ttl = r.in.Runbook.Drill.TTL.D()
	}
	return workflow.Now(ctx).Add(ttl)
}

func join(parts []string) string { return strings.Join(parts, "; ") }
