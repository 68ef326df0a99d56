// Package watchdog hears the signs of life of whole sites: an alert that always
// fires (Prometheus' Watchdog) comes in every minute, and tells by its coming that
// Prometheus, Alertmanager and the way from there to here live.
//
// The signs stay in this process. The engine hears of one once in a third of the
// silence that the site file allows, of a silence at its very end, and of the end
// of a silence at once: for each site a durable workflow waits there, which looks
// for itself before it does anything. After a start, ours or a site's, a whole
// silence must pass before anything is called silent: nobody has listened before.
package watchdog

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// tellWithin bounds one message to the engine.
	tellWithin = 5 * time.Second
	// tick is how often the clock is looked at, least for silences of seconds: a twentieth of them is exact enough.
	tick, tickLeast = time.Second, 20 * time.Millisecond
)

// Engine takes what is to be told about sites. When a method returns without an
// error, the engine holds it; repeating it is harmless.
type Engine interface {
	// Alive hands over a sign of life, or only what the site file says, and starts the site's watchdog where none runs.
	Alive(ctx context.Context, site string, sign workflows.SignOfLife) error
	// Silent hands over that a site was not heard of for as long as it may be.
	Silent(ctx context.Context, site string, signal workflows.SilenceSignal) error
}

// Config is what a listener needs.
type Config struct {
	Sites   []runbooks.SiteGroup
	Engine  Engine
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Listener hears signs of life. It is safe for concurrent use.
type Listener struct {
	Config
	signs  *prometheus.CounterVec
	silent *prometheus.GaugeVec
	heard  *prometheus.GaugeVec

	mu      sync.Mutex
	sources []*source
}

var _ activities.Signs = (*Listener)(nil)

// New makes a listener. It begins to listen at once; Run hands over what it hears.
func New(c Config) *Listener {
	l := &Listener{
		Config: c,
		signs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "understudy_watchdog_signs_total", Help: "Signs of life of sites.",
		}, []string{"site"}),
		silent: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "understudy_watchdog_silent", Help: "1 while a site is silent for longer than it may be.",
		}, []string{"site"}),
		heard: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "understudy_watchdog_heard_timestamp_seconds", Help: "When a site was heard of last; 0 where it never was since the start.",
		}, []string{"site"}),
	}
	if c.Metrics != nil {
		c.Metrics.MustRegister(l.signs, l.silent, l.heard)
	}
	for _, site := range c.Sites {
		if site.Watchdog == nil {
			continue
		}
		l.sources = append(l.sources, newSource(site.Name, *site.Watchdog, time.Now()))
		l.signs.WithLabelValues(site.Name)
		l.silent.WithLabelValues(site.Name)
		l.heard.WithLabelValues(site.Name)
	}
	return l
}

// Hear takes in an alert, and reports whether it is a site's sign of life. One
// that has resolved is no sign: Alertmanager says by it that Prometheus no longer
// sends the alert.
func (l *Listener) Hear(labels map[string]string, firing bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ours := false
	for _, s := range l.sources {
		if !s.matches(labels) {
			continue
		}
		if ours = true; firing {
			now := time.Now()
			s.hear(now)
			l.signs.WithLabelValues(s.site).Inc()
			l.heard.WithLabelValues(s.site).Set(float64(now.UnixMilli()) / 1000)
			s.rouse()
		}
	}
	return ours
}

// HeardOf tells when a site was heard of last, and since when it is listened for.
func (l *Listener) HeardOf(site string) (last, listening time.Time, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sources {
		if s.site == site {
			return s.heard, s.listening, true
		}
	}
	return time.Time{}, time.Time{}, false
}

// State is how a site stands.
type State struct {
	Site string
	// Heard is the last sign of life; zero where none came since Listening.
	Heard, Listening time.Time
	Silence          time.Duration
	Silent           bool
}

// States lists the sites with a watchdog, in the order of the site file.
func (l *Listener) States() []State {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []State
	for _, s := range l.sources {
		all = append(all, State{Site: s.site, Heard: s.heard, Listening: s.listening, Silence: s.silence, Silent: s.silent})
	}
	return all
}

// Run hands over what is heard until the context ends.
func (l *Listener) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, s := range l.sources {
		all.Go(func() { l.serve(ctx, s) })
	}
	all.Wait()
}

// serve hands over what one site calls for. What the engine does not take is
// tried again at the next tick, with what is newest then.
func (l *Listener) serve(ctx context.Context, s *source) {
	clock := time.NewTicker(max(min(tick, s.silence/20), tickLeast))
	defer clock.Stop()
	away := false
	for {
		l.mu.Lock()
		now := time.Now()
		message := s.due(now)
		l.silent.WithLabelValues(s.site).Set(map[bool]float64{true: 1}[s.silent])
		l.mu.Unlock()
		if message != nothing {
			err := l.tell(ctx, s, message)
			if err != nil && !away && ctx.Err() == nil {
				l.Log.Error("the engine does not take what a site's watchdog has to tell; it is tried again", "site", s.site, "error", err)
			}
			if away = err != nil; !away {
				l.mu.Lock()
				s.told(message, now)
				l.mu.Unlock()
				continue // there may be more
			}
		}
		wake := s.wake
		if away {
			wake = nil // an engine that is away is not asked for each sign
		}
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		case <-wake:
		}
	}
}

func (l *Listener) tell(ctx context.Context, s *source, m message) error {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	l.mu.Lock()
	sign := workflows.SignOfLife{At: s.heard, Listening: s.listening, Silence: runbooks.Duration(s.silence), Action: s.action}
	since := s.since()
	l.mu.Unlock()
	if m == quiet {
		err := l.Engine.Silent(ctx, s.site, workflows.SilenceSignal{Since: since})
		if err == nil {
			l.Log.Warn("a site is silent; its watchdog looks at it", "site", s.site, "since", since)
		}
		return err
	}
	return l.Engine.Alive(ctx, s.site, sign)
}
