package replicatest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/replica"
)

// patience is how long a test waits on a store that never answers.
const patience = time.Second

func storeStalled(t *testing.T, s *scene) {
	want := s.write(s.writer("primary", 1), 2)
	point := s.await(1, want)
	s.wire.Stall()
	calls := map[string]func(context.Context) error{
		"look":    func(ctx context.Context) error { _, err := s.replica().Look(ctx, s.data, 1); return err },
		"epochs":  func(ctx context.Context) error { _, err := s.replica().Epochs(ctx, s.data); return err },
		"restore": func(ctx context.Context) error { _, err := s.replica().Restore(ctx, "key", s.data, point); return err },
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := call(ctx); !errors.Is(err, replica.ErrUnavailable) || ctx.Err() == nil {
			t.Errorf("%s: %v, want ErrUnavailable when the time is over", name, err)
		}
		cancel()
		s.clean()
	}
	s.mustRemove("key")
	s.heal()
	s.mustRestore("key", point)
	s.holdsItems(want)
	s.wire.Stall()
	if again, err := s.replica().Restore(t.Context(), "key", s.data, point); err != nil || !again.Already {
		t.Errorf("what was restored needs no store: %+v, %v", again, err)
	}
	s.mustRemove("key")
	s.clean()
}

func storeStallsInTheMiddle(t *testing.T, s *scene) {
	want := s.write(s.writer("primary", 1), manyItems)
	point := s.await(1, want)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stalled := s.wire.StallAfter(middle)
	go func() {
		<-stalled
		time.AfterFunc(patience, cancel)
	}()
	if _, err := s.replica().Restore(ctx, "key", s.data, point); !errors.Is(err, replica.ErrUnavailable) || ctx.Err() == nil {
		t.Errorf("got %v, want ErrUnavailable when the time is over", err)
	}
	s.clean()
	s.heal()
	s.mustRestore("key", point)
	s.holdsItems(want)
	s.mustRemove("key")
	s.clean()
}

func storeGone(t *testing.T, s *scene) {
	point := s.await(1, s.write(s.writer("primary", 1), 1))
	s.wire.Cut()
	if _, err := s.replica().Look(t.Context(), s.data, 1); !errors.Is(err, replica.ErrUnavailable) {
		t.Errorf("look: %v, want ErrUnavailable", err)
	}
	if _, err := s.replica().Restore(t.Context(), "key", s.data, point); !errors.Is(err, replica.ErrUnavailable) {
		t.Errorf("restore: %v, want ErrUnavailable", err)
	}
	s.clean()

	over, cancel := context.WithCancel(t.Context())
	cancel()
	s.heal()
	if _, err := s.replica().Restore(over, "key", s.data, point); !errors.Is(err, context.Canceled) {
		t.Errorf("restore with an ended context: %v", err)
	}
	s.clean()
}

func killedInTheMiddle(t *testing.T, s *scene) {
	want := s.write(s.writer("primary", 1), manyItems)
	point := s.await(1, want)
	s.dieInTheMiddle("key", point)
	s.mustRemove("key")
	s.clean()

	s.dieInTheMiddle("key", point)
	s.mustRestore("key", point)
	s.holdsItems(want)
	s.mustRemove("key")
	s.clean()

	s.dieInTheMiddle("first", point)
	s.mustRestore("second", point)
	s.mustRemove("first")
	s.holdsItems(want)
	s.mustRemove("second")
	s.clean()
}
