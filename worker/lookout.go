package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/heartbeat"
	"github.com/understudy-dr/understudy/triggers/watchdog"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// pingEvery is the pause between two outbound pings, pingWithin bounds one.
	pingEvery, pingWithin = time.Minute, 10 * time.Second
)

// lookOut begins to look for trouble beside the alerts: heartbeats of services,
// signs of life of sites, and what others watch Understudy itself by: metrics and
// the ping.
// What it returns waits until all of it has ended, once the context has.
func (p *program) lookOut(ctx context.Context) (wait func()) {
	ctx, stop := context.WithCancel(ctx)
	beats := heartbeat.New(heartbeat.Config{
		Library: p.library.Load, Actives: actives{p}, Prober: p.deps.Prober, Balancers: p.acts, Guards: callers{p},
		Pager: pager{p.deps.Chats, p.library.Load}, Log: p.Log, Metrics: p.registry,
	})
	p.beats.Store(beats)
	shown := newGauges(p.guards, p.library.Load)
	p.registry.MustRegister(shown)
	var all sync.WaitGroup
	all.Go(func() { beats.Run(ctx) })
	all.Go(func() { shown.run(ctx) })
	all.Go(func() { p.signs.Run(ctx) })
	all.Go(func() { p.ping(ctx) })
	return func() { stop(); all.Wait() }
}

// moved lets the heartbeat ask at once where a service runs, and readiness look
// at what stands by now. Both do so by themselves as well, only later.
func (p *program) moved(service string) {
	if beats := p.beats.Load(); beats != nil {
		beats.Moved(service)
	}
	go p.changed(service)
}

func (p *program) changed(service string) {
	ctx, cancel := context.WithTimeout(context.Background(), changedWithin)
	defer cancel()
	if err := p.guards.Changed(ctx, service); err != nil {
		p.Log.Debug("readiness was not told of a change; it looks later", "service", service, "error", err)
	}
}

// changedWithin bounds the telling of a change.
const changedWithin = 5 * time.Second

// ping calls the site file's address every minute while the engine answers: where
// that ceases, somebody outside tells people that nobody watches any more.
func (p *program) ping(ctx context.Context) {
	if p.Site.Ping == "" {
		return
	}
	client := &http.Client{Timeout: pingWithin}
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for well := true; ; {
		err := p.pingOnce(ctx, client)
		if err != nil && well && ctx.Err() == nil {
			p.Log.Warn("the outbound ping fails; it is tried again every minute", "error", err)
		}
		well = err == nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *program) pingOnce(ctx context.Context, to *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, pingWithin)
	defer cancel()
	if _, err := p.engine.client.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return fmt.Errorf("the engine does not answer, so nothing is sent: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Site.Ping, nil)
	if err != nil {
		return err
	}
	resp, err := to.Do(r)
	if err != nil {
		return errors.New("the address of ping: in the site file was not reached") // it may hold a token
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the address of ping: in the site file answers %s", resp.Status)
	}
	return nil
}

// actives tells probers where services run.
type actives struct{ *program }

var _ heartbeat.Actives = actives{}

// Active asks a service's guard.
func (a actives) Active(ctx context.Context, service string) (heartbeat.Active, error) {
	target, recovering, err := siteGuards(a).Active(ctx, service)
	return heartbeat.Active{Target: target, Recovering: recovering}, err
}

// callers asks guards for recoveries, for the heartbeat.
type callers struct{ *program }

var _ heartbeat.Guards = callers{}

// Recover asks once: the same ID is answered again.
func (c callers) Recover(ctx context.Context, ask heartbeat.Ask) (heartbeat.Answer, error) {
	answer, err := c.callFor(ctx, ask.Service, ask.ID, workflows.RecoverUpdate{By: "the heartbeat", Trigger: workflows.TriggerHeartbeat, Reason: ask.Reason, Since: ask.Since})
	return heartbeat.Answer{Started: answer.Started, Reason: answer.Reason}, err
}

// callFor asks a guard for a recovery. What the guard refuses at once, because
// one runs or the service is paused, is an answer too.
func (p *program) callFor(ctx context.Context, service, id string, u workflows.RecoverUpdate) (answer workflows.RecoverAnswer, err error) {
	err = p.guards.Order(ctx, triggers.Order{Service: service, Update: workflows.RecoverUpdateName, Key: id, Input: u}, &answer)
	if errors.Is(err, triggers.ErrRefused) {
		return workflows.RecoverAnswer{Reason: err.Error()}, nil
	}
	return answer, err
}

// siteGuards is the watchdogs' way to the guards.
type siteGuards struct{ *program }

var _ activities.SiteGuards = siteGuards{}

// Active asks a service's guard where it runs.
func (g siteGuards) Active(ctx context.Context, service string) (runbooks.Target, bool, error) {
	r, ok := g.library.Load().Lookup(service)
	if !ok {
		return runbooks.Target{}, false, fmt.Errorf("service %s has no runbook", service)
	}
	state, err := g.guards.State(ctx, service)
	if err != nil {
		return runbooks.Target{}, false, err
	}
	target, ok := state.Target(r)
	if !ok {
		return target, false, fmt.Errorf("%s runs on %s, which its runbook no longer has", service, state.Active)
	}
	return target, state.Running != nil && state.Running.Mode != workflows.ModeDrill, nil
}

// Recover asks a guard once: the same ID is answered again.
func (g siteGuards) Recover(ctx context.Context, in activities.AskForRecoveryInput) (activities.AskForRecoveryResult, error) {
	answer, err := g.callFor(ctx, in.Service, in.ID, workflows.RecoverUpdate{By: "the watchdog", Trigger: workflows.TriggerWatchdog, Reason: in.Reason, Since: in.Since})
	return activities.AskForRecoveryResult{Started: answer.Started, Reason: answer.Reason}, err
}

func (p *program) watchingDeps() activities.WatchingDeps {
	deps := activities.WatchingDeps{Library: p.library.Load, Diagnoser: p.acts, Prober: p.deps.Prober, Guards: siteGuards{p}}
	if p.signs != nil {
		deps.Signs = p.signs
	}
	return deps
}

// siteWatchdogs hands over what was heard of sites, and starts their watchdogs
// where none run.
type siteWatchdogs struct{ *program }

var _ watchdog.Engine = siteWatchdogs{}

// Alive hands over a sign of life.
func (w siteWatchdogs) Alive(ctx context.Context, site string, sign workflows.SignOfLife) error {
	return w.tell(ctx, site, workflows.SignSignalName, sign)
}

// Silent hands over that a site was not heard of.
func (w siteWatchdogs) Silent(ctx context.Context, site string, s workflows.SilenceSignal) error {
	return w.tell(ctx, site, workflows.SilenceSignalName, s)
}

func (w siteWatchdogs) tell(ctx context.Context, site, signal string, what any) error {
	id := workflows.WatchdogID(site)
	_, err := w.engine.client.SignalWithStartWorkflow(ctx, id, signal, what, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.TaskQueue, WorkflowTaskTimeout: workflows.TaskTimeout, StaticSummary: "watches over site " + site,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, workflows.Watchdog, workflows.WatchdogInput{Site: site})
	return err
}
