package heartbeat_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/heartbeat"
)

// world is what a heartbeat sees, on a clock that stands still while anybody
// works: whatever is measured here is exact.
type world struct {
	mu sync.Mutex
	// library is changed by reload.
	library *runbooks.Library
	// finds is what a probe finds, by URL; what is not there answers.
	finds map[string]runbooks.Finding
	// actives are where services run; what is not there runs at home.
	actives map[string]heartbeat.Active
	// inFlight is what load balancers know.
	inFlight *runbooks.InFlight
	// answers are given to requests in turn, the last one for ever; fail makes them errors.
	answers []heartbeat.Answer
	fail    error
	// starved is by how much looks last longer than they should, because this machine has no time for them.
	starved time.Duration
	away    error

	asks    []asked
	pages   []string
	probes  map[string]int
	found   int
	flying  int
	highest int
	log     bytes.Buffer
}

type asked struct {
	heartbeat.Ask
	at time.Time
}

func (w *world) Active(_ context.Context, service string) (heartbeat.Active, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found++
	if w.away != nil {
		return heartbeat.Active{}, w.away
	}
	if a, ok := w.actives[service]; ok {
		return a, nil
	}
	r, _ := w.library.Lookup(service)
	target, _ := r.TargetNamed(runbooks.PrimaryName)
	return heartbeat.Active{Target: target}, nil
}

// Probe takes as long as a real look does: twice its timeout where the other side is mute.
func (w *world) Probe(ctx context.Context, r probe.Request) probe.Result {
	w.mu.Lock()
	w.probes[r.URL]++
	w.flying++
	w.highest = max(w.highest, w.flying)
	w.mu.Unlock()
	began, limit := time.Now(), 2*r.Health.Timeout.D()
	for {
		w.mu.Lock()
		f := w.finds[r.URL]
		w.mu.Unlock()
		mute := f == runbooks.Silent || f == runbooks.Unreachable
		if !mute || time.Since(began) >= limit || ctx.Err() != nil {
			w.mu.Lock()
			w.flying--
			starved := w.starved
			w.mu.Unlock()
			time.Sleep(starved)
			if f == "" {
				f = runbooks.Answers
			}
			return probe.Result{Finding: f, Detail: "as the test says", At: began, Took: runbooks.Duration(time.Since(began))}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (w *world) AskBalancer(context.Context, activities.DiagnoseInput) (activities.Diagnosis, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return activities.Diagnosis{Evidence: runbooks.Evidence{InFlight: w.inFlight}}, nil
}

func (w *world) Recover(_ context.Context, ask heartbeat.Ask) (heartbeat.Answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asks = append(w.asks, asked{ask, time.Now()})
	if w.fail != nil {
		return heartbeat.Answer{}, w.fail
	}
	answer := heartbeat.Answer{Started: true}
	if len(w.answers) > 0 {
		answer = w.answers[0]
		if len(w.answers) > 1 {
			w.answers = w.answers[1:]
		}
	}
	if answer.Started {
		r, _ := w.library.Lookup(ask.Service)
		target, _ := r.TargetNamed(runbooks.PrimaryName)
		w.actives[ask.Service] = heartbeat.Active{Target: target, Recovering: true}
	}
	return answer, nil
}

func (w *world) Page(_ context.Context, service, text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages = append(w.pages, service+": "+text)
	return nil
}

func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// requests lists what was asked for so far.
func (w *world) requests() []asked {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]asked(nil), w.asks...)
}

func (w *world) probed(url string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.probes[url]
}

// beat runs a script while hearts beat. In it, time passes only where it sleeps.
func beat(t *testing.T, books []runbooks.Runbook, change func(*heartbeat.Config), script func(t *testing.T, w *world, h *heartbeat.Heartbeat)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			library: runbooks.NewLibrary(books...), finds: map[string]runbooks.Finding{}, actives: map[string]heartbeat.Active{}, probes: map[string]int{},
		}
		config := heartbeat.Config{
			Library: func() *runbooks.Library { w.mu.Lock(); defer w.mu.Unlock(); return w.library },
			Actives: w, Prober: w, Balancers: w, Guards: w, Pager: w, Log: slog.New(slog.NewTextHandler(w, nil)), Metrics: prometheus.NewRegistry(),
		}
		if change != nil {
			change(&config)
		}
		h := heartbeat.New(config)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { h.Run(ctx) })
		script(t, w, h)
		cancel()
		running.Wait()
	})
}

const (
	interval = 500 * time.Millisecond
	timeout  = 400 * time.Millisecond
	failures = 3
)

func book(service, url string) runbooks.Runbook {
	return runbooks.Runbook{
		Service: service, Primary: runbooks.Primary{URL: url, Server: "primary"},
		Health:    runbooks.Health{Path: "/health", Timeout: runbooks.Duration(timeout)},
		Heartbeat: &runbooks.Heartbeat{Interval: runbooks.Duration(interval), Failures: failures},
		Traffic:   runbooks.Traffic{Kind: "haproxy"},
		Tiers:     []runbooks.Tier{{Name: "hot", URL: "http://hot", Server: "hot"}},
	}
}

func asr() []runbooks.Runbook { return []runbooks.Runbook{book("asr", "http://asr")} }

// many are services on hosts of their own.
func many(n int) []runbooks.Runbook {
	var books []runbooks.Runbook
	for i := range n {
		books = append(books, book(fmt.Sprintf("service-%04d", i), fmt.Sprintf("http://host-%04d:7860", i)))
	}
	return books
}

var errAway = errors.New("the engine is away")
