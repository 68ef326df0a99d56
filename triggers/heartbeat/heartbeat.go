// Package heartbeat notices within seconds that a service has died or hangs, for
// services whose runbook asks for it.
//
// Each service's active is probed at its interval, a little jittered. A service
// costs a place in one schedule and a probe now and then, no goroutine: a bounded
// pool of workers probes for all. While a probe is mute the next one does not wait
// for its end, so a hang shows after little more than the health check's timeout.
// After as many failures in a row as the runbook allows, a recovery is asked for,
// with the first failed probe as the beginning of the outage.
//
// Before that, three things are made sure, because a recovery is no toy. The
// service still runs where it was probed, and no recovery is running. The silence
// is no inference that holds the health check up, as far as the load balancer
// knows. And it is not Understudy's own network that fails: then nothing else
// answers either, and people are told instead. The recovery makes its own
// diagnosis all the same.
package heartbeat

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// Workers is how many probes may be under way at once. A healthy service needs one for milliseconds, a mute one for
	// its health check's timeout.
	Workers = 1024
	// askers is how many services may be inquired about at once.
	askers = 64
	// together: what is due within this time is done in one go.
	together = time.Millisecond
	// crowdedFor is how long a probe waits where all workers are busy.
	crowdedFor = 5 * time.Millisecond
	// reloadEvery is how often it is seen whether the runbooks have changed.
	reloadEvery = time.Second
)

// Active is where a service runs now.
type Active struct {
	Target runbooks.Target
	// Recovering is true while a recovery of the service runs.
	Recovering bool
}

// Actives knows where services run. It may ask the engine: it is called about
// once a minute for each service (less often for thousands), before a recovery is
// asked for, and every two seconds while one runs.
type Actives interface {
	Active(ctx context.Context, service string) (Active, error)
}

// Ask is a request for a recovery.
type Ask struct {
	Service string
	// ID makes the request one: with the same ID it is answered again, and not decided again.
	ID string
	// Since is the first failed probe: the beginning of the outage.
	Since time.Time
	// Reason is one sentence.
	Reason string
}

// Answer is what a guard has decided.
type Answer struct {
	Started bool
	Reason  string
}

// Guards takes requests for recoveries. An error means that no guard has decided
// yet; the same request comes again.
type Guards interface {
	Recover(ctx context.Context, ask Ask) (Answer, error)
}

// Balancers tells what load balancers know: of the diagnosis, only their opinion
// and the requests in flight are used.
type Balancers interface {
	AskBalancer(ctx context.Context, in activities.DiagnoseInput) (activities.Diagnosis, error)
}

// Pager tells people without the engine.
type Pager interface {
	Page(ctx context.Context, service, text string) error
}

// Config is what a prober needs.
type Config struct {
	Library   func() *runbooks.Library
	Actives   Actives
	Prober    probe.Prober
	Balancers Balancers
	Guards    Guards
	Pager     Pager
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	// Workers bounds the probes under way. Default Workers.
	Workers int
}

// Heartbeat probes the services of a library.
type Heartbeat struct {
	Config
	metrics *metrics
	pool    *pool
	asking  chan struct{}
	wake    chan struct{}

	mu       sync.Mutex
	library  *runbooks.Library
	services map[string]*watched
	schedule schedule
	view     view
	// hosts is on how many hosts services run.
	hosts   int
	running sync.WaitGroup
}

// New makes a heartbeat; Run lets it beat.
func New(c Config) *Heartbeat {
	if c.Workers <= 0 {
		c.Workers = Workers
	}
	return &Heartbeat{
		Config: c, metrics: newMetrics(c.Metrics), pool: newPool(c.Workers), asking: make(chan struct{}, askers), wake: make(chan struct{}, 1),
		services: map[string]*watched{},
	}
}

// Run probes until the context ends, and returns when nothing is under way any more.
func (h *Heartbeat) Run(ctx context.Context) {
	defer h.running.Wait()
	defer h.pool.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-h.wake:
		}
		timer.Reset(time.Until(h.turn(ctx, time.Now())))
	}
}

// Moved says that a service may run elsewhere now: where, is asked at once.
func (h *Heartbeat) Moved(service string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w, ok := h.services[service]; ok {
		w.refresh = time.Time{}
		h.schedule.move(w, time.Now())
		h.rouse()
	}
}

// rouse lets Run look at the schedule again.
func (h *Heartbeat) rouse() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// turn begins everything that is due, and returns when the next thing is.
func (h *Heartbeat) turn(ctx context.Context, now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reload(now)
	for len(h.schedule) > 0 && !h.schedule[0].next.After(now.Add(together)) {
		w := h.schedule[0]
		if !h.pool.try(h.work(ctx, w, now)) {
			h.metrics.late.Inc()
			h.schedule.move(w, now.Add(crowdedFor))
		}
	}
	next := now.Add(reloadEvery)
	if len(h.schedule) > 0 && h.schedule[0].next.Before(next) {
		next = h.schedule[0].next
	}
	return next
}

// work is what a service needs now: to be found again, or to be probed. It also
// says when the service's turn comes again, unless an answer comes before.
func (h *Heartbeat) work(ctx context.Context, w *watched, now time.Time) (job func(), begun func()) {
	if w.recovering || !now.Before(w.refresh) {
		return func() { h.find(ctx, w) }, func() {
			w.refresh = now.Add(h.refreshEvery())
			h.schedule.move(w, now.Add(w.pauseAfterFind()))
		}
	}
	target, health := w.active.Target.URL, w.health
	return func() { h.probe(ctx, w, target, health, time.Now()) }, func() {
		w.flying++
		h.schedule.move(w, w.nextProbe(now))
	}
}

// probe looks once, within the health check's timeout.
func (h *Heartbeat) probe(ctx context.Context, w *watched, target string, health runbooks.Health, began time.Time) {
	limit := health.Timeout.D()
	// A prober tries twice within its timeout, each time for as long: half of it leaves room for both.
	health.Timeout /= 2
	result := h.Prober.Probe(ctx, probe.Request{URL: target, Health: health})
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	if mute(result.Finding) && now.Sub(began) > limit+lateAfter {
		result.Finding, result.Detail = runbooks.Blind, "this machine is too slow to tell: the look took "+now.Sub(began).Round(time.Millisecond).String()
	}
	h.metrics.probed(result.Finding)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.view.saw(w.host(target), result.Finding, began)
	if w.flying--; h.services[w.service] != w || w.active.Target.URL != target {
		return // it has moved meanwhile
	}
	if w.saw(result, began, now) {
		h.inquire(ctx, w, now)
	}
	h.schedule.move(w, w.next)
	h.rouse()
}
