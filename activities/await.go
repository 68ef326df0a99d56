package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// AwaitMachineInput waits for a machine that was ordered.
type AwaitMachineInput struct {
	Machine compute.Ref `json:"machine"`
	// Until bounds the wait.
	Until time.Time `json:"until"`
}

// AwaitMachine waits until a machine runs and has an address. One that is gone,
// or that does not come in time, is an error with the reason that the provider
// gives, and with what its console says. It only looks; the recovery hears of
// each step of the boot.
func (a *Activities) AwaitMachine(ctx context.Context, in AwaitMachineInput) (MachineResult, error) {
	out := MachineResult{Timing: begin()}
	defer heartbeat(ctx)()
	provider, err := a.Providers(in.Machine.Provision)
	if err != nil {
		return out, classify(err)
	}
	watch := &bootWatch{stop: func() {}}
	defer func() { watch.stop() }()
	for look := 0; ; look++ {
		if look == 1 { // most run at the first look, and need no watching here
			watch = a.watchBoot(ctx, provider, in.Machine)
		}
		m, err := provider.Describe(ctx, in.Machine)
		switch {
		case err == nil && m.State == compute.Running && m.Address != "":
			out.Machine, out.Timing = m, out.Timing.end()
			return out, nil
		case err == nil && (m.State == compute.Gone || m.State == compute.Stopping || m.State == compute.Stopped):
			if look == 0 {
				watch = a.watchBoot(ctx, provider, in.Machine)
			}
			return out, classify(fmt.Errorf("%w: %s", errMachineLost, watch.ended(ctx, m)))
		case err == nil:
			out.Machine = m
		case errors.Is(err, compute.ErrRefused), errors.Is(err, compute.ErrForeign):
			return out, classify(err)
		}
		if !pause(ctx, in.Until, bootEvery) {
			return out, classify(late(ctx, fmt.Errorf("%w: it did not run in time: %s", errMachineLost, watch.so(ctx, stateText(out.Machine, err)))))
		}
	}
}

// describeEach is how many looks at a service come to one look at its machine.
const describeEach = 4

// AwaitReadyInput waits for a service that loads its model.
type AwaitReadyInput struct {
	Target  runbooks.Target `json:"target"`
	Health  runbooks.Health `json:"health"`
	Machine *compute.Ref    `json:"machine,omitempty"`
	Until   time.Time       `json:"until"`
}

// ReadyResult is how a service became ready.
type ReadyResult struct {
	Timing
	// Boot are the steps of its machine's boot, where that has a console, in their order.
	Boot []SeenStep `json:"boot,omitempty"`
}

// AwaitReady waits until the service answers its health check and is ready. A
// machine that ends meanwhile, or that says that a step of its boot has failed,
// is an error with the reason from its console. It only looks; the recovery
// hears of each step of the boot.
func (a *Activities) AwaitReady(ctx context.Context, in AwaitReadyInput) (ReadyResult, error) {
	out := ReadyResult{Timing: begin()}
	defer heartbeat(ctx)()
	var provider compute.Provider
	watch := &bootWatch{stop: func() {}}
	if in.Machine != nil {
		var err error
		if provider, err = a.Providers(in.Machine.Provision); err != nil {
			return out, classify(err)
		}
		watch = a.watchBoot(ctx, provider, *in.Machine)
		defer watch.stop()
	}
	for look := 0; ; look++ {
		seen := a.Prober.Probe(ctx, probe.Request{URL: in.Target.URL, Health: in.Health})
		if seen.Finding == runbooks.Answers || seen.Finding == runbooks.Slow {
			out.Timing = out.Timing.end()
			out.Boot = watch.all()
			return out, nil
		}
		// A look at a provider costs more than one at the service, and takes power from a machine that boots here.
		if provider != nil && look%describeEach == 0 {
			if m, err := provider.Describe(ctx, *in.Machine); err == nil && (m.State == compute.Gone || m.State == compute.Stopped) {
				out.Timing = out.Timing.end()
				return out, classify(fmt.Errorf("%w: %s", errMachineLost, watch.ended(ctx, m)))
			}
		}
		if step, failed := watch.failed(); failed {
			out.Timing = out.Timing.end()
			return out, classify(fmt.Errorf("%w: step %s failed: %s", errMachineLost, step.Name, step.Detail))
		}
		if !pause(ctx, in.Until, bootEvery) {
			out.Timing = out.Timing.end()
			why := watch.so(ctx, fmt.Sprintf("it %s (%s)", seen.Finding, seen.Detail))
			return out, classify(late(ctx, fmt.Errorf("%w: it is not ready in time: %s", errMachineLost, why)))
		}
	}
}
