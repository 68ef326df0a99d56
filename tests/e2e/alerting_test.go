package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// scrapes come often, so that alerts do.
	scrapes = 250 * time.Millisecond
	// interval is Alertmanager's group_interval and repeat_interval.
	interval = time.Second
)

// watchers are a real Prometheus and real Alertmanagers.
type watchers struct {
	prometheus    *harness.PrometheusServer
	alertmanagers []*harness.AlertmanagerServer
}

// watch starts watchers that alert a scene's Understudy, whether it runs yet or
// not, about targets, which are host:port by service.
func watch(t *testing.T, s *harness.Scene, targets map[string]string, alertmanagers int, api ...string) *watchers {
	t.Helper()
	for _, need := range [][2]string{{"prometheus", "prometheus"}, {"prometheus-alertmanager", "prometheus-alertmanager"}} {
		if _, err := harness.Find(need[0], need[1]); err != nil {
			t.Skipf("missing: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if len(api) == 0 {
		api = []string{s.Understudy.URL}
	}
	w := &watchers{}
	t.Cleanup(w.stop)
	for i := range alertmanagers {
		a, err := harness.Alertmanager(ctx, harness.AlertmanagerOptions{
			Dir: s.Dir, Name: fmt.Sprint("alertmanager-", i), Webhook: api[0] + "/api/v1/alerts", Interval: interval, Repeat: interval,
		})
		if err != nil {
			t.Fatal(err)
		}
		w.alertmanagers = append(w.alertmanagers, a)
	}
	dir := filepath.Join(s.Dir, "prometheus")
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		w.prometheus, err = harness.Prometheus(ctx, harness.PrometheusOptions{Dir: dir, Targets: targets, Every: scrapes, Alertmanagers: w.alertmanagers})
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watchers) stop() {
	if w.prometheus != nil {
		w.prometheus.Kill()
	}
	for _, a := range w.alertmanagers {
		a.Kill()
	}
}

// refused waits until every Alertmanager has sent, and was not heard.
func (w *watchers) refused(t *testing.T) {
	t.Helper()
	for _, a := range w.alertmanagers {
		eventually(t, func(ctx context.Context) error {
			metrics, err := fetch(ctx, "http://"+a.Address+"/metrics")
			if err != nil {
				return err
			}
			for line := range strings.Lines(metrics) {
				if value, ok := strings.CutPrefix(line, `alertmanager_notification_requests_failed_total{integration="webhook"} `); ok && strings.TrimSpace(value) != "0" {
					return nil
				}
			}
			return errors.New("Alertmanager has not failed to deliver")
		})
	}
}

// quiet waits until no Alertmanager holds an alert that fires.
func (w *watchers) quiet(t *testing.T) {
	t.Helper()
	for _, a := range w.alertmanagers {
		eventually(t, func(ctx context.Context) error {
			text, err := fetch(ctx, "http://"+a.Address+"/api/v2/alerts")
			if err != nil {
				return err
			}
			var alerts []any
			if err := json.Unmarshal([]byte(text), &alerts); err != nil || len(alerts) > 0 {
				return fmt.Errorf("still firing: %s, %w", text, err)
			}
			return nil
		})
	}
}

func fetch(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, response.Status, text)
	}
	return string(text), err
}

// exporter is what Prometheus scrapes of a host: it goes away with the host, and
// comes back when somebody has repaired it, or not.
type exporter struct {
	address string
	server  *http.Server
}

func newExporter(t *testing.T) *exporter {
	t.Helper()
	e := &exporter{address: harness.Address(harness.FreePort())}
	e.up(t)
	t.Cleanup(e.down)
	return e
}

func (e *exporter) up(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", e.address)
	if err != nil {
		t.Fatal(err)
	}
	e.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintln(w, "host_up 1")
	})}
	go func() { _ = e.server.Serve(l) }()
}

func (e *exporter) down() { _ = e.server.Close() }

// decisions counts a guard's decisions of one kind whose reason contains a text.
func decisions(s workflows.GuardState, action workflows.Action, because string) int {
	n := 0
	for _, d := range s.Decisions {
		if d.Action == action && strings.Contains(d.Reason, because) {
			n++
		}
	}
	return n
}

// Three Alertmanagers send one alert while nobody can take it, send it again
// when somebody can, and go on sending it long after the fix: one recovery. When
// then the standby dies under the same alert, the repaired primary takes over.
func TestOneOutageOneRecoveryWhateverIsSent(t *testing.T) {
	abreast(t)
	api := harness.Address(harness.FreePort())
	s := setScene(t, harness.SceneOptions{Without: true, Edit: func(_ *runbooks.Runbook, site *runbooks.Site) { site.Listen.API = api }})
	host := newExporter(t)
	w := watch(t, s, map[string]string{"fun-asr": host.address}, 3, "http://"+api)

	host.down()
	s.Primary.Kill()
	w.refused(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.StartUnderstudy(ctx); err != nil {
		t.Fatal(err)
	}
	first := ended(t, s.Understudy, 1)
	wantOutcome(t, first, workflows.OutcomeRecovered, string(runbooks.Dead))
	servers(t, s, "MAINT", "UP")

	// All three repeat it each second, also after the end of the cooldown.
	g := guard(t, s.Understudy, func(g workflows.GuardState) bool {
		return atRest(g) && time.Now().After(g.CooldownUntil) && decisions(g, workflows.Ignore, "has answered this alert") >= 6
	})
	if n := count(t, s.Understudy); n != 1 || g.Active != runbooks.TierHot || decisions(g, workflows.Start, "") != 1 {
		t.Fatalf("%d recoveries; the guard: %+v", n, g)
	}
	if seen := stats(t, s.Hot); seen.Requests[heard] == 0 {
		t.Errorf("the standby had no work: %+v", seen)
	}

	// Somebody repairs the primary, but not what Prometheus asks. Then the standby dies.
	if err := s.Primary.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	s.Hot.Kill()
	second := ended(t, s.Understudy, 2)
	wantOutcome(t, second, workflows.OutcomeRecovered, string(runbooks.Dead))
	if second.From != runbooks.TierHot || second.Active != runbooks.PrimaryName || second.Epoch <= first.Epoch {
		t.Errorf("epoch %d after %d, from %s to %s", second.Epoch, first.Epoch, second.From, second.Active)
	}
	servers(t, s, "UP", "MAINT")

	// At last the alert resolves, for all three. That is no event any more.
	host.up(t)
	guard(t, s.Understudy, func(g workflows.GuardState) bool {
		for _, seen := range g.Seen {
			if !seen.Resolved {
				return false
			}
		}
		return atRest(g)
	})
	if n := count(t, s.Understudy); n != 2 {
		t.Errorf("%d recoveries", n)
	}
	servers(t, s, "UP", "MAINT")
	for _, line := range []string{"understudy_alerts_received_total{result=\"accepted\"}", "understudy_alerts_received_total{result=\"unmatched\"} 0"} {
		if metrics, err := fetch(ctx, s.Understudy.URL+"/metrics"); err != nil || !strings.Contains(metrics, line) {
			t.Errorf("the metrics do not show %s: %v", line, err)
		}
	}
}
