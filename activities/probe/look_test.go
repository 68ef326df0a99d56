package probe_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// TestLook tells what two tries together show. A try that is to end late waits
// for the end of its context, so nothing depends on the machine's speed.
func TestLook(t *testing.T) {
	for _, tt := range []struct {
		name                string
		first, second, want runbooks.Finding
		tries               int32
	}{
		{"first is mute, second answers", runbooks.Silent, runbooks.Answers, runbooks.Slow, 2},
		{"both are mute", runbooks.Silent, runbooks.Silent, runbooks.Silent, 2},
		{"first connected, second did not", runbooks.Silent, runbooks.Unreachable, runbooks.Silent, 2},
		{"second connected, first did not", runbooks.Unreachable, runbooks.Silent, runbooks.Silent, 2},
		{"it died between the tries", runbooks.Silent, runbooks.Refuses, runbooks.Refuses, 2},
		{"a late error is still an answer", runbooks.Errors, runbooks.Silent, runbooks.Errors, 2},
		{"second finds an error", runbooks.Silent, runbooks.Errors, runbooks.Errors, 2},
		{"nobody answers", runbooks.Unreachable, runbooks.Unreachable, runbooks.Unreachable, 2},
		{"our own trouble at the end", runbooks.Silent, runbooks.Blind, runbooks.Blind, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int32
			got := probe.Look(t.Context(), within(20*time.Millisecond), func(ctx context.Context) probe.Attempt {
				if tries.Add(1) == 2 {
					return probe.Attempt{Finding: tt.second}
				}
				<-ctx.Done()
				return probe.Attempt{Finding: tt.first}
			})
			if got.Finding != tt.want || tries.Load() != tt.tries {
				t.Errorf("found %q in %d tries, want %q in %d", got.Finding, tries.Load(), tt.want, tt.tries)
			}
		})
	}
	for _, once := range []runbooks.Finding{runbooks.Answers, runbooks.Errors, runbooks.Refuses, runbooks.Unreachable, runbooks.Blind} {
		var tries atomic.Int32
		got := probe.Look(t.Context(), within(time.Minute), func(context.Context) probe.Attempt {
			tries.Add(1)
			return probe.Attempt{Finding: once}
		})
		if got.Finding != once || tries.Load() != 1 {
			t.Errorf("%q at once became %q in %d tries", once, got.Finding, tries.Load())
		}
	}
}

// A first try that answers while the second waits is the answer, late as it is.
func TestLookTakesTheFirstTrysLateAnswer(t *testing.T) {
	var tries atomic.Int32
	second := make(chan struct{})
	got := probe.Look(t.Context(), within(20*time.Millisecond), func(ctx context.Context) probe.Attempt {
		if tries.Add(1) == 2 {
			close(second)
			<-ctx.Done()
			return probe.Attempt{Finding: runbooks.Silent}
		}
		<-second
		return probe.Attempt{Finding: runbooks.Answers}
	})
	if got.Finding != runbooks.Slow {
		t.Errorf("found %q, want %q", got.Finding, runbooks.Slow)
	}
}

func within(timeout time.Duration) probe.Request {
	return probe.Request{Health: runbooks.Health{Timeout: runbooks.Duration(timeout)}}
}

// Where one try is asked for, a mute one is all that there is.
func TestLookOnce(t *testing.T) {
	for _, found := range []runbooks.Finding{runbooks.Silent, runbooks.Answers, runbooks.Refuses} {
		var tries atomic.Int32
		request := within(20 * time.Millisecond)
		request.Once = true
		got := probe.Look(t.Context(), request, func(ctx context.Context) probe.Attempt {
			tries.Add(1)
			if found == runbooks.Silent {
				<-ctx.Done()
			}
			return probe.Attempt{Finding: found}
		})
		if got.Finding != found || tries.Load() != 1 {
			t.Errorf("%q became %q in %d tries", found, got.Finding, tries.Load())
		}
	}
}
