package activities

import (
	"context"
	"fmt"

	"github.com/understudy-dr/understudy/activities/fence"
	"github.com/understudy-dr/understudy/runbooks"
)

// FenceHostInput sets one fence on one instance.
type FenceHostInput struct {
	Effect
	Fence  runbooks.Fence  `json:"fence"`
	Target runbooks.Target `json:"target"`
	Health runbooks.Health `json:"health"`
}

// FenceHostResult is what is known afterwards.
type FenceHostResult struct {
	Timing
	fence.Outcome
}

// FenceHost stops a failed host and confirms that from outside. It does nothing
// where the confirmation already holds. It may run twice after a crash; fences
// are written to bear that.
func (a *Activities) FenceHost(ctx context.Context, in FenceHostInput) (FenceHostResult, error) {
	out := FenceHostResult{Timing: begin()}
	if err := fresh(ctx); err != nil {
		return out, classify(err)
	}
	defer heartbeat(ctx)()
	// A fence may take a minute; it waits for nobody's turn and takes none.
	if err := a.effects.still(in.Effect); err != nil {
		return out, classify(err)
	}
	var err error
	out.Outcome, err = a.Fences.Set(ctx, fence.Order{
		Fence: in.Fence, Target: in.Target, Health: in.Health,
		Env: map[string]string{
			"UNDERSTUDY_SERVICE": in.Service,
			"UNDERSTUDY_EPOCH":   fmt.Sprint(in.Epoch),
			"UNDERSTUDY_TARGET":  in.Target.Name,
			"UNDERSTUDY_KEY":     in.Key,
		},
	})
	if err != nil {
		return out, classify(err)
	}
	out.Timing = out.Timing.end()
	return out, nil
}
