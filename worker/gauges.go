package worker

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// gaugeEvery is how often guards are asked for the metrics, gaugeShare how long all of them together take at least:
	// ten questions a second are nothing to the engine.
	gaugeEvery, gaugeShare = 15 * time.Second, 100 * time.Millisecond
	gaugeWithin            = 5 * time.Second
)

// gauges show in the metrics where services run, what their guards do, and
// whether their standbys would work. Guards are asked beside the scrapes, so that
// no scrape waits for the engine.
type gauges struct {
	guards  *guards
	library func() *runbooks.Library

	mu    sync.Mutex
	known map[string]known
}

// known is what is shown of one service.
type known struct {
	answers   bool
	state     workflows.GuardState
	readiness workflows.ReadinessState
	tiers     []string
}

var (
	guardUp = prometheus.NewDesc("understudy_guard_up", "1 while a service's guard answers, 0 while it does not.", []string{"service"}, nil)
	guardIs = prometheus.NewDesc("understudy_guard_state", "1 for what a service's guard does: watching, recovering, drilling, paused, cooldown.", []string{"service", "state"}, nil)
	runsOn  = prometheus.NewDesc("understudy_service_active", "1 for the target on which a service runs.", []string{"service", "target"}, nil)
	failing = prometheus.NewDesc("understudy_tier_failing", "How many findings of the readiness say that a tier would fail now.", []string{"service", "tier"}, nil)
	looked  = prometheus.NewDesc("understudy_readiness_timestamp_seconds", "When the standbys of a service were looked at last.", []string{"service"}, nil)
	proven  = prometheus.NewDesc("understudy_tier_proven_timestamp_seconds", "When a tier was proven last, by a recovery or a drill.", []string{"service", "tier"}, nil)
)

// states of a guard, in the order in which the first that holds is shown.
var states = []string{"recovering", "drilling", "paused", "cooldown", "watching"}

func newGauges(g *guards, library func() *runbooks.Library) *gauges {
	return &gauges{guards: g, library: library, known: map[string]known{}}
}

// Describe is part of prometheus.Collector.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{guardUp, guardIs, runsOn, failing, looked, proven} {
		to <- d
	}
}

// Collect shows what was known last.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	g.mu.Lock()
	all := maps.Clone(g.known)
	g.mu.Unlock()
	show := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	one := map[bool]float64{true: 1}
	now := time.Now()
	for service, k := range all {
		show(guardUp, one[k.answers], service)
		if !k.answers {
			continue // what was known before may be wrong by now
		}
		does := doing(k.state, now)
		for _, state := range states {
			show(guardIs, one[state == does], service, state)
		}
		show(runsOn, 1, service, k.state.Active)
		if !k.readiness.At.IsZero() {
			show(looked, stamp(k.readiness.At), service)
			for _, tier := range k.tiers {
				show(failing, float64(len(k.readiness.Failing(tier))), service, tier)
			}
		}
		latest := map[string]time.Time{}
		for _, p := range k.state.Proofs {
			if p.At.After(latest[p.Tier]) {
				latest[p.Tier] = p.At
			}
		}
		for tier, at := range latest {
			show(proven, stamp(at), service, tier)
		}
	}
}

// run asks the guards until the context ends.
func (g *gauges) run(ctx context.Context) {
	for {
		services := g.library().Services()
		g.forget(services)
		for _, service := range services {
			g.ask(ctx, service)
			if !pause(ctx, gaugeShare) {
				return
			}
		}
		if !pause(ctx, max(gaugeEvery-time.Duration(len(services))*gaugeShare, gaugeShare)) {
			return
		}
	}
}

func (g *gauges) ask(ctx context.Context, service string) {
	ctx, cancel := context.WithTimeout(ctx, gaugeWithin)
	defer cancel()
	var k known
	var err error
	k.state, err = g.guards.State(ctx, service)
	k.answers = err == nil
	if k.answers {
		if readiness, err := g.guards.Readiness(ctx, service, false); err == nil {
			k.readiness = readiness
		}
	}
	if r, ok := g.library().Lookup(service); ok {
		for _, t := range r.Tiers {
			k.tiers = append(k.tiers, t.Name)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known[service] = k
}

// forget drops services that no runbook describes any more.
func (g *gauges) forget(services []string) {
	keep := map[string]bool{}
	for _, s := range services {
		keep[s] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.known, func(service string, _ known) bool { return !keep[service] })
}

// doing is what a guard does now.
func doing(s workflows.GuardState, now time.Time) string {
	switch {
	case s.Running != nil && s.Running.Mode == workflows.ModeDrill:
		return "drilling"
	case s.Running != nil:
		return "recovering"
	case s.Paused != nil:
		return "paused"
	case now.Before(s.CooldownUntil):
		return "cooldown"
	default:
		return "watching"
	}
}

func stamp(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// pause waits; false where the context has ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
