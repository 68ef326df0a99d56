package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/log"
	sdkworker "go.temporal.io/sdk/worker"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/tracing"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/heartbeat"
	"github.com/understudy-dr/understudy/triggers/watchdog"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// stopTimeout is how long activities may take to end when the worker stops.
	stopTimeout = 10 * time.Second
	// lastTraces is how long a collector may take to take the last traces.
	lastTraces = 3 * time.Second
	// stickyTimeout: after a kill, the engine waits so long for the dead worker before it asks another.
	stickyTimeout = time.Second
)

// seconds are the buckets of Understudy's own times: from a step of milliseconds
// to a machine that takes half an hour.
var seconds = metric.NewView(metric.Instrument{Name: "understudy_*", Kind: metric.InstrumentKindHistogram}, metric.Stream{
	Aggregation: metric.AggregationExplicitBucketHistogram{Boundaries: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300, 600, 1800}},
})

// program is a running Understudy.
type program struct {
	Config
	library  atomic.Pointer[runbooks.Library]
	registry *prometheus.Registry
	engine   *engine
	guards   *guards
	acts     *activities.Activities
	deps     activities.Deps
	worker   sdkworker.Worker
	batches  sdkworker.Worker
	// traces is nil where no collector is named.
	traces *tracing.Exporter
	// signs hears signs of life; nil in a worker that takes no alerts.
	signs *watchdog.Listener
	// beats is nil until it is looked for trouble.
	beats atomic.Pointer[heartbeat.Heartbeat]
}

// Serve runs the whole program until the context ends: engine, worker,
// triggers. It stops in the order in which nothing is lost: first no new alerts,
// then the worker, last the engine.
func Serve(ctx context.Context, c Config) (err error) {
	p, err := assemble(c)
	if err != nil {
		return err
	}
	door, err := open(c.Site, c.Log, p.registry)
	if err != nil {
		return err
	}
	defer door.Close()
	p.signs = watchdog.New(watchdog.Config{Sites: c.Site.Sites, Engine: siteWatchdogs{p}, Log: c.Log, Metrics: p.registry})
	if err := p.start(ctx); err != nil {
		return errors.Join(err, p.stop())
	}
	defer func() { err = errors.Join(err, p.stop()) }()

	alerts := triggers.NewAlerts(triggers.AlertsConfig{
		Library: p.library.Load, Guards: p.guards, Pager: pager{p.deps.Chats, p.library.Load}, Signs: p.signs, Log: c.Log, Metrics: p.registry,
	})
	api := triggers.NewAPI(triggers.APIConfig{
		Library: p.library.Load, Guards: p.guards, Orders: p.guards, Standbys: p.acts, Makers: p.acts, Machines: machineLister{p.library.Load, p.deps.Providers, p.guards}, Lookouts: p.guards,
		Reports: p.deps.Reports, Audit: door.audit, Log: c.Log, Link: p.guards.Link, Version: c.Version, Batches: p.batching(),
	})
	desk, err := openDesk(ctx, c.Site, api.Clicks(), p.deps.Chats, c.Log, p.registry)
	if err != nil {
		return err
	}
	defer desk.close()
	server, err := newHTTPServer(door, alerts, api, desk.handler(), p.registry, c.Log)
	if err != nil {
		return err
	}
	server.serve(door)
	if err := p.startGuards(ctx); err != nil {
		return errors.Join(err, server.drain())
	}
	go p.keepStanding(ctx)
	lookingOut := p.lookOut(ctx)
	defer lookingOut()
	server.ready.Store(true)
	c.Log.Info("Understudy is ready", "services", len(p.library.Load().Services()), "api", server.scheme()+"://"+c.Site.Listen.API, "temporal_ui", c.Site.Links.Temporal, "engine", p.engine.address)
	if c.Ready != nil {
		c.Ready()
	}
	p.reloadOnHangup(ctx)
	select {
	case <-ctx.Done():
		c.Log.Info("Understudy stops")
	case err = <-server.failed:
	}
	return errors.Join(err, server.drain())
}

