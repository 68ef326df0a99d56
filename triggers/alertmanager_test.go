package triggers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// engine takes signals, or fails.
type engine struct {
	mu      sync.Mutex
	signals map[string][]workflows.AlertSignal
	err     error
	stuck   string
	pages   chan string
}

func (e *engine) Alert(_ context.Context, service string, signal workflows.AlertSignal) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	e.signals[service] = append(e.signals[service], signal)
	return nil
}

func (e *engine) State(context.Context, string) (workflows.GuardState, error) {
	return workflows.GuardState{}, errors.New("not asked")
}

func (e *engine) Progress(context.Context, string, int64) (workflows.Report, error) {
	return workflows.Report{}, errors.New("not asked")
}

func (e *engine) Stuck(context.Context, string) (string, error) { return e.stuck, nil }

func (e *engine) Page(_ context.Context, service, text string) error {
	e.pages <- service + ": " + text
	return nil
}

func receiver(e *engine, services ...string) *triggers.Alerts {
	e.signals, e.pages = map[string][]workflows.AlertSignal{}, make(chan string, 100)
	var books []runbooks.Runbook
	for _, s := range services {
		books = append(books, runbooks.Runbook{Service: s, Match: []map[string]string{{"alertname": "Down", "service": s}}})
	}
	library := runbooks.NewLibrary(books...)
	return triggers.NewAlerts(triggers.AlertsConfig{
		Library: func() *runbooks.Library { return library }, Guards: e, Pager: e, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
}

func send(h http.Handler, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v1/alerts", strings.NewReader(body)))
	return w
}

func hook(alerts ...string) string {
	return `{"version":"4","status":"firing","receiver":"understudy","groupKey":"g","alerts":[` + strings.Join(alerts, ",") + `]}`
}

func one(service, status, fingerprint string) string {
	return fmt.Sprintf(`{"status":%q,"labels":{"alertname":"Down","service":%q},"annotations":{"summary":"s"},"startsAt":"2026-11-21T03:00:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":%q}`, status, service, fingerprint)
}

func TestWebhook(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		fails  error
		status int
		taken  string
	}{
		"one alert":                   {hook(one("asr", "firing", "f1")), nil, 200, "asr:1"},
		"resolved":                    {hook(one("asr", "resolved", "f1")), nil, 200, "asr:1"},
		"two services":                {hook(one("asr", "firing", "f1"), one("tts", "firing", "f2"), one("asr", "firing", "f3")), nil, 200, "asr:2 tts:1"},
		"of no service":               {hook(one("other", "firing", "f1")), nil, 200, ""},
		"none":                        {hook(), nil, 200, ""},
		"fields of a later version":   {strings.Replace(hook(one("asr", "firing", "f1")), `"version":"4"`, `"version":"4","notification_reason":"first notification","routeLabels":{"a":"b"},"new":[1]`, 1), nil, 200, "asr:1"},
		"the engine is away":          {hook(one("asr", "firing", "f1")), errors.New("invalid argument: the history is full"), 503, ""},
		"the engine is away, nothing": {hook(one("other", "firing", "f1")), errors.New("away"), 200, ""},
		"not JSON":                    {"{", nil, 400, ""},
		"empty":                       {"", nil, 400, ""},
		"a list":                      {"[]", nil, 400, ""},
		"no alerts":                   {`{"version":"4"}`, nil, 400, ""},
		"too large":                   {`{"x":"` + strings.Repeat("y", 33<<20) + `"}`, nil, 413, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := &engine{err: c.fails}
			w := send(receiver(e, "asr", "tts"), c.body)
			var taken []string
			for _, service := range []string{"asr", "tts"} {
				for _, signal := range e.signals[service] {
					taken = append(taken, fmt.Sprintf("%s:%d", service, len(signal.Alerts)))
				}
			}
			if w.Code != c.status || strings.Join(taken, " ") != c.taken {
				t.Errorf("got %d and %v: %s", w.Code, taken, w.Body)
			}
			if c.status >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("the error is %s", w.Header().Get("Content-Type"))
			}
			if c.status == 503 {
				if page := <-e.pages; !strings.Contains(page, "asr: the engine does not take alerts") {
					t.Errorf("people were told: %s", page)
				}
			}
		})
	}
}

func TestHostileAlertsAreCutDown(t *testing.T) {
	evil := "a\nb\x00\x1b[31m\u202e`$(reboot)`;<!channel>" + strings.Repeat("x", 1<<20)
	labels, err := json.Marshal(map[string]string{"alertname": "Down", "service": "asr", "evil": evil})
	if err != nil {
		t.Fatal(err)
	}
	summary, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	var alerts []string
	for i := range 500 {
		alerts = append(alerts, fmt.Sprintf(`{"status":"firing","labels":%s,"annotations":{"summary":%s},"startsAt":"2026-11-21T03:%02d:00Z"}`,
			map[bool]string{true: string(labels), false: `{"alertname":"Down","service":"asr"}`}[i < 10], map[bool]string{true: string(summary), false: `"s"`}[i < 10], i%60))
	}
	e := &engine{}
	w := send(receiver(e, "asr"), hook(alerts...))
	if w.Code != 200 || len(e.signals["asr"]) != 1 {
		t.Fatalf("%d, %d signals", w.Code, len(e.signals["asr"]))
	}
	signal, err := json.Marshal(e.signals["asr"][0])
	if err != nil || len(signal) > 16<<10 {
		t.Errorf("the signal has %d bytes (%v)", len(signal), err)
	}
	for _, a := range e.signals["asr"][0].Alerts {
		if a.Fingerprint == "" || strings.ContainsAny(a.Summary+a.Name, "\n\x00\x1b\u202e") {
			t.Errorf("not cleaned: %q, %q", a.Name, a.Summary)
		}
	}
}

func TestAMissingFingerprintIsMadeFromTheLabels(t *testing.T) {
	e := &engine{}
	h := receiver(e, "asr")
	for range 2 {
		send(h, hook(strings.Replace(one("asr", "firing", ""), `"service":"asr"`, `"service":"asr","node":"a"`, 1)))
	}
	send(h, hook(strings.Replace(one("asr", "firing", ""), `"service":"asr"`, `"service":"asr","node":"b"`, 1)))
	got := e.signals["asr"]
	if a, b, c := got[0].Alerts[0].Fingerprint, got[1].Alerts[0].Fingerprint, got[2].Alerts[0].Fingerprint; a == "" || a != b || a == c {
		t.Errorf("fingerprints %s, %s, %s", a, b, c)
	}
}

func FuzzWebhook(f *testing.F) {
	f.Add([]byte(hook(one("asr", "firing", "f1"))))
	f.Add([]byte(`{"alerts":[{"labels":{"alertname":"Down","service":"asr"},"startsAt":"x"}]}`))
	e := &engine{}
	h := receiver(e, "asr")
	f.Fuzz(func(t *testing.T, body []byte) {
		clear(e.signals)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v1/alerts", io.NopCloser(strings.NewReader(string(body)))))
		if w.Code != 200 && w.Code != 400 {
			t.Errorf("answered with %d", w.Code)
		}
		for _, signal := range e.signals["asr"] {
			if text, err := json.Marshal(signal); err != nil || len(text) > 16<<10 {
				t.Errorf("a signal of %d bytes (%v)", len(text), err)
			}
		}
	})
}
