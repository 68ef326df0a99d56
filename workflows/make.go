package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// claimBeforeMaking is how long the epoch store may take before a machine is refused for want of it: unlike a
	// switch of traffic, a second machine or a second writer cannot be taken back by the next look.
	claimBeforeMaking = 10 * time.Second
	// credentialsAgain is the pause before an order with credentials that were not accepted is repeated with those
	// that are there by then.
	credentialsAgain = 2 * time.Second
	// appearsWithin is how long a machine whose order was never answered is looked for, before its key counts as
	// unused: clouds show a new machine late. The sweeper finds what comes even later.
	appearsWithin = 2 * time.Minute
)

// making is a standby in the making. It has an undo stack of its own, because
// it may be warmed up while another tier is still tried.
type making struct {
	rung     runbooks.Rung
	tier     runbooks.Tier
	due      time.Time
	undo     undoStack
	target   runbooks.Target
	made     *activities.Made
	restored []replica.Restored
	cancel   workflow.CancelFunc
	// waits is what is said of the machine while it boots; booting is how far it is.
	waits, booting string
	// hashing is nil where the model was hashed before it was used.
	hashing *hashing
	// try counts the logical attempts at the tier: each has keys of its own.
	try      int
	ok, done bool
}

// make makes a rung's standby serve: it wakes a resting one, or makes a
// machine. On a failure the making's undo stack holds what was done.
func (r *recovery) make(ctx workflow.Context, m *making) {
	defer func() { m.done = true }()
	// Step 1. A person agrees, where the tier asks for that.
	if !r.agreed(ctx, m) {
		return
	}
	m.due = workflow.Now(ctx).Add(m.rung.Within.D())
	// Step 2. The epoch is recorded outside Temporal before anything exists twice.
	if !r.claimFirst(ctx, m) {
		return
	}
	switch {
	case m.tier.Activate != nil:
		m.ok = r.activate(ctx, m)
	case m.tier.Provision.Here():
		m.ok = r.makeHere(ctx, m)
	default:
		m.ok = r.makeThere(ctx, m)
	}
}

// activate wakes a resting standby.
func (r *recovery) activate(ctx workflow.Context, m *making) bool {
	call := *m.tier.Activate
	m.target = m.rung.Target
	in := activities.CallStandbyInput{Effect: r.effect(ctx, m.act("activate"), m.left(ctx)), Target: m.target, Method: call.Method, Call: call.URL, From: r.in.DataEpoch, Token: call.Token}
	if call.Undo != "" {
		m.undo.push(undo{what: m.tier.Name + " put to rest again", tier: m.tier.Name, ours: true, act: func(ctx workflow.Context) error {
			_, err := do(ctx, r.takingBack(), "put "+m.tier.Name+" to rest", acts.CallStandby, activities.CallStandbyInput{
				Effect: r.effect(ctx, m.act("rest"), 0), Target: m.target, Method: call.Method, Call: call.Undo, Token: call.Token,
			})
			return err
		}})
	}
	shut := r.open(ctx, runbooks.StepActivate, m.tier.Name, call.Method+" "+call.URL)
	result, err := do(ctx, m.within(ctx, wakeStandby), "wake "+m.tier.Name, acts.CallStandby, in)
	if err != nil {
		shut(Failed, reason(err), result.Timing)
		return false
	}
	shut(Done, "it took the call", result.Timing)
	r.learn(result.Pace)
	r.report.share(&r.mark, PartProvision, result.Ended)
	return r.load(ctx, m, nil)
}

// makeHere makes a standby on this host: volumes and data are brought first,
// both at once, then the process is started.
func (r *recovery) makeHere(ctx workflow.Context, m *making) bool {
	gate, ok := r.mayMake(ctx, m)
	if !ok {
		return false
	}
	if !r.bring(ctx, m, gate.Points) {
		return false
	}
	ref, ok := r.provision(ctx, m)
	return ok && r.boot(ctx, m, ref) && r.load(ctx, m, &ref)
}

// makeThere makes a machine elsewhere; it brings volumes and data itself when it boots.
func (r *recovery) makeThere(ctx workflow.Context, m *making) bool {
	gate, ok := r.mayMake(ctx, m)
	if !ok {
		return false
	}
	for _, p := range gate.Points {
		m.restored = append(m.restored, replica.Restored{Point: p.Point, Path: p.Data.Path})
	}
	ref, ok := r.provision(ctx, m)
	return ok && r.boot(ctx, m, ref) && r.load(ctx, m, &ref)
}

// mayMake asks, before anything is made, whether it would work, and takes the
// site's budget for it.
func (r *recovery) mayMake(ctx workflow.Context, m *making) (activities.MachineGate, bool) {
	shut := r.open(ctx, runbooks.StepCheck, m.tier.Name, "may it be made?")
	in := activities.CheckMachineInput{
		Service: r.in.Service, Epoch: r.in.Epoch, Mode: r.in.Mode, Tier: m.tier, Limits: r.in.Runbook.Policy.Limits, Depends: r.in.Runbook.Depends,
		Data: activities.DataInput{Data: r.in.Runbook.DataOf(m.tier.Name), From: r.in.DataEpoch, Known: r.in.DataKnown, Before: r.in.Epoch},
	}
	if r.in.Made != nil {
		in.Besides = []string{r.in.Made.Machine.ID}
	}
	gate, err := do(ctx, m.within(ctx, longLook), "may a machine be made for "+m.tier.Name, acts.CheckMachine, in)
	switch {
	case err != nil:
		shut(Failed, "it could not be asked: "+reason(err), gate.Timing)
		return gate, false
	case len(gate.Refusals) > 0:
		r.shared = gate.Shared
		shut(Refused, join(gate.Refusals), gate.Timing)
		return gate, false
	}
	shut(Done, join(append([]string{"nothing stands in the way"}, gate.Notes...)), gate.Timing)
	r.learn(gate.Pace)
	r.report.share(&r.mark, PartDecide, gate.Ended)
	return gate, r.afford(ctx, m)
}

