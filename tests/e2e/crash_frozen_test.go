package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// frozenWithin is the time of the tier in which Understudy is frozen, and of the one after it, which it must suffice for.
const frozenWithin = 8 * time.Second

// playFrozen stops Understudy just before it tells HAProxy, and wakes it when
// its tier's time is over. It tells HAProxy nothing: by then a person may have
// decided otherwise. The recovery ends as failed with everything as it was
// found, says so, and does not hold up the next one.
func (s *crashScene) playFrozen(t *testing.T) {
	t.Helper()
	// The diagnosis reads HAProxy first, then the switch itself does, to know what there is to change.
	s.haproxy.After("show servers state", 2, s.freeze)
	since := time.Now()
	s.acknowledge(t, firing(t, since))
	s.awaitKill(t)
	<-time.After(frozenWithin + time.Second) // the deadline passes by time alone
	s.Understudy.Thaw()

	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeFailed, s.verdict())
	if n := s.haproxy.Passed("set server"); n != 0 {
		t.Errorf("HAProxy was told %d times to change something, after the time for it was over", n)
	}
	standby := "MAINT"
	if !s.options.Held {
		standby = "UP" // HAProxy had moved there by itself, and nothing may take that back
	}
	servers(t, s.Scene, "DOWN", standby)
	if r.Active != "primary" || !r.Person || s.fenced.Load() != 0 {
		t.Errorf("active %s, person %v, %d fences\n%s", r.Active, r.Person, s.fenced.Load(), r.Markdown())
	}

	guard(t, s.Understudy, func(g workflows.GuardState) bool { return atRest(g) && g.Last != nil })
	s.acknowledge(t, firing(t, since))
	r = ended(t, s.Understudy, 2)
	wantOutcome(t, r, workflows.OutcomeRecovered, s.verdict())
	servers(t, s.Scene, "MAINT", "UP")
}

// playOvertaken stops Understudy just before it tells HAProxy, and lets another
// one on the same engine finish. The first wakes before its time is over: what
// it still does changes nothing.
func (s *crashScene) playOvertaken(t *testing.T) {
	t.Helper()
	s.haproxy.After("show servers state", 2, s.freeze)
	since := time.Now()
	s.acknowledge(t, firing(t, since))
	s.awaitKill(t)

	first := s.Understudy
	t.Cleanup(first.Kill)
	o := first.Options
	o.Name, o.Site.Listen, o.Site.DataDir = "second", runbooks.Listen{}, ""
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	if s.Understudy, err = harness.StartUnderstudy(ctx, o); err != nil {
		t.Fatal(err)
	}
	r := s.finished(t)
	set := s.haproxy.Passed("set server")
	first.Thaw()
	guard(t, first, func(g workflows.GuardState) bool { return atRest(g) && g.Active == runbooks.TierHot }) // it is awake
	call(t, s.Front, 5*time.Second).answers(t, 20)
	if told := s.haproxy.Passed("set server") - set; told != 0 {
		t.Errorf("the one that woke late has told HAProxy %d things", told)
	}
	s.audit(t, r)
	s.redeliver(t, since)
}

// freeze stops every thread of Understudy at this moment. The answer that it
// waits for is there when it wakes.
func (s *crashScene) freeze() harness.Fate {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.Understudy.Freeze(ctx) == nil {
		close(s.killed)
	}
	return harness.GoOn
}
