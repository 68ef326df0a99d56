// Package e2e proves whole stories on real parts: Prometheus, Alertmanager,
// HAProxy, speech engines and the real program, each in processes of their own.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// patience is how long an event may take on a busy machine before a test gives
// up. It says nothing about how long it should take.
const patience = 2 * time.Minute

// abreast lets a test run beside others. A scene mostly waits, so there may be
// more of them than the machine has cores; tests/suites says how many.
func abreast(t *testing.T) {
	t.Helper()
	t.Parallel()
}

// setScene starts a scene that ends with the test.
func setScene(t *testing.T, o harness.SceneOptions) *harness.Scene {
	t.Helper()
	if err := harness.FindEngines(); err != nil {
		t.Skipf("missing: %v", err)
	}
	if _, err := harness.Find("haproxy", "haproxy"); err != nil {
		t.Skipf("missing: %v", err)
	}
	o.Dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	s, err := harness.StartScene(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && s.Understudy != nil {
			t.Logf("understudy's log:\n%s", s.Understudy.Tail(8000))
		}
		s.Stop()
	})
	return s
}

// alert posts a webhook as Alertmanager does.
func alert(t *testing.T, u *harness.Understudy, status string, since time.Time, change ...func(map[string]any)) int {
	t.Helper()
	one := map[string]any{
		"status": status, "fingerprint": "f1", "startsAt": since.Format(time.RFC3339Nano), "endsAt": "0001-01-01T00:00:00Z",
		"labels":      map[string]string{"alertname": "SpeechServiceDown", "service": protected(u)},
		"annotations": map[string]string{"summary": "it cannot be scraped"},
	}
	for _, c := range change {
		c(one)
	}
	body, err := json.Marshal(map[string]any{"version": "4", "status": status, "receiver": "understudy", "alerts": []any{one}})
	if err != nil {
		t.Fatal(err)
	}
	return post(t, u.URL+"/api/v1/alerts", body)
}

func post(t *testing.T, url string, body []byte) int {
	t.Helper()
	response, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// eventually asks until the answer is nil, and fails with the last one.
func eventually(t *testing.T, ask func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// protected is the one service that an Understudy looks after.
func protected(u *harness.Understudy) string {
	if len(u.Options.Runbooks) > 0 {
		return u.Options.Runbooks[0].Service
	}
	return "fun-asr"
}

// recoveries lists the recoveries, the newest first.
func recoveries(ctx context.Context, u *harness.Understudy) (all []triggers.Recovery, err error) {
	return all, u.Get(ctx, "/api/v1/recoveries?limit=100", &all)
}

// ended waits until so many recoveries have ended, and returns the report of the newest.
func ended(t *testing.T, u *harness.Understudy, count int) workflows.Report {
	t.Helper()
	var newest triggers.Recovery
	eventually(t, func(ctx context.Context) error {
		all, err := recoveries(ctx, u)
		if err != nil {
			return err
		}
		if len(all) < count || all[0].Outcome == "running" {
			return fmt.Errorf("recoveries: %+v", all)
		}
		newest = all[0]
		return nil
	})
	return report(t, u, newest.ID)
}

// meanwhile waits until the newest recovery, which may still run, is as wanted.
func meanwhile(t *testing.T, u *harness.Understudy, want func(r workflows.Report) bool) workflows.Report {
	t.Helper()
	var detail triggers.RecoveryDetail
	eventually(t, func(ctx context.Context) error {
		all, err := recoveries(ctx, u)
		if err != nil || len(all) == 0 {
			return fmt.Errorf("recoveries: %+v, %w", all, err)
		}
		detail = triggers.RecoveryDetail{} // what an answer leaves out must not stay from the one before
		if err := u.Get(ctx, "/api/v1/recoveries/"+all[0].ID, &detail); err != nil {
			return err
		}
		if !want(detail.Report) {
			return fmt.Errorf("the recovery:\n%s", detail.Report.Markdown())
		}
		return nil
	})
	return detail.Report
}

// step finds a step of a timeline; the zero record where there is none.
func step(r workflows.Report, name, state string) workflows.Record {
	for _, rec := range r.Timeline {
		if rec.Step == name && rec.State == state {
			return rec
		}
	}
	return workflows.Record{}
}

// count is how many recoveries there are.
func count(t *testing.T, u *harness.Understudy) int {
	t.Helper()
	all, err := recoveries(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func report(t *testing.T, u *harness.Understudy, id string) workflows.Report {
	t.Helper()
	var detail triggers.RecoveryDetail
	eventually(t, func(ctx context.Context) error { return u.Get(ctx, "/api/v1/recoveries/"+id, &detail) })
	return detail.Report
}

// guard waits until a guard is at rest: no recovery runs, and it has heard of the last one's end.
func guard(t *testing.T, u *harness.Understudy, want func(s workflows.GuardState) bool) workflows.GuardState {
	t.Helper()
	var detail triggers.ServiceDetail
	eventually(t, func(ctx context.Context) error {
		detail = triggers.ServiceDetail{} // what an answer leaves out must not stay from the one before
		if err := u.Get(ctx, "/api/v1/services/"+protected(u), &detail); err != nil {
			return err
		}
		if !want(detail.Guard) {
			return fmt.Errorf("the guard: %+v", detail.Guard)
		}
		return nil
	})
	return detail.Guard
}

func atRest(s workflows.GuardState) bool { return s.Running == nil && s.Key != "" }

// servers checks what HAProxy shows.
func servers(t *testing.T, s *harness.Scene, primary, hot string) {
	t.Helper()
	shown, err := s.Servers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(shown["primary"], primary) || !strings.HasPrefix(shown["hot"], hot) {
		t.Errorf("HAProxy shows %v, not primary %s and hot %s", shown, primary, hot)
	}
}

func wantOutcome(t *testing.T, r workflows.Report, outcome, verdict string) {
	t.Helper()
	if r.Outcome != outcome || r.Verdict != verdict {
		t.Errorf("%s, verdict %s: %s\n%s", r.Outcome, r.Verdict, r.Reason, r.Markdown())
	}
}
