package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// AlertmanagerServer is a running Alertmanager.
type AlertmanagerServer struct {
	*Process
	// Address is host:port of its web server.
	Address string
}

// AlertmanagerOptions describe an Alertmanager to start.
type AlertmanagerOptions struct {
	Dir, Name string
	// Port to answer at; default a free one.
	Port int
	// Webhook is where it sends.
	Webhook string
	// Interval is its group_interval: how soon it tells of changes, and tries again what was refused.
	Interval time.Duration
	// Repeat is how often it tells of what still fires.
	Repeat time.Duration
}

// Alertmanager starts an Alertmanager with one receiver.
func Alertmanager(ctx context.Context, o AlertmanagerOptions) (*AlertmanagerServer, error) {
	path, err := Find("prometheus-alertmanager", "prometheus-alertmanager")
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`route:
  receiver: understudy
  group_by: [alertname, service]
  group_wait: 0s
  group_interval: %s
  repeat_interval: %s
receivers:
  - name: understudy
    webhook_configs:
      - url: %s
        send_resolved: true
`, promDuration(o.Interval), promDuration(o.Repeat), o.Webhook)
	file := filepath.Join(o.Dir, o.Name+".yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	if o.Port == 0 {
		o.Port = FreePort()
	}
	address := Address(o.Port)
	p, err := Start(ctx, Spec{
		Name: o.Name, Path: path, Dir: o.Dir,
		Args: []string{
			"--config.file=" + file, "--storage.path=" + filepath.Join(o.Dir, o.Name+"-data"),
			"--web.listen-address=" + address, "--cluster.listen-address=", "--log.level=warn",
		},
		Ready: Responding("http://" + address + "/-/ready"),
	})
	if err != nil {
		return nil, err
	}
	return &AlertmanagerServer{p, address}, nil
}

// PrometheusOptions describe a Prometheus to start.
type PrometheusOptions struct {
	Dir string
	// Port to answer at; default a free one.
	Port int
	// Targets are host:port of what is scraped, by the name of the service; Standbys are more of the same services.
	Targets, Standbys map[string]string
	// Every is the interval of scrapes and of rules.
	Every         time.Duration
	Alertmanagers []*AlertmanagerServer
}

// PrometheusServer is a running Prometheus.
type PrometheusServer struct {
	*Process
	// Address is host:port of its web server.
	Address string
}

// Prometheus starts a Prometheus that scrapes speech services, and raises
// SpeechServiceDown at once when one cannot be scraped.
func Prometheus(ctx context.Context, o PrometheusOptions) (*PrometheusServer, error) {
	path, err := Find("prometheus", "prometheus")
	if err != nil {
		return nil, err
	}
	var jobs, managers strings.Builder
	for _, targets := range []map[string]string{o.Targets, o.Standbys} {
		for service, target := range targets {
			fmt.Fprintf(&jobs, "      - targets: [%q]\n        labels: {service: %q}\n", target, service)
		}
	}
	for _, m := range o.Alertmanagers {
		fmt.Fprintf(&managers, "%q, ", m.Address)
	}
	every := promDuration(o.Every)
	config := fmt.Sprintf(`global: {scrape_interval: %s, scrape_timeout: %s, evaluation_interval: %s}
rule_files: [rules.yml]
alerting:
  alertmanagers:
    - static_configs: [{targets: [%s]}]
scrape_configs:
  - job_name: speech
    static_configs:
%s`, every, every, every, managers.String(), jobs.String())
	rules := fmt.Sprintf(`groups:
  - name: speech
    interval: %s
    rules:
      - alert: SpeechServiceDown
        expr: up{job="speech"} == 0
        annotations: {summary: "{{ $labels.service }} cannot be scraped"}
`, every)
	for name, text := range map[string]string{"prometheus.yml": config, "rules.yml": rules} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if o.Port == 0 {
		o.Port = FreePort()
	}
	address := Address(o.Port)
	p, err := Start(ctx, Spec{
		Name: "prometheus", Path: path, Dir: o.Dir,
		Args: []string{
			"--config.file=prometheus.yml", "--storage.tsdb.path=prometheus-data", "--web.listen-address=" + address, "--log.level=warn",
		},
		Ready: Responding("http://" + address + "/-/ready"),
	})
	if err != nil {
		return nil, err
	}
	return &PrometheusServer{p, address}, nil
}

// promDuration words a duration as Prometheus reads it: it knows no fractions.
func promDuration(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }
