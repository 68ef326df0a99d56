package activities

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
)

// foreman says which batches are at work, one answer after the other, the last for ever.
type foreman struct {
	Guards
	working [][]string
	held    Held
	away    error
}

func (f *foreman) AtWork(context.Context, string) ([]string, error) {
	now := f.working[0]
	if len(f.working) > 1 {
		f.working = f.working[1:]
	}
	return now, f.away
}

func (f *foreman) Holds(context.Context, string) (Held, error) { return f.held, f.away }

func TestAwaitRest(t *testing.T) {
	night := []string{"night"}
	for name, test := range map[string]struct {
		guards *foreman
		want   []string
		fails  bool
	}{
		"nobody works":        {&foreman{working: [][]string{nil}}, nil, false},
		"it comes to rest":    {&foreman{working: [][]string{night, night, nil}}, nil, false},
		"it never does":       {&foreman{working: [][]string{night}}, night, false},
		"it cannot be asked":  {&foreman{working: [][]string{nil}, away: errors.New("away")}, nil, true},
		"it cannot, and then": {&foreman{working: [][]string{night}, away: errors.New("away")}, night, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := New(Deps{Guards: test.guards})
			got, err := a.AwaitRest(t.Context(), AwaitRestInput{Service: "asr", Until: time.Now().Add(3 * restEvery)})
			if !slices.Equal(got.Working, test.want) || (err != nil) != test.fails {
				t.Errorf("got %v, %v", got.Working, err)
			}
		})
	}
}

// A batch yields to a service that is about to move, and to nothing else.
func TestABatchYields(t *testing.T) {
	for name, test := range map[string]struct {
		held   Held
		yields bool
	}{
		"the service moves":                   {Held{Recovering: true, Epoch: 8}, true},
		"it moved here, and is not committed": {Held{Recovering: true, Epoch: 7}, false},
		"a drill has the latest number":       {Held{Epoch: 8}, false},
		"nothing happens":                     {Held{Epoch: 7}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := New(Deps{Guards: &foreman{held: test.held}})
			ctx, cancel := context.WithTimeout(t.Context(), 2*yieldEvery)
			defer cancel()
			m := a.watchMoves(ctx, RunBatchInput{Service: "asr", Epoch: 7}, nil)
			<-m.stop // also at the end of the context
			if err := m.yielded(); (err != nil) != test.yields || test.yields && !errors.Is(err, jobs.ErrAway) {
				t.Errorf("got %v", err)
			}
		})
	}
}
