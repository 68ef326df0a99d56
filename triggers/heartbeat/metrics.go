package heartbeat

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/runbooks"
)

// metrics are what Understudy shows of its heartbeats.
type metrics struct {
	services prometheus.Gauge
	late     prometheus.Counter
	probes   map[runbooks.Finding]prometheus.Counter
	asks     *prometheus.CounterVec
	held     *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	probes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "understudy_heartbeat_probes_total", Help: "Heartbeats, by what they found.",
	}, []string{"finding"})
	m := &metrics{
		services: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "understudy_heartbeat_services", Help: "Services whose heart is listened to.",
		}),
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "understudy_heartbeat_late_total", Help: "Heartbeats that had to wait because all workers were busy.",
		}),
		probes: map[runbooks.Finding]prometheus.Counter{},
		asks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "understudy_heartbeat_asks_total", Help: "Recoveries that were asked for, by what came of it: started, declined, failed.",
		}, []string{"result"}),
		held: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "understudy_heartbeat_held_total", Help: "Failures for which no recovery was asked for, by reason: busy, own view.",
		}, []string{"reason"}),
	}
	for _, f := range []runbooks.Finding{runbooks.Answers, runbooks.Slow, runbooks.Errors, runbooks.Silent, runbooks.Refuses, runbooks.Unreachable, runbooks.Blind} {
		m.probes[f] = probes.WithLabelValues(string(f)) // looked up once, not thousands of times a second
	}
	if registry != nil {
		registry.MustRegister(m.services, m.late, probes, m.asks, m.held)
	}
	return m
}

func (m *metrics) probed(f runbooks.Finding) {
	if counter, ok := m.probes[f]; ok {
		counter.Inc()
	}
}
