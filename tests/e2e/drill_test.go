package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// A drill of the cold tier while users are served: nothing of theirs is touched,
// and nothing is left of it.
func TestDrillBesideTraffic(t *testing.T) {
	abreast(t)
	s := coldScene(t, harness.SceneOptions{Held: true})
	u := s.Understudy
	before := guard(t, u, atRest)
	shown, err := s.Servers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	users := call(t, s.Front, 10*time.Second)
	users.answers(t, 3)
	command(t, u, 0, []string{"drilled", "0 orphans"}, "drill", "fun-asr", "--tier", "cold", "--reason", "after the model update", "--wait")
	users.answers(t, 3)
	if _, failed := users.counts(); failed != 0 {
		t.Errorf("%d requests failed meanwhile: %v", failed, users.why())
	}
	r := ended(t, u, 1)
	if r.Outcome != workflows.OutcomeDrilled || r.Mode != workflows.ModeDrill || len(r.Orphans) != 0 {
		t.Errorf("%s: %s\n%s", r.Outcome, r.Reason, r.Markdown())
	}
	after := guard(t, u, func(g workflows.GuardState) bool { return atRest(g) && g.LastDrill != nil })
	if !after.CooldownUntil.Equal(before.CooldownUntil) || after.Active != before.Active || after.DataEpoch != before.DataEpoch || after.Last != nil {
		t.Errorf("the drill shows in the guard: %+v", after)
	}
	if now, err := s.Servers(t.Context()); err != nil || !maps.Equal(now, shown) {
		t.Errorf("HAProxy shows %v, before it was %v (%v)", now, shown, err)
	}
	nothingMade(t, s)
	command(t, u, 0, []string{"drilled"}, "readiness", "fun-asr", "--now")
}

// A real outage in the middle of a drill: the drill makes way, all of it is gone,
// and the hot standby serves.
func TestDrillMakesWay(t *testing.T) {
	abreast(t)
	s := coldScene(t, harness.SceneOptions{Held: true})
	u := s.Understudy
	guard(t, u, atRest)
	command(t, u, 0, []string{"fun-asr-"}, "drill", "fun-asr", "--tier", "cold", "--reason", "practice")
	meanwhile(t, u, func(r workflows.Report) bool {
		return r.Mode == workflows.ModeDrill && !step(r, runbooks.StepMount, workflows.Done).Started.IsZero()
	})
	s.Primary.Kill()
	alert(t, u, "firing", time.Now())
	r := ended(t, u, 2)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	if r.Tier != runbooks.TierHot || r.Mode != workflows.ModeLive {
		t.Errorf("%s of tier %s", r.Mode, r.Tier)
	}
	nothingMade(t, s)
	all, err := recoveries(t.Context(), u)
	if err != nil || len(all) != 2 || all[1].Outcome != workflows.OutcomeAborted {
		t.Errorf("the drill: %+v, %v", all, err)
	}
}

// Three drills by a schedule of every minute, each with its report.
func TestDrillsBySchedule(t *testing.T) {
	t.Parallel() // it mostly waits, and takes no other test's place
	s := coldScene(t, harness.SceneOptions{Held: true, Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Drill = &runbooks.Drill{Schedule: "* * * * *", Tiers: []string{runbooks.TierHot, runbooks.TierCold}}
	}})
	u := s.Understudy
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	for {
		all, err := recoveries(ctx, u)
		if err != nil {
			t.Fatal(err)
		}
		done := 0
		for _, r := range all {
			if r.Outcome == workflows.OutcomeDrilled {
				done++
			} else if r.Outcome != "running" {
				t.Fatalf("a drill ended as %s: %s", r.Outcome, r.Reason)
			}
		}
		if done >= 3 {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d drills: %+v", done, all)
		case <-time.After(time.Second):
		}
	}
	all, err := recoveries(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if one.Outcome != workflows.OutcomeDrilled {
			continue
		}
		r := report(t, u, one.ID)
		if r.Trigger.Kind != workflows.TriggerSchedule || len(r.Drilled) != 2 || len(r.Orphans) != 0 || step(r, runbooks.StepOrphans, workflows.Done).Started.IsZero() {
			t.Errorf("%s\n%s", one.ID, r.Markdown())
		}
	}
	command(t, u, 0, []string{"no recovery will start"}, "pause", "fun-asr", "--reason", "enough")
	guard(t, u, func(g workflows.GuardState) bool { return g.Running == nil })
	nothingMade(t, s)
}

// What would make a recovery fail is found before, named, and cleared by itself
// once it is mended.
func TestReadiness(t *testing.T) {
	abreast(t)
	s := coldScene(t, harness.SceneOptions{Held: true})
	u := s.Understudy
	guard(t, u, atRest)
	look := func(code int, wants ...string) {
		t.Helper()
		command(t, u, code, wants, "readiness", "fun-asr", "--now")
	}
	look(0, "every byte is right")
	command(t, u, 0, []string{"✓ hot, ✓ cold"}, "status")

	// A byte of the model flips in the store.
	if err := s.Cold.Spoil(t.Context()); err != nil {
		t.Fatal(err)
	}
	look(1, harness.SpoiledFile, "the manifest says")
	command(t, u, 1, []string{"✓ hot", "✗ cold would fail: model: ", harness.SpoiledFile}, "status")
	eventually(t, func(context.Context) error {
		if told := s.Slack.Transcript(); !strings.Contains(told, "a tier would fail") || !strings.Contains(told, harness.SpoiledFile) {
			return fmt.Errorf("people are not told:\n%s", told)
		}
		return nil
	})
	if err := s.Cold.Spoil(t.Context()); err != nil { // and back
		t.Fatal(err)
	}
	look(0, "every byte is right")
	command(t, u, 0, []string{"✓ hot, ✓ cold"}, "status")

	// The standby is down.
	s.Hot.Kill()
	look(1, "refuses connections")
	if err := s.Hot.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	look(0)

	// The store is gone.
	s.Cold.MinIO.Kill()
	look(1, "cold")
	if err := s.Cold.MinIO.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	look(0, "every byte is right")

	// The slot at the load balancer is gone.
	config := s.BalancerConfig()
	if err := s.HAProxy.Reload(t.Context(), strings.ReplaceAll(config, "  server cold ", "  # server cold ")); err != nil {
		t.Fatal(err)
	}
	look(1, "it has no server \"cold\"")
	if err := s.HAProxy.Reload(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	look(0)
}
