package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// witnessing starts a witness beside a scene, and returns how a site file names it.
func witnessing(t *testing.T, dir string, allow ...string) runbooks.Witness {
	t.Helper()
	program, err := harness.BuildUnderstudy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "witness.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	at := "http://" + harness.Address(harness.FreePort())
	args := []string{"witness", "--listen", strings.TrimPrefix(at, "http://"), "--key-file", key}
	for _, a := range allow {
		args = append(args, "--allow", a)
	}
	p, err := harness.Start(t.Context(), harness.Spec{Name: "witness", Path: program, Dir: dir, Args: args, Ready: harness.Responding(at + "/healthz")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(patience) })
	return runbooks.Witness{Name: "office", URL: at, Key: runbooks.Secret{File: key}}
}

// Everything at a site ends at one moment: Prometheus, Alertmanager, the load
// balancer, the service. No alert can come any more; the end of the signs of life
// is the alert. Understudy looks for itself, asks a person, and the other site
// serves behind its own load balancer.
func TestASiteStopsWithItsMonitoring(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{Held: true, Without: true})
	front := harness.Address(harness.FreePort())
	west, err := harness.HAProxy(t.Context(), t.TempDir(), fmt.Sprintf(`defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout check 200ms
frontend speech
  bind %s
  default_backend asr_west
backend asr_west
  option httpchk GET /health
  server hot %s check inter 250ms disabled
`, front, strings.TrimPrefix(s.Hot.URL, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(west.Kill)
	office := witnessing(t, s.Dir, s.Primary.URL)
	s.Edit(func(r *runbooks.Runbook, site *runbooks.Site) {
		r.Primary.Site = "dc-a"
		r.Tiers[0].Traffic = &runbooks.Traffic{Kind: "haproxy", Sockets: []string{west.Socket}, Backend: "asr_west", Front: "http://" + front}
		r.Tiers[0].Approval = &runbooks.Approval{Roles: []string{"approver"}, Timeout: runbooks.Duration(10 * time.Minute)}
		site.Witnesses = []runbooks.Witness{office}
		site.Sites = []runbooks.SiteGroup{{Name: "dc-a", Watchdog: &runbooks.Watchdog{
			Match: map[string]string{"alertname": "Watchdog", "site": "dc-a"}, Silence: runbooks.Duration(5 * time.Second), Action: "recover",
		}}}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.StartUnderstudy(ctx); err != nil {
		t.Fatal(err)
	}
	// The service itself raises no alert here: only the shipped sign of life is sent.
	w := watch(t, s, map[string]string{"monitor": newExporter(t).address}, 1)
	rules, err := os.ReadFile("../../deploy/prometheus/watchdog.rules.yml")
	if err == nil {
		err = os.WriteFile(filepath.Join(s.Dir, "prometheus", "rules.yml"), rules, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.prometheus.Kill()
	// An alert that fires before Alertmanager is known is else sent again only after a minute.
	w.prometheus.Spec.Args = append(w.prometheus.Spec.Args, "--rules.alert.resend-delay=500ms")
	if w.prometheus.Process, err = harness.Start(ctx, w.prometheus.Spec); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) error {
		if seen := metric(t, s, "understudy_watchdog_signs_total"); seen == "" || strings.HasSuffix(strings.TrimSpace(seen), " 0") {
			return fmt.Errorf("no sign of life:\n%s\n%s\n%s", seen, w.prometheus.Tail(2000), w.alertmanagers[0].Tail(2000))
		}
		return nil
	})
	if n := count(t, s.Understudy); n != 0 {
		t.Fatalf("%d recoveries of a service that lives", n)
	}

	for _, stop := range []func(){w.prometheus.Kill, w.alertmanagers[0].Kill, s.HAProxy.Kill, s.Primary.Kill} {
		stop()
	}
	detail := asked(t, s.Understudy)
	if detail.Report.Active != runbooks.PrimaryName || detail.Report.Trigger.Kind != workflows.TriggerWatchdog {
		t.Errorf("before anybody agreed it is on %s; the trigger is %+v", detail.Report.Active, detail.Report.Trigger)
	}
	if shown, err := west.Command(t.Context(), "show stat asr_west 4 -1"); err != nil || !strings.Contains(shown, "MAINT") {
		t.Errorf("before anybody agreed the other load balancer shows %s, %v", shown, err)
	}
	yes := fmt.Sprintf(`{"question":%q,"plan":%q}`, detail.Report.Question.ID, detail.Report.Question.Plan)
	if a := decide(t, s.Understudy, "", "/recoveries/"+detail.ID+"/approve", yes, "yes"); a.status != 200 {
		t.Fatalf("the yes is told %+v", a)
	}
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	call(t, "http://"+front, 5*time.Second).answers(t, 3)
	if n := count(t, s.Understudy); n != 1 {
		t.Errorf("%d recoveries", n)
	}
}

// The heartbeat beats while a long inference holds the health check up: it suspects,
// asks the load balancer, and does nothing, however long it takes.
func TestTheHeartbeatLeavesALongInferenceAlone(t *testing.T) {
	abreast(t)
	const times = 30
	s := setScene(t, harness.SceneOptions{PrimaryArgs: []string{"--blocking"}, Fall: 100_000, Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Health.Busy = runbooks.Duration(10 * time.Minute)
		r.Heartbeat = &runbooks.Heartbeat{Interval: runbooks.Duration(400 * time.Millisecond), Failures: 2}
	}})
	guard(t, s.Understudy, atRest)
	before := balancer(t, s)
	said := transcribing(t, s.Front, long(t, times))
	suspected := false
	for waiting := true; waiting; {
		select {
		case o := <-said:
			if waiting = false; o.err != nil {
				t.Errorf("the long recording was answered with %v", o.err)
			}
		case <-time.After(100 * time.Millisecond):
			held := strings.TrimSpace(metric(t, s, `understudy_heartbeat_held_total{reason="busy"}`))
			suspected = suspected || held != "" && !strings.HasSuffix(held, " 0")
		}
	}
	if !suspected {
		t.Error("no heartbeat has met the inference, so this test shows nothing")
	}
	unchanged(t, s, before)
	if n := count(t, s.Understudy); n != 0 {
		t.Errorf("%d recoveries", n)
	}
	if seen := stats(t, s.Hot); seen.Requests[heard] != 0 {
		t.Errorf("the standby had work: %+v", seen)
	}
}
