package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// An alert that resolves after the switch stops nothing: the recovery finishes.
func TestResolvedAfterTheSwitch(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{Edit: func(r *runbooks.Runbook, _ *runbooks.Site) { r.Policy.Confirm = runbooks.Duration(3 * time.Second) }})
	s.Primary.Kill()
	since := time.Now()
	alert(t, s.Understudy, "firing", since)
	meanwhile(t, s.Understudy, func(r workflows.Report) bool { return !r.Verified.IsZero() })
	if err := s.Primary.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	alert(t, s.Understudy, "resolved", since)
	g := guard(t, s.Understudy, func(g workflows.GuardState) bool { return len(g.Seen) == 1 && g.Seen[0].Resolved })
	if g.Running == nil {
		t.Fatalf("the recovery had ended already: %+v", g)
	}
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	if !r.Committed {
		t.Errorf("not committed:\n%s", r.Markdown())
	}
	alert(t, s.Understudy, "firing", since) // a late copy
	guard(t, s.Understudy, func(g workflows.GuardState) bool { return decisions(g, workflows.Ignore, "late copy") == 1 })
	if n := count(t, s.Understudy); n != 1 {
		t.Errorf("%d recoveries", n)
	}
	servers(t, s, "MAINT", "UP")
}

// An alert that resolves before the switch, of a primary that works again, ends
// the recovery, and nothing was changed.
func TestResolvedBeforeTheSwitch(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{Held: true})
	before := balancer(t, s)
	suffer(t, s.Hot, held)
	occupied := transcribing(t, s.Hot.URL, long(t, 1)) // it holds the standby's canary up
	eventually(t, func(context.Context) error {
		if seen := stats(t, s.Hot); seen.Requests[heard] != 1 {
			return fmt.Errorf("%+v", seen)
		}
		return nil
	})
	suffer(t, s.Primary, wrong)
	since := time.Now()
	alert(t, s.Understudy, "firing", since)
	meanwhile(t, s.Understudy, func(r workflows.Report) bool {
		return step(r, runbooks.StepProve, workflows.InProgress).Tier == runbooks.TierHot
	})
	suffer(t, s.Primary, well)
	alert(t, s.Understudy, "resolved", since)
	guard(t, s.Understudy, func(g workflows.GuardState) bool { return len(g.Seen) == 1 && g.Seen[0].Resolved })
	suffer(t, s.Hot, well)
	if o := <-occupied; o.err != nil {
		t.Fatal(o.err)
	}
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeSelf, string(runbooks.Wrong))
	if cut := step(r, runbooks.StepCutOver, workflows.Done); !cut.Started.IsZero() {
		t.Errorf("switched all the same: %+v", cut)
	}
	unchanged(t, s, before)
}
