package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/stage"
	"github.com/understudy-dr/understudy/workflows"
)

var (
	wrong = stage.Fault{Mode: stage.Wrong}
	well  = stage.Fault{Mode: stage.None}
	held  = stage.Fault{Mode: stage.Hold, File: "long.wav"}
)

// A standby that must not be used gets no traffic, or has it taken away where
// the load balancer has moved already; the recovery fails and says why, and the
// failed primary stands at the load balancer as it was found.
func TestAStandbyThatMustNotBeUsed(t *testing.T) {
	const older = "2511.9"
	for name, c := range map[string]struct {
		scene harness.SceneOptions
		// hot is what the standby suffers; primary plays the outage.
		hot     stage.Fault
		primary func(t *testing.T, s *harness.Scene)
		// step is the one that fails at the standby; its reason has these words.
		step, state string
		because     []string
		verdict     runbooks.Verdict
		// shown is what HAProxy shows of primary and standby at the end.
		shown [2]string
		// switched says that the traffic was moved, and back.
		switched bool
	}{
		"another version, held": {
			scene: harness.SceneOptions{Held: true, HotVersion: older}, primary: killed,
			step: runbooks.StepGate, state: workflows.Refused, because: []string{"version", "expected " + harness.ModelVersion, "got " + older},
			verdict: runbooks.Dead, shown: [2]string{"DOWN", "MAINT"},
		},
		"another version, and the load balancer has moved": {
			scene: harness.SceneOptions{HotVersion: older}, primary: movedAway,
			step: runbooks.StepGate, state: workflows.Refused, because: []string{"version", "expected " + harness.ModelVersion, "got " + older},
			verdict: runbooks.Dead, shown: [2]string{"DOWN", "MAINT"},
		},
		"it hears wrongly, held": {
			scene: harness.SceneOptions{Held: true}, hot: wrong, primary: killed,
			step: runbooks.StepProve, state: workflows.Refused, because: []string{"expected", "heard"},
			verdict: runbooks.Dead, shown: [2]string{"DOWN", "MAINT"},
		},
		"it hears wrongly, and the load balancer has moved": {
			hot: wrong, primary: movedAway,
			step: runbooks.StepVerify, state: workflows.Failed, because: []string{"expected", "heard"},
			verdict: runbooks.Dead, shown: [2]string{"DOWN", "MAINT"}, switched: true,
		},
		"proven, then it hears wrongly through the front door": {
			scene: harness.SceneOptions{Held: true}, hot: stage.Fault{Mode: stage.Wrong, After: 1}, primary: func(t *testing.T, s *harness.Scene) { suffer(t, s.Primary, wrong) },
			step: runbooks.StepVerify, state: workflows.Failed, because: []string{"expected", "heard"},
			verdict: runbooks.Wrong, shown: [2]string{"UP", "MAINT"}, switched: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			abreast(t)
			s := setScene(t, c.scene)
			if c.hot.Mode != "" {
				suffer(t, s.Hot, c.hot)
			}
			c.primary(t, s)
			alert(t, s.Understudy, "firing", time.Now())
			r := ended(t, s.Understudy, 1)
			wantOutcome(t, r, workflows.OutcomeFailed, string(c.verdict))
			at := step(r, c.step, c.state)
			for _, words := range c.because {
				if at.Reason == "" || !strings.Contains(at.Reason, words) || !strings.Contains(r.Reason, words) {
					t.Errorf("%s %s: %q; the end: %q; neither may miss %q", c.step, c.state, at.Reason, r.Reason, words)
				}
			}
			if undone := step(r, runbooks.StepUndo, workflows.Done); undone.Started.IsZero() == c.switched {
				t.Errorf("undone: %+v", undone)
			}
			eventually(t, func(ctx context.Context) error { // a server that comes back counts as up until its checks fail
				shown, err := s.Servers(ctx)
				if err == nil && (!strings.HasPrefix(shown["primary"], c.shown[0]) || !strings.HasPrefix(shown["hot"], c.shown[1])) {
					err = fmt.Errorf("HAProxy shows %v, not %v\n%s", shown, c.shown, r.Markdown())
				}
				return err
			})
			if g := guard(t, s.Understudy, atRest); g.Active != runbooks.PrimaryName || len(g.Fenced) > 0 {
				t.Errorf("the guard: %+v", g)
			}
			if !r.Person || len(r.Advice) == 0 {
				t.Errorf("no advice: %+v", r)
			}
			eventually(t, func(context.Context) error {
				if told := s.Slack.Transcript(); !strings.Contains(told, "failed") || !strings.Contains(told, c.because[0]) {
					return fmt.Errorf("people were told:\n%s", told)
				}
				return nil
			})
		})
	}
}

func killed(_ *testing.T, s *harness.Scene) { s.Primary.Kill() }

// movedAway kills the primary and waits until HAProxy has moved by itself.
func movedAway(t *testing.T, s *harness.Scene) {
	s.Primary.Kill()
	eventually(t, func(ctx context.Context) error {
		shown, err := s.Servers(ctx)
		if err == nil && !strings.HasPrefix(shown["primary"], "DOWN") {
			err = fmt.Errorf("HAProxy shows %v", shown)
		}
		return err
	})
}
