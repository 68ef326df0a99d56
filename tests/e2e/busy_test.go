package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/workflows"
)

// A long inference holds the health check and the metrics of a healthy server
// up, as FunASR's do, and a real alert fires. Nothing is moved; the recovery
// waits, and ends by itself together with the inference.
func TestALongInferenceIsNoOutage(t *testing.T) {
	abreast(t)
	const times = 40
	// HAProxy must not move by itself here: its checks hang as all others do.
	s := setScene(t, harness.SceneOptions{PrimaryArgs: []string{"--blocking"}, Fall: 100_000, Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Health.Busy = runbooks.Duration(10 * time.Minute)
	}})
	w := watch(t, s, map[string]string{"fun-asr": strings.TrimPrefix(s.Primary.URL, "http://")}, 1)
	before := balancer(t, s)

	said := transcribing(t, s.Front, long(t, times))
	r := meanwhile(t, s.Understudy, func(r workflows.Report) bool {
		return strings.Contains(step(r, runbooks.StepDiagnose, workflows.InProgress).Reason, string(runbooks.Busy))
	})
	if why := step(r, runbooks.StepDiagnose, workflows.InProgress).Reason; !strings.Contains(why, "1 in flight") {
		t.Errorf("why it waits: %s", why)
	}
	select {
	case early := <-said:
		t.Fatalf("the inference was over before anybody looked: %+v", early)
	default:
	}
	if o := <-said; o.err != nil || strings.Count(o.text, audio.Digits) != times {
		t.Errorf("the long recording was answered with %v, %q", o.err, o.text)
	}

	r = ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeSelf, string(runbooks.Healthy))
	unchanged(t, s, before)
	if seen := stats(t, s.Hot); seen.Requests[heard] != 0 {
		t.Errorf("the standby had work: %+v", seen)
	}
	w.quiet(t)
	if g := guard(t, s.Understudy, atRest); g.Active != runbooks.PrimaryName || len(g.Fenced) > 0 || !g.CooldownUntil.IsZero() {
		t.Errorf("the guard: %+v", g)
	}
	eventually(t, func(context.Context) error {
		if told := s.Slack.Transcript(); !strings.Contains(told, workflows.OutcomeSelf) {
			return fmt.Errorf("people were told:\n%s", told)
		}
		return nil
	})
	unchanged(t, s, before)
}
