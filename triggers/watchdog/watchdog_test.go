package watchdog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/watchdog"
	"github.com/understudy-dr/understudy/workflows"
)

const silence = 3 * time.Minute

// engine keeps what it is told, with the second at which it was.
type engine struct {
	mu    sync.Mutex
	began time.Time
	told  []string
	signs []workflows.SignOfLife
	away  error
	log   bytes.Buffer
}

func (e *engine) take(what, site string) error {
	if e.away != nil {
		return e.away
	}
	e.told = append(e.told, fmt.Sprintf("%s %s %.0f", site, what, time.Since(e.began).Seconds()))
	return nil
}

func (e *engine) Alive(_ context.Context, site string, sign workflows.SignOfLife) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.signs = append(e.signs, sign)
	what := "lives"
	if sign.At.IsZero() {
		what = "is watched"
	}
	return e.take(what, site)
}

func (e *engine) Silent(_ context.Context, site string, s workflows.SilenceSignal) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.take(fmt.Sprintf("silent since %.0f,", s.Since.Sub(e.began).Seconds()), site)
}

func (e *engine) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log.Write(p)
}

func (e *engine) heard() []workflows.SignOfLife {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]workflows.SignOfLife(nil), e.signs...)
}

func (e *engine) set(away error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away = away
}

func listening(t *testing.T, script func(e *engine, l *watchdog.Listener, registry *prometheus.Registry)) {
	synctest.Test(t, func(t *testing.T) {
		e, registry := &engine{began: time.Now()}, prometheus.NewRegistry()
		site := func(name string) runbooks.SiteGroup {
			return runbooks.SiteGroup{Name: name, Watchdog: &runbooks.Watchdog{
				Match: map[string]string{"alertname": "Watchdog", "site": name}, Silence: runbooks.Duration(silence), Action: "recover",
			}}
		}
		l := watchdog.New(watchdog.Config{
			Sites: []runbooks.SiteGroup{site("dc-a"), {Name: "unwatched"}, site("dc-b")}, Engine: e, Log: slog.New(slog.NewTextHandler(e, nil)), Metrics: registry,
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { l.Run(ctx) })
		script(e, l, registry)
		cancel()
		running.Wait()
	})
}

func labels(site string) map[string]string {
	return map[string]string{"alertname": "Watchdog", "site": site, "severity": "none"}
}

func (e *engine) want(t *testing.T, told ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	var a []string
	for _, line := range e.told {
		if strings.HasPrefix(line, "dc-a") {
			a = append(a, strings.TrimPrefix(line, "dc-a "))
		}
	}
	if strings.Join(a, "; ") != strings.Join(told, "; ") {
		t.Errorf("the engine was told of dc-a:\n%q, want\n%q", a, told)
	}
}

func TestSignsStayHere(t *testing.T) {
	listening(t, func(e *engine, l *watchdog.Listener, registry *prometheus.Registry) {
		time.Sleep(30 * time.Second)
		for range 30 { // each ten seconds, from three Alertmanagers
			for range 3 {
				if !l.Hear(labels("dc-a"), true) {
					t.Fatal("a sign of life was not taken for one")
				}
			}
			time.Sleep(10 * time.Second)
		}
		e.want(t, "is watched 0", "lives 30", "lives 90", "lives 150", "lives 210", "lives 270")
		if n := shown(t, registry, "understudy_watchdog_signs_total", "dc-a"); n != 90 {
			t.Errorf("%v signs were counted", n)
		}
		signs := e.heard()
		sign := signs[len(signs)-1]
		if sign.Silence.D() != silence || sign.Action != "recover" || sign.Listening.IsZero() || time.Since(sign.At) > time.Minute {
			t.Errorf("the engine was told %+v", sign)
		}
	})
}

func TestASilence(t *testing.T) {
	listening(t, func(e *engine, l *watchdog.Listener, registry *prometheus.Registry) {
		time.Sleep(10*time.Second + time.Millisecond)
		l.Hear(labels("dc-a"), true)
		time.Sleep(50 * time.Second)
		l.Hear(labels("dc-a"), true)
		time.Sleep(40 * time.Second)
		// Alertmanager says that Prometheus no longer sends the alert: that is no sign of life.
		if !l.Hear(labels("dc-a"), false) || l.Hear(labels("unwatched"), true) || l.Hear(map[string]string{"alertname": "Down"}, true) {
			t.Error("alerts were mistaken")
		}
		time.Sleep(5 * time.Minute)
		if silent := shown(t, registry, "understudy_watchdog_silent", "dc-a"); silent != 1 {
			t.Errorf("shown as silent: %v", silent)
		}
		l.Hear(labels("dc-a"), true)
		time.Sleep(time.Second)
		e.want(t, "is watched 0", "lives 10", "silent since 60, 241", "lives 400")
		states := l.States()
		if len(states) != 2 || states[0].Site != "dc-a" || states[0].Silent || !states[1].Silent || !states[1].Heard.IsZero() {
			t.Errorf("states: %+v", states)
		}
		last, since, known := l.HeardOf("dc-a")
		if !known || time.Since(last) != time.Second || since.IsZero() {
			t.Errorf("heard of dc-a: %s, %s, %v", last, since, known)
		}
		if _, _, known := l.HeardOf("unwatched"); known {
			t.Error("a site without a watchdog is known")
		}
	})
}

func TestAnEngineThatIsAway(t *testing.T) {
	listening(t, func(e *engine, l *watchdog.Listener, _ *prometheus.Registry) {
		time.Sleep(500 * time.Millisecond)
		e.set(errors.New("away"))
		l.Hear(labels("dc-a"), true)
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			l.Hear(labels("dc-a"), true)
		}
		asked := len(e.heard())
		e.set(nil)
		time.Sleep(2 * time.Second)
		e.set(errors.New("away again"))
		time.Sleep(4 * time.Minute)
		e.set(nil)
		time.Sleep(2 * time.Second)
		e.want(t, "is watched 0", "lives 11", "silent since 10, 253")
		if asked > 15 {
			t.Errorf("it was asked %d times in ten seconds", asked)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if n := strings.Count(e.log.String(), "does not take"); n > 4 {
			t.Errorf("the log says so %d times", n)
		}
	})
}

// shown is the value of one series.
func shown(t *testing.T, registry *prometheus.Registry, name, site string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == site {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no series %s of %s", name, site)
	return 0
}
