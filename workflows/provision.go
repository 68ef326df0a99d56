package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

// provision orders a machine, at one placement after the other. An order is
// repeated with its key until there is an answer; only a definite no moves on
// to the next place, so that there are never two.
func (r *recovery) provision(ctx workflow.Context, m *making) (compute.Ref, bool) {
	p := *m.tier.Provision
	full := map[string]bool{} // regions whose quota is used up
	for i, place := range p.Places() {
		if full[place.Region] {
			r.note(ctx, Record{Step: runbooks.StepProvision, Tier: m.tier.Name, State: Refused, Reason: place.Text() + ": the quota of its region is used up"})
			continue
		}
		ref, err := r.order(ctx, m, i, place)
		switch errorType(err) {
		case "":
			if err == nil {
				return ref, true
			}
			return ref, false // no answer within the tier's time; the undo finds out what became of it
		case activities.ErrTypeCapacity:
		case activities.ErrTypeQuota:
			full[place.Region] = true
			r.report.Person = true
			r.report.Advice = append(r.report.Advice, "ask for a higher quota: "+reason(err))
			r.tell(ctx, r.color(), false)
		default:
			return ref, false
		}
	}
	return compute.Ref{}, false
}

// order makes one logical attempt at one place.
func (r *recovery) order(ctx workflow.Context, m *making, i int, place runbooks.Placement) (compute.Ref, error) {
	p := *m.tier.Provision
	e := r.effect(ctx, fmt.Sprintf("%s-%d", m.act("make"), i), m.left(ctx))
	ref := compute.Ref{Key: e.Key, Provision: p, Placement: place}
	entry := m.undo.mark()
	m.undo.push(r.released(m.tier.Name, ref))
	shut := r.open(ctx, runbooks.StepProvision, m.tier.Name, "ordering "+place.Text())
	r.report.Timeline[len(r.report.Timeline)-1].Place = place.Text()
	in := activities.ProvisionStandbyInput{
		Effect: e,
		Order: compute.Order{
			Key: e.Key, Service: r.in.Service, Epoch: r.in.Epoch, Mode: r.in.Mode, Expires: r.expires(ctx), Provision: p, Placement: place, Env: p.Env,
		},
		Prepare: activities.Preparation{Settings: r.in.Runbook.Settings, Volumes: m.tier.Volumes, Data: r.in.Runbook.DataOf(m.tier.Name), From: from(m)},
	}
	told := false
	for {
		result, err := do(ctx, m.within(ctx, makeStandby), "make a machine at "+place.Text(), acts.ProvisionStandby, in)
		switch errorType(err) {
		case "":
			if err != nil {
				shut(Failed, "no answer within the tier's time: "+reason(err), result.Timing)
				return ref, err
			}
			ref.ID = result.Machine.ID
			m.made = &activities.Made{Tier: m.tier.Name, Machine: ref, Where: result.Machine.Where, Since: result.Ended, Price: place.Price}
			if p.Here() && len(m.tier.Volumes) > 0 {
				m.made.Volumes = r.effect(ctx, m.act("mount"), 0).Key
			}
			if p.Here() && len(m.restored) > 0 {
				m.made.Data = r.effect(ctx, m.act("restore"), 0).Key
			}
			m.undo.entries[entry] = r.released(m.tier.Name, ref)
			shut(Done, fmt.Sprintf("%s at %s", ref.ID, place.Text()), result.Timing)
			r.report.share(&r.mark, PartProvision, result.Ended)
			return ref, nil
		case activities.ErrTypeCredentials:
			// The order was not taken, so nothing is consumed: the same call again, with the credentials that are there then.
			if !told {
				told = true
				r.report.Person = true
				r.report.Advice = append(r.report.Advice, "renew the credentials, the order is repeated until then: "+reason(err))
				r.tell(ctx, r.color(), false)
			}
			if !workflow.Now(ctx).Add(credentialsAgain).Before(m.due) || workflow.Sleep(ctx, credentialsAgain) != nil {
				shut(Failed, reason(err), result.Timing)
				return ref, err
			}
		default:
			shut(Refused, reason(err), result.Timing)
			if kind := errorType(err); kind == activities.ErrTypeCapacity || kind == activities.ErrTypeQuota {
				m.undo.entries = m.undo.entries[:entry] // a definite no: there is nothing to take back
			}
			return ref, err
		}
	}
}

// from is the epoch below whose prefix a machine elsewhere finds the data.
func from(m *making) int64 {
	if len(m.restored) == 0 {
		return 0
	}
	return m.restored[0].Epoch
}

// released gives a machine back.
func (r *recovery) released(tier string, ref compute.Ref) undo {
	return undo{what: "the machine of " + tier + " given back", tier: tier, ours: true, slow: ref.ID == "", act: func(ctx workflow.Context) error {
		_, err := r.release(ctx, tier, ref, "undo")
		return err
	}}
}

// release stops or removes a machine, and sees that it is off.
func (r *recovery) release(ctx workflow.Context, tier string, ref compute.Ref, act string) (activities.ReleaseResult, error) {
	in := activities.ReleaseMachineInput{
		Effect: r.effect(ctx, act+"-machine-"+tier, 0), Machine: ref,
		Stop: ref.Provision.Keep == "stopped" || act != "undo" && ref.Provision.Release == "stop",
	}
	if ref.ID == "" && ref.Provision.Kind != "local" {
		in.Appear = runbooks.Duration(appearsWithin)
	}
	return do(ctx, r.takingBack(), "give back the machine of "+tier, acts.ReleaseMachine, in)
}