// bring mounts the volumes and restores the data, both at once.
func (r *recovery) bring(ctx workflow.Context, m *making, points []activities.DataPoint) bool {
	wait := workflow.NewWaitGroup(ctx)
	mounted, restored := true, true
	if len(m.tier.Volumes) > 0 {
		wait.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) { defer wait.Done(); mounted = r.mount(ctx, m) })
	}
	if len(points) > 0 {
		wait.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) { defer wait.Done(); restored = r.restoreData(ctx, m, points) })
	}
	wait.Wait(ctx)
	return mounted && restored
}

func (r *recovery) mount(ctx workflow.Context, m *making) bool {
	in := activities.MountVolumesInput{Effect: r.effect(ctx, m.act("mount"), m.left(ctx)), Volumes: m.tier.Volumes}
	m.undo.push(undo{what: "the volumes of " + m.tier.Name + " unmounted", tier: m.tier.Name, ours: true, act: func(ctx workflow.Context) error {
		m.stopHashing("the volumes are unmounted")
		return perform(ctx, r.takingBack(), "unmount "+m.tier.Name, acts.UnmountVolumes, in)
	}})
	shut := r.open(ctx, runbooks.StepMount, m.tier.Name, "bringing the model")
	result, err := do(ctx, m.within(ctx, makeStandby), "bring the model of "+m.tier.Name, acts.MountVolumes, in)
	if err != nil {
		shut(Failed, reason(err), result.Timing)
		return false
	}
	shut(Done, mountedText(result, m.tier.Volumes), result.Timing)
	r.report.share(&r.mark, PartMount, result.Ended)
	r.hash(ctx, m, in)
	return true
}

func mountedText(result activities.MountVolumesResult, asked []runbooks.Volume) string {
	var parts []string
	for i, v := range result.Mounted {
		proven := "every one as its manifest says"
		if asked[i].Verify == volumes.VerifySize {
			proven = "the sizes as its manifest says"
		}
		parts = append(parts, fmt.Sprintf("%s by %s: %d files, %.1f MB, %s", v.Path, v.How, v.Files, float64(v.Bytes)/1e6, proven))
	}
	return join(parts)
}

func (r *recovery) restoreData(ctx workflow.Context, m *making, points []activities.DataPoint) bool {
	in := activities.RestoreDataInput{Effect: r.effect(ctx, m.act("restore"), m.left(ctx)), Points: points}
	m.undo.push(undo{what: "the restored data of " + m.tier.Name + " removed", tier: m.tier.Name, ours: true, act: func(ctx workflow.Context) error {
		return perform(ctx, r.takingBack(), "remove the data of "+m.tier.Name, acts.RemoveData, in)
	}})
	shut := r.open(ctx, runbooks.StepRestore, m.tier.Name, "restoring the data")
	result, err := do(ctx, m.within(ctx, makeStandby), "restore the data of "+m.tier.Name, acts.RestoreData, in)
	if err != nil {
		shut(Failed, reason(err), result.Timing)
		return false
	}
	m.restored = result.Restored
	shut(Done, r.restoredText(result), result.Timing)
	r.report.share(&r.mark, PartRestore, result.Ended)
	return true
}

func (r *recovery) restoredText(result activities.RestoreDataResult) string {
	var parts []string
	for _, d := range result.Restored {
		text := fmt.Sprintf("%s from epoch %d at %s, %s behind the outage", d.Path, d.Epoch, d.Position, d.Lag(r.in.Trigger.OutageSince).Round(time.Millisecond))
		if d.Check != "" {
			text += ", check answers " + d.Check
		}
		parts = append(parts, text)
	}
	return join(parts)
}

// act names an act of this attempt.
func (m *making) act(verb string) string {
	name := verb + "-" + m.tier.Name
	if m.try > 1 {
		name += fmt.Sprintf("-try%d", m.try)
	}
	return name
}

// left is the time that a making still has.
func (m *making) left(ctx workflow.Context) time.Duration {
	return max(m.due.Sub(workflow.Now(ctx)), time.Second)
}

// within bounds an activity by the time that the tier still has.
func (m *making) within(ctx workflow.Context, options workflow.ActivityOptions) workflow.ActivityOptions {
	options.ScheduleToCloseTimeout = m.left(ctx)
	options.StartToCloseTimeout = min(options.StartToCloseTimeout, options.ScheduleToCloseTimeout)
	return options
}

// takingBack are the options of an act that takes another one back.
func (r *recovery) takingBack() workflow.ActivityOptions {
	options := makeStandby
	options.ScheduleToCloseTimeout = undoMachineWithin
	return options
}
