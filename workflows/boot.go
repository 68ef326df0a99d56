package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

// boot waits until the machine runs and has an address.
func (r *recovery) boot(ctx workflow.Context, m *making, ref compute.Ref) bool {
	m.waits = "waiting until " + ref.ID + " runs"
	shut := r.open(ctx, runbooks.StepBoot, m.tier.Name, m.waits)
	result, err := do(ctx, m.within(ctx, longLook), "wait for "+ref.ID, acts.AwaitMachine, activities.AwaitMachineInput{Machine: ref, Until: m.due})
	if err != nil {
		m.waits, m.booting = "", ""
		shut(Failed, reason(err), result.Timing)
		return false
	}
	shut(Done, fmt.Sprintf("%s runs at %s", result.Machine.ID, result.Machine.Address), result.Timing)
	r.report.share(&r.mark, PartBoot, result.Ended)
	m.target = m.rung.Target.At(result.Machine.Address)
	m.made.Address = result.Machine.Address
	return true
}

// load waits until the service has loaded its model and says so. A machine
// elsewhere boots meanwhile, and brings its volumes and data.
func (r *recovery) load(ctx workflow.Context, m *making, ref *compute.Ref) bool {
	m.waits = "waiting until " + m.target.URL + " is ready"
	defer func() { m.waits, m.booting = "", "" }()
	shut := r.open(ctx, runbooks.StepLoad, m.tier.Name, m.whereBoots())
	result, err := do(ctx, m.within(ctx, longLook), "wait until "+m.tier.Name+" is ready", acts.AwaitReady, activities.AwaitReadyInput{
		Target: m.target, Health: r.in.Runbook.Health, Machine: ref, Until: m.due,
	})
	if err != nil {
		shut(Failed, reason(err), result.Timing)
		return false
	}
	shut(Done, "it is ready"+m.booted(result.Boot), result.Timing)
	r.shareBoot(result)
	return true
}

// booting tells where a boot is, in the timeline and to people. News of a
// machine that nobody waits for any more say nothing.
func (r *recovery) booting(ctx workflow.Context, news activities.BootNews) {
	m := r.bootsBy(news.Key)
	text := cut(news.Step.String(), 300)
	if m == nil || m.booting == text {
		return
	}
	for i := len(r.report.Timeline) - 1; i >= 0; i-- {
		rec := &r.report.Timeline[i]
		if rec.Tier != m.tier.Name || rec.State != InProgress || rec.Step != runbooks.StepBoot && rec.Step != runbooks.StepLoad {
			continue
		}
		m.booting = text
		rec.Reason = m.whereBoots()
		r.show(ctx)
		r.tell(ctx, r.color(), false)
		return
	}
}

// bootsBy finds the standby whose machine was made with a key, and is waited for.
func (r *recovery) bootsBy(key string) *making {
	for _, rung := range r.in.Plan.Rungs {
		if m := r.makings[rung.Tier]; m != nil && m.waits != "" && m.made != nil && m.made.Machine.Key == key {
			return m
		}
	}
	return nil
}

// whereBoots says what is waited for, and how far it is.
func (m *making) whereBoots() string {
	if m.booting == "" {
		return m.waits
	}
	return cut(m.waits+"; its boot: "+m.booting, 1000)
}

// booted is when each step of a boot was over, counted from the order.
func (m *making) booted(steps []activities.SeenStep) string {
	text, sep := "", "; its boot: "
	for _, s := range steps {
		if s.State == compute.BootDone && m.made != nil {
			text += fmt.Sprintf("%s%s %.1f s", sep, s.Name, max(s.At.Sub(m.made.Since), 0).Seconds())
			sep = ", "
		}
	}
	if text != "" {
		text += " after the order"
	}
	return text
}

// shareBoot splits the time until a service was ready by what its machine did.
func (r *recovery) shareBoot(ready activities.ReadyResult) {
	parts := map[string]string{"mount": PartMount, "verify": PartMount, "restore": PartRestore}
	for _, s := range ready.Boot {
		if s.At.After(ready.Ended) {
			break
		}
		part, known := parts[s.Name]
		if !known || s.State == compute.BootBegin {
			part = PartBoot // until here it was the machine itself
		}
		r.report.share(&r.mark, part, s.At)
	}
	r.report.share(&r.mark, PartLoad, ready.Ended)
}
