package activities

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
)

// Outside an activity, and in an attempt that has just begun, nothing is late.
func TestAFreshAttempt(t *testing.T) {
	if err := fresh(t.Context()); err != nil {
		t.Error(err)
	}
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	act := func(ctx context.Context) error { return fresh(ctx) }
	env.RegisterActivity(act)
	if _, err := env.ExecuteActivity(act); err != nil {
		t.Error(errors.Unwrap(err))
	}
}

func TestAStopIsSeen(t *testing.T) {
	began := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
	for _, tt := range []struct {
		name string
		seen []float64 // when the process was seen to run
		ask  float64
		want time.Duration
	}{
		{"it has just begun", nil, 0, 0},
		{"it runs", []float64{0, 0.1, 0.2}, 0.3, 0},
		{"a busy moment", []float64{0, 0.1, 0.9}, 1, 0},
		{"it was stopped, and nobody has noticed", []float64{0, 0.1}, 8.1, 8 * time.Second},
		{"it was stopped, and that was noticed", []float64{0, 0.1, 8.1, 8.2}, 9, 8 * time.Second},
		{"that was a while ago", []float64{0, 0.1, 8.1, 8.2, 9, 10, 10.9}, 11, 0},
	} {
		var w wakefulness
		for _, s := range tt.seen {
			w.see(at(s))
		}
		if got := w.stopped(at(tt.ask)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
