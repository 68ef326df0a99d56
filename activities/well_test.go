package activities

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities/probe/httpprobe"
	"github.com/understudy-dr/understudy/runbooks"
)

// A primary counts as well only when it was without a break, and a call that
// ends before that tells since when, so that the next one goes on.
func TestAwaitWell(t *testing.T) {
	var asked atomic.Int64
	var sick atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n := asked.Add(1); n == 3 || sick.Load() {
			http.Error(w, "loading", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	acts := New(Deps{Prober: httpprobe.New()})
	await := func(within time.Duration, since time.Time) (w Wellness) {
		t.Helper()
		env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
		env.SetTestTimeout(time.Minute)
		env.RegisterActivity(acts)
		value, err := env.ExecuteActivity(acts.AwaitWell, AwaitWellInput{
			ProveInput: ProveInput{Service: "asr", URL: server.URL, Health: runbooks.Health{Path: "/health", Timeout: runbooks.Duration(5 * time.Second)}},
			For:        runbooks.Duration(200 * time.Millisecond), Every: runbooks.Duration(10 * time.Millisecond), Within: runbooks.Duration(within), Since: since,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := value.Get(&w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	began := time.Now()
	w := await(time.Minute, time.Time{})
	if !w.Well || asked.Load() < 5 || w.Since.Sub(began) <= 0 || w.Ended.Sub(w.Since) < 200*time.Millisecond {
		t.Errorf("after %d looks: %+v", asked.Load(), w)
	}
	if w = await(time.Nanosecond, began.Add(-time.Hour)); !w.Well {
		t.Errorf("what was well before does not count: %+v", w)
	}
	sick.Store(true)
	if w = await(50*time.Millisecond, began.Add(-time.Hour)); w.Well || !w.Since.IsZero() || !strings.Contains(w.Problem, "503") {
		t.Errorf("a sick one: %+v", w)
	}
	sick.Store(false)
	if w = await(time.Nanosecond, time.Time{}); w.Well || w.Since.IsZero() {
		t.Errorf("a short look: %+v", w)
	}
}
