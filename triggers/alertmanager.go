package triggers

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// maxBody is the largest webhook that is read. Alertmanager sends no more than its groups hold; a storm of
	// thousands of alerts stays far below.
	maxBody = 32 << 20
	// maxAlerts of one service enter a history with one webhook: the newest speak for the rest.
	maxAlerts = 24
	// handOverIn bounds how long the engine may take, below the timeouts that people give Alertmanager.
	handOverIn = 5 * time.Second
	// parallel hand-overs of one webhook that is about many services.
	parallel = 32
)

// webhook is the body that Alertmanager posts, version 4, as far as it is
// needed: fields that come and go with its versions are not looked at.
type webhook struct {
	template.Data
	Version         string `json:"version"`
	TruncatedAlerts uint64 `json:"truncatedAlerts"`
}

// Signs hears of alerts that are signs of life of whole sites.
type Signs interface {
	// Hear takes in an alert, and reports whether it is one.
	Hear(labels map[string]string, firing bool) bool
}

// AlertsConfig is what the receiver needs.
type AlertsConfig struct {
	Library func() *runbooks.Library
	Guards  Guards
	Pager   Pager
	// Signs is nil where no site has a watchdog.
	Signs   Signs
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Alerts receives Alertmanager's webhooks.
type Alerts struct {
	AlertsConfig
	taken     *handOver
	received  *prometheus.CounterVec
	truncated prometheus.Counter
}

// NewAlerts makes the receiver.
func NewAlerts(c AlertsConfig) *Alerts {
	received := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "understudy_alerts_received_total",
		Help: "Alerts that came by webhook, by what became of them: accepted, sign (of life of a site), unmatched, failed.",
	}, []string{"result"})
	truncated := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "understudy_alerts_truncated_total",
		Help: "Alerts that Alertmanager left out of its webhooks (max_alerts).",
	})
	c.Metrics.MustRegister(received, truncated)
	for _, result := range []string{"accepted", "sign", "unmatched", "failed"} {
		received.WithLabelValues(result)
	}
	return &Alerts{AlertsConfig: c, taken: newHandOver(c.Guards, c.Pager, c.Log), received: received, truncated: truncated}
}

// ServeHTTP answers 200 when the engine holds every alert that is about a
// service, 503 when it does not (Alertmanager tries again on 5xx only:
// notify/util.go), 400 for what is no webhook of Alertmanager's. An alert that
// comes twice is harmless: its guard knows it.
func (a *Alerts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			problem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a webhook has at most %d bytes", maxBody))
			return
		}
		problem(w, http.StatusBadRequest, "the body could not be read")
		return
	}
	signals, unmatched, err := a.sort(body)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	a.received.WithLabelValues("unmatched").Add(float64(unmatched))
	trace := traceParent(r.Header.Get("traceparent"))
	ctx, cancel := context.WithTimeout(r.Context(), handOverIn)
	defer cancel()
	if failed := a.deliver(ctx, signals, trace); failed != nil {
		a.Log.Error("alerts could not be handed over; Alertmanager will send them again", "error", failed, "trace", trace)
		problem(w, http.StatusServiceUnavailable, "the engine did not take the alerts; send them again")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]int{"services": len(signals), "unmatched": unmatched})
}

// sort groups the alerts of a webhook by service.
func (a *Alerts) sort(body []byte) (signals map[string]workflows.AlertSignal, unmatched int, err error) {
	var hook webhook
	if err := json.Unmarshal(body, &hook); err != nil {
		return nil, 0, fmt.Errorf("this is no webhook of Alertmanager: %w", err)
	}
	if hook.Alerts == nil {
		return nil, 0, errors.New("this is no webhook of Alertmanager: it has no list of alerts")
	}
	if hook.TruncatedAlerts > 0 {
		a.truncated.Add(float64(hook.TruncatedAlerts))
		a.Log.Warn("Alertmanager left alerts out of its webhook; remove max_alerts from its receiver", "truncated", hook.TruncatedAlerts)
	}
	signals = map[string]workflows.AlertSignal{}
	library, now := a.Library(), time.Now().UTC()
	for _, alert := range hook.Alerts {
		if a.Signs != nil && a.Signs.Hear(alert.Labels, alert.Status != "resolved") {
			a.received.WithLabelValues("sign").Inc()
			continue
		}
		service, ok := library.Match(alert.Labels)
		if !ok {
			unmatched++
			continue
		}
		signal := signals[service]
		signal.Received = now
		signal.Alerts = append(signal.Alerts, trim(alert))
		signals[service] = signal
	}
	for service, signal := range signals {
		slices.SortStableFunc(signal.Alerts, func(x, y workflows.Alert) int { return y.StartsAt.Compare(x.StartsAt) })
		signal.Alerts = signal.Alerts[:min(len(signal.Alerts), maxAlerts)]
		signals[service] = signal
	}
	return signals, unmatched, nil
}

// deliver hands one signal to each service's guard.
func (a *Alerts) deliver(ctx context.Context, signals map[string]workflows.AlertSignal, trace string) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	errs := make([]error, len(signals))
	for i, service := range slices.Sorted(maps.Keys(signals)) {
		signal := signals[service]
		signal.TraceParent = trace
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := a.Guards.Alert(ctx, service, signal); err != nil {
				a.received.WithLabelValues("failed").Add(float64(len(signal.Alerts)))
				errs[i] = fmt.Errorf("service %s: %w", service, err)
				go a.taken.page(context.WithoutCancel(ctx), service, "the engine does not take alerts: "+err.Error())
				return
			}
			a.received.WithLabelValues("accepted").Add(float64(len(signal.Alerts)))
			a.taken.watch(service)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// trim keeps what a guard needs of an alert. Labels and annotations are other
// people's text: they are shown, cut short, and never interpreted.
func trim(alert template.Alert) workflows.Alert {
	t := workflows.Alert{
		Fingerprint: clean(alert.Fingerprint, 64), StartsAt: alert.StartsAt.UTC(), Firing: alert.Status != "resolved",
		Name: clean(alert.Labels["alertname"], 100), Summary: clean(alert.Annotations["summary"], 300),
	}
	if !t.Firing {
		t.EndsAt = alert.EndsAt.UTC()
	}
	if t.Fingerprint == "" {
		t.Fingerprint = fingerprint(alert.Labels)
	}
	return t
}

// fingerprint stands in for one that a sender left out.
func fingerprint(labels template.KV) string {
	hash := fnv.New64a()
	for _, pair := range labels.SortedPairs() {
		fmt.Fprintf(hash, "%q=%q;", pair.Name, pair.Value)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// clean makes one short line of other people's text.
func clean(text string, most int) string {
	text = text[:min(len(text), 4*most)]
	text = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case !unicode.IsPrint(c):
			return -1
		default:
			return c
		}
	}, strings.ToValidUTF8(text, ""))
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return string(runes)
}

var traceFormat = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceParent joins the sender's trace, or begins one (W3C Trace Context).
func traceParent(sent string) string {
	if traceFormat.MatchString(sent) {
		return sent
	}
	var id [24]byte
	_, _ = rand.Read(id[:]) // never fails: package crypto/rand
	return "00-" + hex.EncodeToString(id[:16]) + "-" + hex.EncodeToString(id[16:]) + "-01"
}
