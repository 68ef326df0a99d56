package e2e

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// On a game day the primary is really stopped, the service recovers, the primary
// is started again, and the planned way home brings everything back.
func TestGameDayAndTheWayHome(t *testing.T) {
	abreast(t)
	var s *harness.Scene
	power := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stop":
			s.Primary.Kill()
		case "/start":
			if err := s.Primary.Restart(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}
	}))
	t.Cleanup(power.Close)
	s = setScene(t, harness.SceneOptions{Without: true, Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.GameDay = &runbooks.GameDay{
			Stop:  runbooks.Fence{Kind: "http", URL: power.URL + "/stop", Confirm: &runbooks.Confirm{Kind: "tcp-closed"}},
			Start: runbooks.Fence{Kind: "http", URL: power.URL + "/start"},
		}
	}})
	if err := s.StartUnderstudy(t.Context()); err != nil {
		t.Fatal(err)
	}
	u := s.Understudy
	guard(t, u, atRest)
	command(t, u, 2, []string{"name the plan that you saw"}, "drill", "fun-asr", "--game-day", "--reason", "quarterly")
	var shown triggers.PlanDetail
	if err := u.Get(t.Context(), "/api/v1/services/fun-asr/plan", &shown); err != nil {
		t.Fatal(err)
	}
	command(t, u, 0, []string{"fun-asr-"}, "drill", "fun-asr", "--game-day", "--plan", shown.Plan.Hash, "--reason", "quarterly", "--wait")
	r := ended(t, u, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	if stopped := step(r, runbooks.StepGameDay, workflows.Done); stopped.Started.IsZero() || r.RTOSeconds > time.Since(stopped.Started).Seconds() {
		t.Errorf("the timeline does not tell of the stop:\n%s", r.Markdown())
	}
	servers(t, s, "MAINT", "UP")
	guard(t, u, func(g workflows.GuardState) bool { return g.Running == nil && g.Active == runbooks.TierHot })
	command(t, u, 0, []string{"fun-asr-"}, "failback", "fun-asr", "--reason", "the game is over", "--wait")
	if r = ended(t, u, 2); r.Outcome != workflows.OutcomeHome {
		t.Errorf("%s: %s\n%s", r.Outcome, r.Reason, r.Markdown())
	}
}
