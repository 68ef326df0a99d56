package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// maxLooks bounds how often a diagnosis that stays open is taken up again.
const maxLooks = 20

// diagnose finds out what is wrong with the active. Together with the first
// look, the running standbys are asked as well: most of the time the next step
// needs the answer, and nothing is faster than to have it already.
func (r *recovery) diagnose(ctx workflow.Context) (runbooks.Verdict, string) {
	shut := r.open(ctx, runbooks.StepDiagnose, "", "looking at "+r.in.Active.URL)
	in := activities.DiagnoseInput{
		Service: r.in.Service, Active: r.in.Active, Health: r.in.Runbook.Health, Traffic: r.in.Runbook.TrafficOf(r.in.Active.Name),
	}
	hasty := in
	hasty.Once = r.in.Trigger.Kind == TriggerHeartbeat // whose failed looks were whole ones, the last a moment ago
	first := lookAt(ctx, hasty)
	asked := r.askStandbys(ctx)
	d, err := first()
	asked()
	if err != nil {
		shut(Failed, "the active could not be looked at: "+reason(err), d.Timing)
		return runbooks.Unknown, "the active could not be looked at: " + reason(err)
	}
	timing := d.Timing
	silentSince := d.Started
	verdict, why := r.judge(d, silentSince)
	for looks := 0; looks < maxLooks && ctx.Err() == nil; looks++ {
		until, open := r.worthWaiting(ctx, verdict, d.Evidence.Own.Finding, silentSince)
		switch {
		case r.needsCanary(verdict, d):
			d.Evidence.Canary = r.canary(ctx)
		case open:
			shut(InProgress, string(verdict)+": "+why, activities.Timing{})
			r.waited = true
			r.tell(ctx, r.color(), false)
			if d, err = do(ctx, longLook, "wait while "+string(verdict)+": "+why, acts.Observe, activities.ObserveInput{
				DiagnoseInput: in, Extra: r.evidence(), SilentSince: silentSince, Verdict: verdict, Until: until,
			}); err != nil {
				verdict, why = runbooks.Unknown, "it could not be observed: "+reason(err)
				shut(Failed, why, activities.Timing{})
				return verdict, why
			}
			if d.Evidence.Own.Finding != runbooks.Silent {
				silentSince = d.Started
			}
		default:
			looks = maxLooks
			continue
		}
		timing.Ended = workflow.Now(ctx)
		if timing.Ended.Before(d.Ended) {
			timing.Ended = d.Ended
		}
		verdict, why = r.judge(d, silentSince)
	}
	r.before, r.report.Evidence, r.report.Verdict = d.View, d.Evidence, string(verdict)
	shut(Done, string(verdict)+": "+why, timing)
	r.report.share(&r.mark, PartDecide, timing.Ended)
	return verdict, why
}

// lookAt begins to look at the active: inside the workflow task where its health
// check is quick enough, else as an activity.
func lookAt(ctx workflow.Context, in activities.DiagnoseInput) func() (activities.Diagnosis, error) {
	if quick(in.Health) {
		return glance(ctx, "diagnose "+in.Active.Name, acts.Diagnose, in)
	}
	return func() (activities.Diagnosis, error) {
		return do(ctx, longLook, "diagnose "+in.Active.Name, acts.Diagnose, in)
	}
}

// quick reports whether two tries of a health check fit into one look.
func quick(h runbooks.Health) bool {
	return 2*h.Timeout.D() <= activities.LookLimit-100*time.Millisecond
}

// askStandbys begins to ask the running standbys of the ladder, and returns how
// to wait for their answers.
func (r *recovery) askStandbys(ctx workflow.Context) (wait func()) {
	type asked struct {
		tier  string
		reply func() (activities.Gate, error)
	}
	var all []asked
	if quick(r.in.Runbook.Health) {
		for _, rung := range r.in.Plan.Rungs {
			if tier, _ := r.in.Runbook.TierNamed(rung.Tier); rung.Refused == "" && tier.Provision == nil && tier.Activate == nil {
				all = append(all, asked{rung.Tier, r.ask(ctx, rung.Target)})
			}
		}
	}
	return func() {
		for _, a := range all {
			if gate, err := a.reply(); err == nil {
				r.gates[a.tier] = gate
			}
		}
	}
}

// judge adds what was heard from outside to what was seen.
func (r *recovery) judge(d activities.Diagnosis, silentSince time.Time) (runbooks.Verdict, string) {
	e := d.Evidence
	e.Others = append(append([]runbooks.Observation{}, e.Others...), r.evidence()...)
	return runbooks.Judge(e, r.in.Runbook.Health, d.Started.Sub(silentSince))
}

// evidence is the trigger's, unless it is about an outage before the active
// became the active: then it says nothing about it.
func (r *recovery) evidence() []runbooks.Observation {
	if r.resolved || r.in.Trigger.OutageSince.Before(r.in.ActiveSince) && r.in.Active.Name != runbooks.PrimaryName {
		return nil
	}
	return r.in.Trigger.Evidence()
}

// needsCanary reports whether only an inference can tell more: the instance
// answers, and none was run yet.
func (r *recovery) needsCanary(v runbooks.Verdict, d activities.Diagnosis) bool {
	return (v == runbooks.Healthy || v == runbooks.Degraded) && d.Evidence.Canary == nil && r.in.Runbook.Canary != nil
}

// canary sends the canary to the active itself.
func (r *recovery) canary(ctx workflow.Context) *runbooks.Observation {
	proof, err := do(ctx, longLook, "send the canary to "+r.in.Active.Name, acts.Prove, r.proveInput(r.in.Active.URL, time.Time{}))
	if err != nil {
		return &runbooks.Observation{Domain: runbooks.ByProbe, Finding: runbooks.Blind, Detail: "the canary could not be sent: " + reason(err)}
	}
	o := proof.Observation
	o.Detail = "canary: " + o.Detail
	return &o
}

// worthWaiting says until when a verdict that cannot be acted upon may change.
func (r *recovery) worthWaiting(ctx workflow.Context, v runbooks.Verdict, own runbooks.Finding, silentSince time.Time) (until time.Time, ok bool) {
	switch v {
	case runbooks.Degraded:
		// Where inferences hold the health check up, one slow answer may be the end of one.
		if own != runbooks.Slow || r.in.Runbook.Health.Busy == 0 {
			return until, false
		}
		if r.slowSince.IsZero() {
			r.slowSince = workflow.Now(ctx)
		}
		until = r.slowSince.Add(r.in.Runbook.Policy.Observe.D())
	case runbooks.Busy:
		until = silentSince.Add(r.in.Runbook.Health.Busy.D() + time.Second)
	case runbooks.Unknown:
		until = r.report.Started.Add(r.in.Runbook.Policy.Observe.D())
	default:
		return until, false
	}
	return until, workflow.Now(ctx).Before(until)
}

// proveInput asks for the service's canary at a base URL.
func (r *recovery) proveInput(url string, until time.Time) activities.ProveInput {
	return activities.ProveInput{
		Service: r.in.Service, URL: url, Canary: r.in.Runbook.Canary, Health: r.in.Runbook.Health, Until: until, TraceParent: r.in.Trigger.TraceParent,
	}
}