// Work runs only a worker, beside a cluster, until the context ends.
func Work(ctx context.Context, c Config) (err error) {
	if os.Getenv("TEMPORAL_ADDRESS") == "" && os.Getenv("TEMPORAL_PROFILE") == "" {
		return errors.New("a worker alone needs a cluster: set TEMPORAL_ADDRESS, or TEMPORAL_PROFILE for a profile of temporal.toml; without a cluster use understudy serve")
	}
	p, err := assemble(c)
	if err != nil {
		return err
	}
	if err := p.start(ctx); err != nil {
		return errors.Join(err, p.stop())
	}
	c.Log.Info("the worker is ready", "engine", p.engine.address, "namespace", p.engine.namespace)
	if c.Ready != nil {
		c.Ready()
	}
	p.reloadOnHangup(ctx)
	<-ctx.Done()
	return p.stop()
}

// assemble reads what people wrote and makes the providers. Nothing runs yet.
func assemble(c Config) (*program, error) {
	p := &program{Config: c, registry: prometheus.NewRegistry()}
	library, err := c.library()
	if err != nil {
		return nil, err
	}
	p.library.Store(library)
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.deps, err = providers(c.Site, p.library.Load)
	return p, err
}

// start connects with the engine and starts the worker.
func (p *program) start(ctx context.Context) error {
	exporter, err := otelprom.New(otelprom.WithRegisterer(p.registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return fmt.Errorf("make the metrics exporter: %w", err)
	}
	meter := metric.NewMeterProvider(metric.WithReader(exporter), metric.WithView(seconds)).Meter("understudy")
	if p.engine, err = connect(ctx, p.Config, p.Log, meter); err != nil {
		return err
	}
	p.guards = &guards{client: p.engine.client, namespace: p.engine.namespace, ui: p.Site.Links.Temporal, library: p.library.Load, moved: p.moved}
	p.deps.Guards, p.deps.Namespace = p.guards, p.engine.namespace
	if p.deps.Engine, err = p.engine.name(ctx, p.deps.Engine); err != nil {
		return err
	}
	if p.traces, err = tracing.FromEnvironment(ctx, p.Version); err != nil {
		return err
	}
	p.deps.Traces = p.traces.Export
	p.deps.SearchAttributes = prepareNamespace(ctx, p.engine, p.Log)
	p.acts = activities.New(p.deps)
	if err := checkOpenWorkflows(ctx, p.engine, log.NewStructuredLogger(slog.New(slog.DiscardHandler))); err != nil {
		return err
	}
	p.warm(ctx)
	go p.keepInMind(ctx)
	p.worker = sdkworker.New(p.engine.client, workflows.TaskQueue, sdkworker.Options{
		WorkerStopTimeout:                  stopTimeout,
		StickyScheduleToStartTimeout:       stickyTimeout,
		MaxConcurrentActivityExecutionSize: 1000,
		DisableRegistrationAliasing:        true,
	})
	workflows.Register(p.worker)
	p.worker.RegisterActivity(p.acts)
	p.worker.RegisterActivity(activities.NewWatching(p.watchingDeps()))
	if err := p.worker.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	p.batches = p.newBatchWorker()
	if err := p.batches.Start(); err != nil {
		return fmt.Errorf("start the worker of batches: %w", err)
	}
	return nil
}

// startGuards starts a guard for every service that has none.
func (p *program) startGuards(ctx context.Context) error {
	for _, service := range p.library.Load().Services() {
		if err := p.guards.Start(ctx, service); err != nil {
			return fmt.Errorf("start the guard of %s: %w", service, err)
		}
	}
	return nil
}

// reloadOnHangup reads the runbooks again on SIGHUP. Where they cannot be used,
// the old ones stay.
func (p *program) reloadOnHangup(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hangup)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
			}
			library, err := p.Config.library()
			if err != nil {
				p.Log.Error("the runbooks were not reloaded; the old ones stay", "error", err)
				continue
			}
			p.library.Store(library)
			p.warm(ctx)
			if err := errors.Join(p.startGuards(ctx), p.startStanding(ctx)); err != nil {
				p.Log.Error("not everything could be started for the new runbooks", "error", err)
			}
			for _, service := range library.Services() {
				p.changed(service)
			}
			p.Log.Info("the runbooks were reloaded", "services", len(library.Services()))
		}
	}()
}

func (p *program) stop() error {
	if p.batches != nil {
		p.batches.Stop()
	}
	if p.worker != nil {
		p.worker.Stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastTraces)
	defer cancel()
	if err := p.traces.Close(ctx); err != nil {
		p.Log.Warn("the last traces were not taken", "error", err)
	}
	if p.engine != nil {
		return p.engine.close()
	}
	return nil
}
