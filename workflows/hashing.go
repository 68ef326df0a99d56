package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

// hashing goes over the bytes of volumes that were taken by their sizes, while
// the service starts, and after it has the traffic.
type hashing struct {
	stop workflow.CancelFunc
	shut func(state, why string, t activities.Timing)
	done bool
	// wrong is what is not as the manifest says; empty while nothing is known to be.
	wrong string
}

// hash begins to hash what was mounted by its sizes, beside the recovery's steps.
func (r *recovery) hash(ctx workflow.Context, m *making, in activities.MountVolumesInput) {
	if !slices.ContainsFunc(in.Volumes, func(v runbooks.Volume) bool { return v.Verify == volumes.VerifySize }) {
		return
	}
	h := &hashing{shut: r.open(ctx, runbooks.StepMount, m.tier.Name, "hashing every byte of the model, beside everything else")}
	m.hashing = h
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	ctx, h.stop = workflow.WithCancel(ctx)
	in.Effect = r.effect(ctx, m.act("mount"), 0) // the tier's time does not bound it
	workflow.Go(ctx, func(ctx workflow.Context) {
		timing, err := do(ctx, longLook, "hash the model of "+m.tier.Name, acts.VerifyVolumes, in)
		switch {
		case h.done:
			return // it was given up
		case err == nil:
			h.end(Done, "every byte of the model is as its manifest says", timing)
		case errorType(err) != activities.ErrTypeWrong:
			h.end(Failed, "the model could not be hashed: "+reason(err), timing)
			r.report.Advice = append(r.report.Advice, "only the sizes of the model's files on "+m.tier.Name+" were compared: "+reason(err))
		default:
			h.wrong = reason(err)
			h.end(Failed, h.wrong, timing)
			r.report.Person = true
			r.report.Advice = append(r.report.Advice, "the model on "+m.tier.Name+" is not what its manifest says, and passed its canary all the same; look at it, and move the service if it matters: "+h.wrong)
			r.tell(ctx, r.color(), false)
		}
	})
}

// end closes the record of the hashing, once.
func (h *hashing) end(state, why string, t activities.Timing) {
	h.done = true
	h.shut(state, why, t)
}

// stopHashing gives a hashing up that still goes on.
func (m *making) stopHashing(why string) {
	if m == nil || m.hashing == nil || m.hashing.done {
		return
	}
	m.hashing.stop()
	m.hashing.end(Noted, why, activities.Timing{})
}

// tainted reports whether the model is known by now not to be what it should be.
func (m *making) tainted() bool { return m != nil && m.hashing != nil && m.hashing.wrong != "" }
