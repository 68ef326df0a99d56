package activities

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
)

const (
	// yieldEvery is how often a batch at work asks whether its service is about to move.
	yieldEvery = 2 * time.Second
	// restEvery is how often batches are asked whether they rest.
	restEvery = 500 * time.Millisecond
)

// mover watches for a service that is about to move: a batch that works on the
// active of today must not write there any more once its data is on the way.
type mover struct {
	// stop is closed when the batch should begin nothing new.
	stop chan struct{}
	why  string
}

// watchMoves closes stop when the service begins to move away from an epoch, or
// when the worker stops. Nobody who answers is no reason to stop.
func (a *Activities) watchMoves(ctx context.Context, in RunBatchInput, worker <-chan struct{}) *mover {
	m := &mover{stop: make(chan struct{})}
	go func() {
		defer close(m.stop)
		ask := time.NewTicker(yieldEvery)
		defer ask.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-worker:
				return
			case <-ask.C:
			}
			held, err := a.Guards.Holds(ctx, in.Service)
			if err == nil && held.Recovering && held.Epoch != in.Epoch {
				m.why = in.Service + " is about to move"
				return
			}
		}
	}()
	return m
}

// yielded is why the batch was stopped for its service; nil where it was not.
func (m *mover) yielded() error {
	select {
	case <-m.stop:
	default:
		return nil
	}
	if m.why == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", jobs.ErrAway, m.why)
}

// AwaitRestInput waits until the batches of a service rest.
type AwaitRestInput struct {
	Service string    `json:"service"`
	Until   time.Time `json:"until"`
}

// AwaitRestResult says which did not.
type AwaitRestResult struct {
	Timing
	Working []string `json:"working,omitempty"`
}

// AwaitRest waits until no batch of a service has anything in flight: each ends
// what it has begun, and begins nothing more while its service moves. It only looks.
func (a *Activities) AwaitRest(ctx context.Context, in AwaitRestInput) (AwaitRestResult, error) {
	out := AwaitRestResult{Timing: begin()}
	tell, stop := progress(ctx)
	defer stop()
	for {
		working, err := a.Guards.AtWork(ctx, in.Service)
		if err == nil && len(working) == 0 {
			return AwaitRestResult{Timing: out.Timing.end()}, nil
		}
		out.Working = working
		tell(strings.Join(working, ", "))
		if !pause(ctx, in.Until, restEvery) {
			out.Timing = out.Timing.end()
			return out, classify(late(ctx, err))
		}
	}
}