// agreed asks for the agreement of a person, bound to the plan that is shown.
func (r *recovery) agreed(ctx workflow.Context, m *making) bool {
	a := m.tier.Approval
	if a == nil || a.Waived || r.in.Mode == ModeDrill || r.in.Approved == r.in.Plan.Hash {
		return true
	}
	shut := r.open(ctx, runbooks.StepApprove, m.tier.Name, "waiting for "+strings.Join(a.Roles, " or "))
	answer := r.question(ctx, Question{
		Text:  fmt.Sprintf("may %s move to %s?", r.in.Service, m.tier.Name),
		Tier:  m.tier.Name,
		Plan:  r.in.Plan.Hash,
		Roles: a.Roles,
		Until: workflow.Now(ctx).Add(a.Timeout.D()),
		Choices: []Choice{
			{Answer: "approve", Leaves: m.tier.Name + " is made and takes the traffic once it is proven"},
			{Answer: "reject", Leaves: m.tier.Name + " is left out; nothing is made"},
		},
	})
	switch {
	case ctx.Err() != nil:
		shut(Failed, "stopped", activities.Timing{})
		return false
	case answer == nil:
		shut(Refused, "nobody agreed within "+a.Timeout.String()+"; silence is never a yes", activities.Timing{})
		return false
	case answer.Answer != "approve":
		shut(Refused, fmt.Sprintf("rejected by %s: %s", answer.By, answer.Reason), activities.Timing{})
		return false
	}
	shut(Done, fmt.Sprintf("approved by %s for plan %s: %s", answer.By, r.in.Plan.Hash, answer.Reason), activities.Timing{})
	r.report.share(&r.mark, PartApprove, workflow.Now(ctx))
	return true
}

// claimFirst records the epoch outside Temporal; without it nothing is made.
func (r *recovery) claimFirst(ctx workflow.Context, m *making) bool {
	if r.in.Mode == ModeDrill {
		return true // a drill writes nothing that anybody else reads
	}
	options := record
	options.ScheduleToCloseTimeout, options.StartToCloseTimeout = claimBeforeMaking, missedAfter // a dead worker's is missed as soon as any
	shut := r.open(ctx, runbooks.StepClaim, m.tier.Name, "recording the epoch")
	err := perform(ctx, options, "record the epoch before anything is made", acts.ClaimEpoch, activities.ClaimEpochInput{
		Effect: r.effect(ctx, "claim", 0), Holder: r.report.Recovery,
	})
	if err == nil {
		shut(Done, fmt.Sprintf("epoch %d", r.in.Epoch), activities.Timing{})
		return true
	}
	if errorType(err) == activities.ErrTypeSuperseded {
		shut(Refused, reason(err), activities.Timing{})
		r.superseded(reason(err))
		return false
	}
	shut(Refused, "the epoch store is away, and without it nothing is made: "+reason(err), activities.Timing{})
	return false
}

// afford takes the site's budget for one machine; above it a person decides.
func (r *recovery) afford(ctx workflow.Context, m *making) bool {
	in := activities.BudgetInput{
		Kind: activities.BudgetMachine, Service: r.in.Service, Key: r.effect(ctx, m.act("budget"), 0).Key, ServicePerDay: r.in.Runbook.Policy.Limits.PerDay,
	}
	result, err := do(ctx, m.within(ctx, handOver), "take from the budget", acts.TakeBudget, in)
	switch {
	case err != nil:
		r.note(ctx, Record{Step: runbooks.StepCheck, Tier: m.tier.Name, State: Refused, Reason: "the budget could not be asked: " + reason(err)})
		return false
	case result.Granted:
		r.budget = append(r.budget, in)
		return true
	}
	asked := workflow.Now(ctx)
	answer := r.question(ctx, Question{
		Text: fmt.Sprintf("the budget for machines is used up (%s); make one for %s all the same?", result.Reason, r.in.Service), Tier: m.tier.Name,
		Choices: []Choice{{"go on", "a machine is made beyond the budget"}, {"stop", m.tier.Name + " is left out; nothing is made"}},
	})
	m.due = m.due.Add(workflow.Now(ctx).Sub(asked))
	if answer == nil || answer.Answer != "go on" {
		r.note(ctx, Record{Step: runbooks.StepCheck, Tier: m.tier.Name, State: Refused, Reason: "budget: " + result.Reason})
		return false
	}
	r.note(ctx, Record{Step: runbooks.StepCheck, Tier: m.tier.Name, State: Noted, Reason: fmt.Sprintf("beyond the budget, by %s: %s", answer.By, answer.Reason)})
	return true
}

// repay gives back what was taken from the budget for machines in flight.
func (r *recovery) repay(ctx workflow.Context) {
	for _, in := range r.budget {
		in.Done = true
		_, _ = do(ctx, handOver, "give back to the budget", acts.TakeBudget, in) // a share that is not given back expires
	}
}
