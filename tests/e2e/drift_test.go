package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// Somebody reloads HAProxy, whose configuration knows nothing of the switch, and
// the old primary lives again. It gets no traffic for longer than until the next
// look, and people are told.
func TestAReloadBringsTheOldPrimaryBack(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{})
	s.Primary.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	wantOutcome(t, ended(t, s.Understudy, 1), workflows.OutcomeRecovered, string(runbooks.Dead))
	guard(t, s.Understudy, atRest)
	if err := s.Primary.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	callers := call(t, s.Front, 2*time.Second)
	callers.answers(t, 50)
	if seen := stats(t, s.Primary); seen.Requests[looked] != 0 {
		t.Errorf("a pinned primary that lives again had traffic: %+v", seen)
	}

	if err := s.HAProxy.Reload(t.Context(), s.BalancerConfig()); err != nil {
		t.Fatal(err)
	}
	g := guard(t, s.Understudy, func(g workflows.GuardState) bool { return decisions(g, workflows.Ignore, "set right again") > 0 })
	servers(t, s, "MAINT", "UP")
	corrected := stats(t, s.Primary).Requests[looked]
	callers.answers(t, 100)
	if now := stats(t, s.Primary).Requests[looked]; now != corrected {
		t.Errorf("after it was set right, the old primary had %d more requests", now-corrected)
	}
	callers.end() // its requests that went to the old primary ended with the old worker, and none failed
	if answered, failed := callers.counts(); failed != 0 {
		t.Errorf("%d of %d requests failed: %v", failed, answered+failed, callers.why())
	}
	if g.Active != runbooks.TierHot || count(t, s.Understudy) != 1 {
		t.Errorf("the guard: %+v", g)
	}
	eventually(t, func(context.Context) error {
		if told := s.Slack.Transcript(); !strings.Contains(told, "the traffic drifted") || !strings.Contains(told, "primary is ready, not maint") {
			return fmt.Errorf("people were told:\n%s", told)
		}
		return nil
	})
}
