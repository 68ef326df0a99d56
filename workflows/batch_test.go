package workflows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

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
	// events is how long the history already is; away is how long a look at a service that is away takes.
	events int
	away   time.Duration
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
	env.OnActivity(acts.AwaitService, mock.Anything, mock.Anything).After(b.away).Return(false, nil)
	if b.events > 0 {
		env.SetCurrentHistoryLength(b.events)
	}
	env.OnActivity(acts.FinishBatch, mock.Anything, mock.Anything).Return(activities.FinishBatchResult{Report: jobs.Report{Items: 3, Counts: jobs.Counts{Succeeded: 3}}}, nil)
	env.ExecuteWorkflow(Batch, BatchInput{Service: "asr", Job: "night"})
	var result BatchResult
	if err := env.GetWorkflowError(); err != nil {
		return result, err
	}
	return result, env.GetWorkflowResult(&result)
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
	settling := recovering
	settling.Provisional = &runbooks.Target{Name: "hot", URL: "http://hot"}
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
		{"it goes on while the switch is being confirmed", batchWorld{
			held:  []activities.Held{on("primary", 1), recovering, settling, on("hot", 7)},
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

// A service that is away for hours makes no endless history, and people are told once.
func TestABatchThatWaitsLong(t *testing.T) {
	for name, tt := range map[string]struct {
		held   []activities.Held
		events int
		parts  []error
	}{
		"the guard does not move it": {held: []activities.Held{on("primary", 1)}, parts: append(slices.Repeat([]error{typed(activities.ErrTypeAway)}, 200), nil)},
		"the history has grown":      {held: []activities.Held{on("primary", 1)}, events: batchEvents, parts: []error{nil}},
	} {
		t.Run(name, func(t *testing.T) {
			w, b := newWorld(), &batchWorld{held: tt.held, parts: tt.parts, events: tt.events, away: 10 * time.Second}
			result, err := b.play(t, w)
			var again *workflow.ContinueAsNewError
			if (tt.events > 0) != errors.As(err, &again) {
				t.Fatalf("%+v %v", result, err)
			}
			waits := 0
			for _, n := range w.news {
				if strings.Contains(fmt.Sprint(n.Message.Lines), "waits since") {
					waits++
				}
			}
			if tt.events == 0 && (waits != 1 || result.Outcome != BatchDone) {
				t.Errorf("told %d times that it waits, %+v", waits, result)
			}
		})
	}
}
