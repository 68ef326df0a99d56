package e2e

import (
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

func TestCrash(t *testing.T) {
	s := setScene(t, harness.SceneOptions{})
	s.Primary.Kill()
	if status := alert(t, s.Understudy, "firing", time.Now()); status != 200 {
		t.Fatalf("the webhook was answered with %d", status)
	}
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	servers(t, s, "MAINT", "UP")
	t.Logf("\n%s\n%s", r.Markdown(), s.Slack.Transcript())
}
