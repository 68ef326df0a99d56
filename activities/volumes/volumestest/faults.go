package volumestest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

// patience is how long a test waits on a store that never answers.
const patience = time.Second

func storeRefuses(t *testing.T, s *scene) {
	v := s.volume(model)
	for _, strangers := range []runbooks.S3{
		{Endpoint: s.site.Endpoint, PathStyle: true, AccessKey: s.file("understudy"), SecretKey: s.file("wrong")},
		{Endpoint: s.site.Endpoint, PathStyle: true, AccessKey: s.file("understudy"), SecretKey: runbooks.Secret{File: "/nowhere/secret"}},
	} {
		_, err := s.mounterAt(strangers).Mount(t.Context(), "key", v, nil)
		if !errors.Is(err, volumes.ErrRefused) || strings.Contains(err.Error(), "wrong\n") {
			t.Errorf("got %v, want ErrRefused", err)
		}
		s.clean()
	}
}

func storeGone(t *testing.T, s *scene) {
	v := s.volume(model)
	s.wire.Cut()
	_, err := s.mounter().Mount(t.Context(), "key", v, nil)
	if !errors.Is(err, volumes.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	s.clean()
	s.heal()
	s.mustMount("key", v)
	s.wire.Cut()
	s.mustUnmount("key", v)
	s.clean()
	s.heal()
}

func storeStalled(t *testing.T, s *scene) {
	v := s.volume(model)
	s.stall()
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := s.mounter().Mount(ctx, "key", v, nil)
		if !errors.Is(err, volumes.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
		if ctx.Err() == nil {
			t.Error("the store answered after all")
		}
		if _, err := s.mounter().Inspect(ctx, v); !errors.Is(err, volumes.ErrUnavailable) {
			t.Errorf("inspect: %v, want ErrUnavailable", err)
		}
		cancel()
		s.clean()
	}
	s.heal()
	s.mustMount("key", v)
	s.holdsModel(v.Mount, model)
	s.stall()
	s.mustUnmount("key", v)
	s.clean()
	s.heal()
}

func storeStallsInTheMiddle(t *testing.T, s *scene) {
	many := s.many()
	v := s.volume(many)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stalled, over := false, false
	_, err := s.mounter().Mount(ctx, "key", v, func(volumes.Progress) {
		if over {
			t.Error("progress was told after the end")
		}
		if !stalled {
			stalled = true
			s.stall()
			time.AfterFunc(patience, cancel)
		}
	})
	over = true
	if !errors.Is(err, volumes.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if !stalled {
		t.Error("nothing was read before the end")
	}
	s.clean()
	s.heal()
	s.mustMount("key", v)
	s.holdsModel(v.Mount, many)
	s.mustUnmount("key", v)
	s.clean()
}

func timeOver(t *testing.T, s *scene) {
	v := s.volume(model)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.mounter().Mount(over, "key", v, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	s.clean()

	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.mounter().Mount(ctx, "key", s.volume(s.many()), func(volumes.Progress) { cancel() })
	if !errors.Is(err, context.Canceled) || errors.Is(err, volumes.ErrWrong) {
		t.Errorf("in the middle: %v, want the context's error", err)
	}
	s.clean()
}

func foundWithoutStore(t *testing.T, s *scene) {
	v := s.volume(model)
	mounted := s.mustMount("key", v)
	s.stall()
	if again, err := s.mounter().Mount(t.Context(), "key", v, nil); err != nil || again != mounted {
		t.Errorf("got %+v, %v", again, err)
	}
	if _, err := s.mounter().Mount(t.Context(), "other", v, nil); !errors.Is(err, volumes.ErrRefused) {
		t.Errorf("another key: %v, want ErrRefused", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.mounter().Verify(ctx, "key", v, nil); !errors.Is(err, volumes.ErrUnavailable) {
		t.Errorf("verify: %v, want ErrUnavailable", err)
	}
	s.mustUnmount("key", v)
	s.clean()
	s.heal()
}

func killedAfter(t *testing.T, s *scene) {
	v := s.volume(model)
	s.dieAfter("key", v)
	s.holdsModel(v.Mount, model) // it outlives the process that mounted it
	mounted := s.mustMount("key", v)
	if mounted.Version != "2512.1" {
		t.Errorf("got %+v", mounted)
	}
	s.oneMount(v.Mount)
	if _, err := s.mounter().Mount(t.Context(), "other", v, nil); !errors.Is(err, volumes.ErrRefused) {
		t.Errorf("another key: %v, want ErrRefused", err)
	}
	s.mustUnmount("key", v)
	s.clean()
}

func killedInTheMiddle(t *testing.T, s *scene) {
	many := s.many()
	v := s.volume(many)
	s.dieInTheMiddle("key", v)
	if err := s.mounter().Unmount(t.Context(), "key", v); err != nil {
		t.Error(err)
	}
	s.clean()

	s.dieInTheMiddle("key", v)
	s.mustMount("key", v)
	s.holdsModel(v.Mount, many)
	s.oneMount(v.Mount)
	s.mustUnmount("key", v)
	s.clean()

	s.dieInTheMiddle("key", v)
	s.stall()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.mounter().Mount(ctx, "key", v, nil); !errors.Is(err, volumes.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	s.clean()
	s.heal()
}

func killedThenAnotherKey(t *testing.T, s *scene) {
	many := s.many()
	v := s.volume(many)
	s.dieInTheMiddle("first", v)
	s.mustMount("second", v)
	s.holdsModel(v.Mount, many)
	if err := s.mounter().Unmount(t.Context(), "first", v); err != nil {
		t.Error(err)
	}
	s.holdsModel(v.Mount, many)
	s.mustUnmount("second", v)
	s.clean()
}
