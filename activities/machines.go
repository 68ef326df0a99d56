package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

// bootEvery is the pause between two looks at a machine that boots, or at a
// service that loads its model. A cold start takes seconds; a look costs little.
const bootEvery = 250 * time.Millisecond

// Made is a machine that was made for a tier.
type Made struct {
	Tier string `json:"tier"`
	// Machine finds it at its provider.
	Machine compute.Ref `json:"machine"`
	Address string      `json:"address"`
	Where   string      `json:"where,omitempty"`
	// Volumes is the key under which volumes were mounted on this host; empty where there are none.
	Volumes string `json:"volumes,omitempty"`
	// Data is the key under which data was restored on this host; empty where there is none.
	Data  string    `json:"data,omitempty"`
	Since time.Time `json:"since"`
	// Price of an hour, where the runbook says one.
	Price float64 `json:"price,omitempty"`
}

// ProvisionStandbyInput orders one machine at one place.
type ProvisionStandbyInput struct {
	Effect
	Order compute.Order `json:"order"`
	// Prepare is what the machine is told, or the process here finds in its environment.
	Prepare Preparation `json:"prepare"`
}

// MachineResult is a machine as it was seen.
type MachineResult struct {
	Timing
	Machine compute.Machine `json:"machine"`
}

// ProvisionStandby makes a machine. A repeated call with the same key finds the
// machine that an earlier one has made, also one whose answer was lost.
func (a *Activities) ProvisionStandby(ctx context.Context, in ProvisionStandbyInput) (MachineResult, error) {
	out := MachineResult{Timing: begin()}
	if err := fresh(ctx); err != nil {
		return out, classify(err)
	}
	defer heartbeat(ctx)()
	provider, err := a.Providers(in.Order.Provision)
	if err != nil {
		return out, classify(err)
	}
	order := in.Order
	if err := a.prepare(ctx, in.Prepare, &order); err != nil {
		return out, classify(err)
	}
	if err := a.effects.still(in.Effect); err != nil {
		return out, classify(err)
	}
	out.Machine, err = provider.Create(ctx, order)
	out.Timing = out.Timing.end()
	return out, classify(err)
}

// ReleaseMachineInput gives a machine back.
type ReleaseMachineInput struct {
	Effect
	Machine compute.Ref `json:"machine"`
	// Stop keeps it, stopped, instead of removing it.
	Stop bool `json:"stop,omitempty"`
	// Appear is how long to look for a machine of this key that does not show yet: its order may have been taken
	// although nobody heard the answer.
	Appear runbooks.Duration `json:"appear,omitempty"`
}

// ReleaseResult says what became of it.
type ReleaseResult struct {
	Timing
	// Confirmed is what was seen afterwards.
	Confirmed string `json:"confirmed"`
}

// releaseWithin bounds the wait until a machine is seen to be off. A cloud
// takes up to a minute or two.
const releaseWithin = 3 * time.Minute

// ReleaseMachine stops or removes a machine, and waits until that is seen. It
// is idempotent; what does not carry our tags is refused.
func (a *Activities) ReleaseMachine(ctx context.Context, in ReleaseMachineInput) (ReleaseResult, error) {
	out := ReleaseResult{Timing: begin()}
	defer heartbeat(ctx)()
	provider, err := a.Providers(in.Machine.Provision)
	if err != nil {
		return out, classify(err)
	}
	appears := out.Started.Add(in.Appear.D())
	until := out.Started.Add(releaseWithin + in.Appear.D())
	removed := false
	for {
		m, err := provider.Describe(ctx, in.Machine)
		switch {
		case errors.Is(err, compute.ErrNone):
			if !time.Now().Before(appears) {
				out.Confirmed, out.Timing = "there is no such machine", out.Timing.end()
				return out, nil
			}
		case errors.Is(err, compute.ErrForeign), errors.Is(err, compute.ErrRefused):
			return out, classify(err)
		// One that ended by itself may have left behind what was made for it, such as its disk.
		case err == nil && (m.State == compute.Gone && (in.Stop || removed) || (in.Stop || m.Kept()) && m.State == compute.Stopped):
			out.Confirmed, out.Timing = fmt.Sprintf("%s is %s", m.ID, m.State), out.Timing.end()
			return out, nil
		case err == nil && m.State != compute.Stopping:
			ref := in.Machine
			ref.ID = m.ID
			act := provider.Terminate
			if in.Stop {
				act = provider.Stop
			}
			err := act(ctx, ref)
			if errors.Is(err, compute.ErrForeign) || errors.Is(err, compute.ErrRefused) {
				return out, classify(err)
			}
			removed = removed || err == nil
		}
		if !pause(ctx, until, bootEvery) {
			return out, classify(late(ctx, fmt.Errorf("the machine is not seen to be off: %s", stateText(m, err))))
		}
	}
}

// ListMachinesInput asks for the machines of a service.
type ListMachinesInput struct {
	Service   string             `json:"service"`
	Provision runbooks.Provision `json:"provision"`
}

// machinesOf lists a service's machines that are there, those that were made for drills left out.
func (a *Activities) machinesOf(ctx context.Context, in ListMachinesInput) ([]compute.Machine, error) {
	provider, err := a.Providers(in.Provision)
	if err != nil {
		return nil, err
	}
	all, err := provider.List(ctx, in.Provision, in.Service)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(m compute.Machine) bool { return m.State == compute.Gone || m.State == compute.Stopped }), nil
}

// errMachineLost means that a machine ended, or did not come, before it served.
var errMachineLost = errors.New("the machine failed")

func stateText(m compute.Machine, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case m.Detail != "":
		return fmt.Sprintf("%s, %s", m.State, m.Detail)
	default:
		return string(m.State)
	}
}

// pause waits before the next look; false where the time is over, the worker
// stops, or the activity was cancelled.
func pause(ctx context.Context, until time.Time, every time.Duration) bool {
	if !time.Now().Add(every).Before(until) {
		return false
	}
	var stop <-chan struct{}
	if activity.IsActivity(ctx) {
		stop = activity.GetWorkerStopChannel(ctx)
	}
	select {
	case <-time.After(every):
		return true
	case <-stop:
		return false
	case <-ctx.Done():
		return false
	}
}

// late tells apart why a wait ended: the worker stops (the next one goes on),
// a cancellation, or the end of its time, for which the reason given holds.
func late(ctx context.Context, why error) error {
	switch {
	case activity.IsActivity(ctx) && stopping(ctx):
		return errStopping
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return why
	}
}
