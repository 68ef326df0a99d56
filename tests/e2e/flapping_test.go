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

// The primary is down, up, down, up and down within the cooldown, and at last
// the standby too: the service is moved once, its users notice nothing of the
// rest, and every event has its decision. With nothing left that has not failed,
// a person is told how to have it otherwise.
func TestTheServiceFlaps(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Policy.Cooldown = runbooks.Duration(time.Hour)
		r.Heartbeat = &runbooks.Heartbeat{Interval: runbooks.Duration(400 * time.Millisecond), Failures: 2}
	}})
	u := s.Understudy
	w := watch(t, s, map[string]string{"fun-asr": strings.TrimPrefix(s.Primary.URL, "http://")}, 1)
	resolved := func(g workflows.GuardState) bool {
		for _, a := range g.Seen {
			if !a.Resolved {
				return false
			}
		}
		return atRest(g) && len(g.Seen) > 0
	}
	up := func() {
		t.Helper()
		if err := s.Primary.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		guard(t, u, resolved)
		w.quiet(t)
	}

	s.Primary.Kill()
	wantOutcome(t, ended(t, u, 1), workflows.OutcomeRecovered, string(runbooks.Dead))
	guard(t, u, func(g workflows.GuardState) bool { return atRest(g) && len(g.Seen) > 0 })
	users := call(t, s.Front, 5*time.Second) // from here on there is no outage any more
	users.answers(t, 3)
	up()
	for flap := 1; flap <= 2; flap++ {
		s.Primary.Kill()
		guard(t, u, func(g workflows.GuardState) bool { return decisions(g, workflows.Ignore, "hot is Healthy") >= flap })
		servers(t, s, "MAINT", "UP")
		up()
	}
	servers(t, s, "MAINT", "UP")
	users.answers(t, 3)
	users.end()
	if answered, failed := users.counts(); failed != 0 {
		t.Errorf("%d of %d requests failed: %v", failed, answered+failed, users.why())
	}

	// The standby goes the same way. The primary has failed within the cooldown, and going back to it would be the
	// second move: a person decides.
	s.Hot.Kill()
	alert(t, u, "firing", time.Now(), func(a map[string]any) { a["fingerprint"] = "hot" })
	g := guard(t, u, func(g workflows.GuardState) bool { return decisions(g, workflows.Wait, "nothing is left") > 0 })
	if n := count(t, u); n != 1 || g.Active != runbooks.TierHot || decisions(g, workflows.Start, "") != 1 {
		t.Errorf("%d recoveries, %d starts, on %s: %+v", n, decisions(g, workflows.Start, ""), g.Active, g.Decisions)
	}
	command(t, u, 0, []string{"start", "heartbeats in a row failed", "hot is Healthy", "cooldown until", "nothing is left that has not failed", "understudy recover fun-asr --force"}, "why", "fun-asr")
	servers(t, s, "MAINT", "DOWN")

	// And by that command the service goes home, because the primary is up again.
	command(t, u, 1, []string{"would be refused now: it failed itself within the cooldown"}, "plan", "fun-asr")
	command(t, u, 0, []string{"1. primary"}, "plan", "fun-asr", "--force")
	command(t, u, 0, []string{"recovered"}, "recover", "fun-asr", "--force", "--yes", "--reason", "the primary is up", "--wait")
	servers(t, s, "UP", "MAINT")
	eventually(t, func(context.Context) error { // the list of them follows what happens
		if n := count(t, u); n != 2 {
			return fmt.Errorf("%d recoveries", n)
		}
		return nil
	})
}
