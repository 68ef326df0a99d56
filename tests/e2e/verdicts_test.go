package e2e

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/stage"
	"github.com/understudy-dr/understudy/workflows"
)

// suffer begins a fault at a speech server.
func suffer(t *testing.T, s *harness.Site, fault stage.Fault) {
	t.Helper()
	if err := s.Fault(t.Context(), fault); err != nil {
		t.Fatal(err)
	}
}

func stats(t *testing.T, s *harness.Site) stage.Stats {
	t.Helper()
	seen, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// A held standby gets nothing but health check, version and canary before it is
// proven, whatever the primary suffers; then all of the traffic.
func TestAHeldStandbyIsProvenBeforeItServes(t *testing.T) {
	for name, c := range map[string]struct {
		fail    func(t *testing.T, primary *harness.Site)
		verdict runbooks.Verdict
	}{
		"crash": {func(t *testing.T, p *harness.Site) { p.Kill() }, runbooks.Dead},
		"stopped": {func(t *testing.T, p *harness.Site) {
			if err := p.Freeze(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, runbooks.Hung},
		"hang":       {func(t *testing.T, p *harness.Site) { suffer(t, p, stage.Fault{Mode: stage.Hang}) }, runbooks.Hung},
		"wrong text": {func(t *testing.T, p *harness.Site) { suffer(t, p, stage.Fault{Mode: stage.Wrong}) }, runbooks.Wrong},
		"503":        {func(t *testing.T, p *harness.Site) { suffer(t, p, stage.Fault{Mode: stage.Error}) }, runbooks.Wrong},
	} {
		t.Run(name, func(t *testing.T) {
			abreast(t)
			s := setScene(t, harness.SceneOptions{Held: true})
			callers := call(t, s.Front, 300*time.Millisecond)
			callers.answers(t, 20)

			// Somebody's long recording holds up the canary, so that there is time to look.
			suffer(t, s.Hot, held)
			occupied := transcribing(t, s.Hot.URL, long(t, 1))
			eventually(t, func(context.Context) error {
				if seen := stats(t, s.Hot); seen.Requests[heard] != 1 {
					return fmt.Errorf("the standby is not occupied: %+v", seen)
				}
				return nil
			})
			c.fail(t, s.Primary)
			if status := alert(t, s.Understudy, "firing", time.Now()); status != 200 {
				t.Fatalf("the webhook was answered with %d", status)
			}
			eventually(t, func(context.Context) error {
				if seen := stats(t, s.Hot); seen.Requests[heard] != 2 {
					return fmt.Errorf("no canary at the standby: %+v", seen)
				}
				return nil
			})
			callers.asks(t, 3)
			seen := stats(t, s.Hot)
			if seen.Inferences != 0 {
				t.Fatalf("the recording did not hold the canary up: %+v", seen)
			}
			for path := range seen.Requests {
				if !slices.Contains([]string{"/health", "/version", heard}, path) {
					t.Errorf("the standby was asked for %s before it was proven: %v", path, seen.Requests)
				}
			}
			suffer(t, s.Hot, well)
			if o := <-occupied; o.err != nil {
				t.Fatal(o.err)
			}

			r := ended(t, s.Understudy, 1)
			wantOutcome(t, r, workflows.OutcomeRecovered, string(c.verdict))
			proven, switched := step(r, runbooks.StepProve, workflows.Done), step(r, runbooks.StepCutOver, workflows.Done)
			if proven.Ended.IsZero() || switched.Started.Before(proven.Ended) {
				t.Errorf("proven until %s, switched from %s", proven.Ended, switched.Started)
			}
			servers(t, s, "MAINT", "UP")
			if g := guard(t, s.Understudy, atRest); g.Active != runbooks.TierHot {
				t.Errorf("the guard: %+v", g)
			}
			callers.answers(t, 20)
			if seen := stats(t, s.Hot); seen.Requests[looked] < 20 {
				t.Errorf("after the switch the standby saw %+v", seen)
			}
		})
	}
}

// What does not call for a recovery changes nothing, and says what it is.
func TestWhatMovesNothing(t *testing.T) {
	abreast(t)
	var ours *road
	s := setScene(t, harness.SceneOptions{Fall: 100_000, Held: true, Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Health.Timeout, r.Policy.Observe = runbooks.Duration(450*time.Millisecond), runbooks.Duration(time.Second)
		ours = newRoad(t, r.Primary.URL)
		r.Primary.URL = ours.URL
	}})
	before := balancer(t, s)
	for i, c := range []struct {
		fault            stage.Fault
		blocked          bool
		outcome, because string
		verdict          runbooks.Verdict
		person           bool
	}{
		{stage.Fault{Mode: stage.None}, false, workflows.OutcomeFalseAlarm, "answers", runbooks.Healthy, false},
		{stage.Fault{Mode: stage.Slow, Delay: "650ms"}, false, workflows.OutcomeDegraded, "answers slowly", runbooks.Degraded, true},
		// Understudy hears nothing from the primary, which HAProxy finds well: the fault may be our own.
		{stage.Fault{Mode: stage.None}, true, workflows.OutcomeHeld, "observers disagree", runbooks.Unknown, true},
	} {
		suffer(t, s.Primary, c.fault)
		ours.blocked.Store(c.blocked)
		alert(t, s.Understudy, "firing", time.Now(), func(a map[string]any) { a["fingerprint"] = fmt.Sprint("f", i) })
		r := ended(t, s.Understudy, i+1)
		suffer(t, s.Primary, stage.Fault{Mode: stage.None})
		wantOutcome(t, r, c.outcome, string(c.verdict))
		if !strings.Contains(r.Reason, c.because) || r.Person != c.person {
			t.Errorf("%s: %q, a person is needed: %v", c.fault.Mode, r.Reason, r.Person)
		}
		if cut := step(r, runbooks.StepCutOver, workflows.Done); !cut.Started.IsZero() {
			t.Errorf("%s: %+v", c.fault.Mode, cut)
		}
		if g := guard(t, s.Understudy, atRest); g.Active != runbooks.PrimaryName || len(g.Fenced) > 0 {
			t.Errorf("%s: the guard: %+v", c.fault.Mode, g)
		}
		unchanged(t, s, before)
	}
	eventually(t, func(context.Context) error {
		told := s.Slack.Transcript()
		for _, want := range []string{"degraded", "held", "--force"} {
			if !strings.Contains(told, want) {
				return fmt.Errorf("people were not told %q:\n%s", want, told)
			}
		}
		return nil
	})
}

// road is Understudy's own way to a server, which can be blocked: connections
// are accepted, and nothing comes back.
type road struct {
	*httptest.Server
	blocked atomic.Bool
}

func newRoad(t *testing.T, to string) *road {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	r, through := &road{}, httputil.NewSingleHostReverseProxy(target)
	through.ErrorLog = log.New(io.Discard, "", 0) // the one who asks gives up, and that is what is wanted
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, asked *http.Request) {
		if r.blocked.Load() {
			<-asked.Context().Done()
			return
		}
		through.ServeHTTP(w, asked)
	}))
	t.Cleanup(r.Close)
	return r
}
