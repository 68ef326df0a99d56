package deploy_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
)

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}

func TestPrometheusLoadsConfigurationAndRules(t *testing.T) {
	promtool := needs(t, "promtool", "prometheus")
	run(t, promtool, "check", "config", shipped(t, "prometheus/prometheus.yml"))
	for _, file := range []string{"speech", "watchdog", "understudy", "gpu"} {
		run(t, promtool, "check", "rules", shipped(t, "prometheus/"+file+".rules.yml"))
	}
}

func TestAlertRulesFireWhenTheyShould(t *testing.T) {
	promtool := needs(t, "promtool", "prometheus")
	run(t, promtool, "test", "rules", "testdata/speech.rules.test.yml", "testdata/understudy.rules.test.yml")
}

func TestAlertsFindTheirWay(t *testing.T) {
	t.Parallel()
	amtool := needs(t, "amtool", "prometheus-alertmanager")
	file := shipped(t, "alertmanager/alertmanager.yml")
	run(t, amtool, "check-config", file)
	for alert, want := range map[string]string{
		"alertname=SpeechServiceDown service=fun-asr severity=critical":            "understudy,people",
		"alertname=SpeechServiceErrors service=sambert-hifigan severity=critical":  "understudy,people",
		"alertname=SpeechProbesMissing severity=warning":                           "people",
		"alertname=UnderstudyDown severity=critical":                               "people",
		"alertname=GPUOffTheBus severity=critical":                                 "people",
		"alertname=Watchdog site=dc-a severity=none":                               "understudy",
		"alertname=SpeechServiceDownstream service=fun-asr severity=informational": "people",
	} {
		out := run(t, amtool, append([]string{"config", "routes", "test", "--config.file=" + file}, strings.Fields(alert)...)...)
		if lines := strings.Split(strings.TrimSpace(out), "\n"); lines[len(lines)-1] != want {
			t.Errorf("%s goes to %q, want %s", alert, out, want)
		}
	}
}

// TestAlertmanagerDelivers runs a real Alertmanager with the shipped
// configuration, and holds its delivery against what Understudy expects.
func TestAlertmanagerDelivers(t *testing.T) {
	t.Parallel()
	program := needs(t, "prometheus-alertmanager", "prometheus-alertmanager")
	type delivery struct {
		Path    string `json:"-"`
		Version string
		Status  string
		Alerts  []struct {
			Status, Fingerprint string
			Labels              map[string]string
		}
	}
	delivered := make(chan delivery, 16)
	understudy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		d := delivery{Path: r.URL.Path}
		if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
			t.Error(err)
		}
		delivered <- d
	}))
	t.Cleanup(understudy.Close)

	dir, address := t.TempDir(), harness.Address(harness.FreePort())
	file := filepath.Join(dir, "alertmanager.yml")
	config := replace(t, read(t, shipped(t, "alertmanager/alertmanager.yml")), "http://127.0.0.1:8400/", understudy.URL+"/")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := harness.Start(t.Context(), harness.Spec{
		Name: "alertmanager", Path: program, Dir: dir, Ready: harness.Responding("http://" + address + "/-/ready"),
		Args: []string{"--config.file=" + file, "--storage.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--cluster.listen-address="},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	alert := `[{"labels":{"alertname":"SpeechServiceDown","service":"fun-asr","severity":"critical"}}]`
	resp, err := http.Post("http://"+address+"/api/v2/alerts", "application/json", strings.NewReader(alert))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	select {
	case d := <-delivered:
		if d.Path != "/api/v1/alerts" || d.Version != "4" || d.Status != "firing" || len(d.Alerts) != 1 || d.Alerts[0].Labels["service"] != "fun-asr" || d.Alerts[0].Fingerprint == "" {
			t.Errorf("delivered %+v", d)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("nothing was delivered\n%s", p.Tail(2000))
	}
}
