package workflows

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/temporal"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/runbooks"
)

// batchWorld plays a batch: what the guard says and how each part ends, one after the other; the last of each stays.
type batchWorld struct {
	held  []activities.Held
	parts []error
	// at is where each part was worked off, and how.
	at []activities.RunBatchInput
}

func (b *batchWorld) play(t *testing.T, w *world) (BatchResult, error) {
	t.Helper()
	env := w.env(t, BatchID("asr", "night"))
	w.runbook.Batches = &runbooks.Batches{Store: "s3://batches/asr", Concurrency: 2}
	asked := 0
	env.OnActivity(acts.AskGuard, mock.Anything, mock.Anything).Return(func(context.Context, activities.AskGuardInput) (activities.Held, error) {
		held := b.held[min(asked, len(b.held)-1)]
		asked++
		return held, nil
	})
	env.OnActivity(acts.RunBatch, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RunBatchInput) (activities.RunBatchResult, error) {
		n := len(b.at)
		b.at = append(b.at, in)
		var result activities.RunBatchResult
		result.Progress.Done = n >= len(b.parts)-1
		return result, b.parts[min(n, len(b.parts)-1)]
	})
	env.OnActivity(acts.AwaitService, mock.Anything, mock.Anything).Return(false, nil)
	env.OnActivity(acts.FinishBatch, mock.Anything, mock.Anything).Return(activities.FinishBatchResult{Report: jobs.Report{Items: 3, Counts: jobs.Counts{Succeeded: 3}}}, nil)
	env.ExecuteWorkflow(Batch, BatchInput{Service: "asr", Job: "night"})
	var result BatchResult
	err := env.GetWorkflowResult(&result)
	return result, err
}

func typed(kind string) error {
	return temporal.NewNonRetryableApplicationError("as the test says", kind, nil)
}

func on(active string, epoch int64) activities.Held {
	return activities.Held{Active: active, Epoch: epoch, Target: runbooks.Target{Name: active, URL: "http://" + active}}
}

func TestBatch(t *testing.T) {
	recovering := on("primary", 7)
	recovering.Recovering = true
	tests := []struct {
		name    string
		world   batchWorld
		outcome string
		moves   int
		places  string // where the parts were worked off; an s marks a slow start
	}{
		{"in good times", batchWorld{held: []activities.Held{on("primary", 1)}, parts: []error{nil, nil}}, BatchDone, 0, "primary primary"},
		{"the service dies, recovers, and the batch goes on at its new place", batchWorld{
			held:  []activities.Held{on("primary", 1), recovering, recovering, on("hot", 7)},
			parts: []error{typed(activities.ErrTypeAway), nil, nil},
		}, BatchDone, 1, "primary hot(slow) hot"},
		{"it is away for a moment, and nothing moves", batchWorld{held: []activities.Held{on("primary", 1)}, parts: []error{typed(activities.ErrTypeAway), nil}}, BatchDone, 0, "primary primary(slow)"},
		{"a newer runner has the job", batchWorld{held: []activities.Held{on("primary", 1)}, parts: []error{typed(activities.ErrTypeHeld)}}, BatchHeld, 0, "primary"},
		{"a person cancels the job", batchWorld{held: []activities.Held{on("primary", 1)}, parts: []error{nil, typed(activities.ErrTypeOver)}}, BatchCancelled, 0, "primary primary"},
		{"another model, and the policy says stop", batchWorld{held: []activities.Held{on("primary", 1)}, parts: []error{typed(activities.ErrTypeStopped)}}, BatchStopped, 0, "primary"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			result, err := tt.world.play(t, w)
			if err != nil {
				t.Fatal(err)
			}
			var places []string
			for _, in := range tt.world.at {
				place := in.Active.Name
				if in.SlowStart {
					place += "(slow)"
				}
				places = append(places, place)
			}
			if result.Outcome != tt.outcome || result.Moves != tt.moves || strings.Join(places, " ") != tt.places {
				t.Errorf("%s (%s) after %d moves at %s, want %s, %d, %s", result.Outcome, result.Reason, result.Moves, strings.Join(places, " "), tt.outcome, tt.moves, tt.places)
			}
			told := tt.outcome == BatchDone || tt.outcome == BatchStopped
			if told != (len(w.news) > 0) {
				t.Errorf("news: %+v", w.news)
			}
		})
	}
}
