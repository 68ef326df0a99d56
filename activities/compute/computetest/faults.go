package computetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

func concurrent(t *testing.T, s *site) {
	const callers = 8
	o := s.Order("concurrent")
	found := make([]compute.Machine, callers)
	errs := make([]error, callers)
	var all sync.WaitGroup
	for i := range callers {
		p := s.Provider
		if i%2 == 1 {
			p = s.Again()
		}
		all.Go(func() { found[i], errs[i] = p.Create(t.Context(), o) })
	}
	all.Wait()
	want := s.create(o).ID
	for i, err := range errs {
		if err != nil {
			s.uncertain(err) // it may ask to be repeated
		} else if found[i].ID != want {
			t.Errorf("caller %d has machine %s, not %s", i, found[i].ID, want)
		}
	}
	s.never(1)
	s.await(s.byKey(o), compute.Running)
	s.counts(1)
}

func givenUp(t *testing.T, s *site) {
	for i, after := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 8 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 120 * time.Millisecond} {
		o := s.Order(fmt.Sprintf("given-up-%d", i))
		ctx, cancel := context.WithTimeout(t.Context(), after)
		first, err := s.Provider.Create(ctx, o)
		cancel()
		if err != nil {
			s.uncertain(err)
		}
		m := s.create(o)
		if err == nil && m.ID != first.ID {
			t.Errorf("the same key has %s and %s", first.ID, m.ID)
		}
		s.never(i + 1)
		s.await(s.byKey(o), compute.Running)
	}
	s.counts(7)
}

func ended(t *testing.T, s *site) {
	o := s.Order("ended")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Provider.Create(ctx, o)
	if err == nil {
		t.Error("create succeeds after its time is over")
	}
	s.uncertain(err)
	s.never(0)
	for what, err := range map[string]error{"check": s.Provider.Check(ctx, o), "terminate": s.Provider.Terminate(ctx, s.byKey(o))} {
		if err == nil {
			t.Errorf("%s succeeds after its time is over", what)
		}
		s.uncertain(err)
	}
	_, err = s.Provider.Describe(ctx, s.byKey(o))
	if err == nil || errors.Is(err, compute.ErrNone) {
		t.Errorf("describe after its time is over: %v", err)
	}
	s.create(o)
	s.counts(1)
}

func ends(t *testing.T, s *site) {
	o := s.Order("ends")
	m := s.running(o)
	s.Exit(t, m)
	if m := s.await(s.byID(o, m.ID), compute.Gone); m.ID != "" && m.Detail == "" {
		t.Error("nothing explains why it is gone")
	}
	_, err := s.Provider.Create(t.Context(), o)
	s.mustBe("its key again", err, compute.ErrUsed)
	if err := s.Provider.Terminate(t.Context(), s.byKey(o)); err != nil {
		t.Errorf("terminate what is gone: %v", err)
	}
	s.counts(0)
}

func foreign(t *testing.T, s *site) {
	r, alive := s.Foreign(t)
	ours := s.create(s.Order("ours"))
	if _, err := s.Provider.Start(t.Context(), r); !errors.Is(err, compute.ErrForeign) {
		t.Errorf("start: %v", err)
	}
	s.mustBe("stop", s.Provider.Stop(t.Context(), r), compute.ErrForeign)
	s.mustBe("terminate", s.Provider.Terminate(t.Context(), r), compute.ErrForeign)
	if got := s.listed(s.Order("ours"), ""); !slices.Equal(got, []string{ours.ID}) {
		t.Errorf("listed: %v, want %s alone", got, ours.ID)
	}
	if !alive() {
		t.Error("the machine that is not ours no longer runs")
	}
}

func lostReply(t *testing.T, s *site) {
	o := s.Order("lost")
	s.LoseReply(t)
	if _, err := s.Provider.Create(t.Context(), o); err != nil {
		s.uncertain(err)
	}
	m := s.create(o)
	s.never(1)
	if got := s.await(s.byKey(o), compute.Running); got.ID != m.ID {
		t.Errorf("by its key it is %s, not %s", got.ID, m.ID)
	}
	s.counts(1)
}

func lateArrival(t *testing.T, s *site) {
	o := s.Order("late")
	release := s.hold(o)
	m := s.create(o)
	release()
	if again := s.create(o); again.ID != m.ID {
		t.Errorf("the same key has %s and %s", m.ID, again.ID)
	}
	s.await(s.byKey(o), compute.Running)
	s.counts(1)
}

func lateOrphan(t *testing.T, s *site) {
	o := s.Order("orphan")
	release := s.hold(o)
	if _, err := s.Provider.Describe(t.Context(), s.byKey(o)); !errors.Is(err, compute.ErrNone) {
		t.Errorf("before it arrives: %v", err)
	}
	release()
	s.eventually("the late machine is listed", func() error {
		if got := s.listed(o, o.Service); len(got) != 1 {
			return fmt.Errorf("listed: %v", got)
		}
		return nil
	})
	if err := s.Provider.Terminate(t.Context(), s.byKey(o)); err != nil {
		t.Fatal(err)
	}
	s.await(s.byKey(o), compute.Gone)
	s.counts(0)
}

// hold makes a call that is given up while the other side sits on it.
func (s *site) hold(o compute.Order) (release func()) {
	s.t.Helper()
	release = s.Hold(s.t)
	ctx, cancel := context.WithTimeout(s.t.Context(), 300*time.Millisecond)
	if s.Held != nil {
		ctx, cancel = context.WithTimeout(s.t.Context(), patience)
		go func() {
			defer cancel()
			for ctx.Err() == nil && !s.Held() {
				time.Sleep(5 * time.Millisecond)
			}
		}()
	}
	defer cancel()
	_, err := s.Provider.Create(ctx, o)
	if err == nil {
		s.t.Fatal("the call has an answer, although it was not carried out")
	}
	s.uncertain(err)
	s.never(0)
	return release
}

func lagging(t *testing.T, s *site) {
	o := s.Order("lagging")
	s.Delay(t, 500*time.Millisecond)
	m := s.create(o)
	for range 3 {
		if again := s.create(o); again.ID != m.ID {
			t.Errorf("the same key has %s and %s", m.ID, again.ID)
		}
		if _, err := s.Provider.Describe(t.Context(), s.byID(o, m.ID)); err != nil && !errors.Is(err, compute.ErrNone) {
			t.Errorf("describe while it cannot be seen: %v", err)
		}
	}
	s.await(s.byID(o, m.ID), compute.Running)
	if got := s.await(s.byKey(o), compute.Running); got.ID != m.ID {
		t.Errorf("by its key it is %s, not %s", got.ID, m.ID)
	}
	if got := s.listed(o, o.Service); !slices.Equal(got, []string{m.ID}) {
		t.Errorf("listed: %v, want %s", got, m.ID)
	}
	s.counts(1)

	// A removal that comes before the machine can be seen may do nothing; repeated, it removes it.
	early := s.Order("early")
	m = s.create(early)
	s.eventually("the machine is removed", func() error {
		if err := s.Provider.Terminate(t.Context(), s.byKey(early)); err != nil {
			return err
		}
		if got := s.Count(t); got != 1 {
			return fmt.Errorf("%d machines run", got)
		}
		return nil
	})
}
