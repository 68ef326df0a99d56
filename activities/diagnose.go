package activities

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// DiagnoseInput asks for evidence about the active.
type DiagnoseInput struct {
	Service string           `json:"service"`
	Active  runbooks.Target  `json:"active"`
	Health  runbooks.Health  `json:"health"`
	Traffic runbooks.Traffic `json:"traffic"`
	// Once: somebody of this host has just found it mute, in a whole look; one more try tells as much as two.
	Once bool `json:"once,omitempty"`
}

// Diagnosis is the evidence of one moment.
type Diagnosis struct {
	Timing
	Evidence runbooks.Evidence `json:"evidence"`
	// View is the load balancer as it was found; nil where it could not be read.
	View *traffic.View `json:"view,omitempty"`
}

// Diagnose looks at the active from every failure domain at once: Understudy's
// own probe, the load balancer, the witnesses; and, where the own probe got no
// answer, at other services, to know whether its own view can be trusted. It
// only looks, for at most twice the health check's timeout.
func (a *Activities) Diagnose(ctx context.Context, in DiagnoseInput) (Diagnosis, error) {
	d := Diagnosis{Timing: begin()}
	var wg sync.WaitGroup
	var balancer runbooks.Observation
	witnessed := make([]runbooks.Observation, len(a.Witnesses))
	request := probe.Request{URL: in.Active.URL, Health: in.Health}

	own := request
	own.Once = in.Once
	wg.Go(func() { d.Evidence.Own = a.Prober.Probe(ctx, own).Observation(runbooks.ByProbe) })
	wg.Go(func() { d.View, balancer, d.Evidence.InFlight = a.askBalancer(ctx, in) })
	for i, w := range a.Witnesses {
		wg.Go(func() { witnessed[i] = w.Prober.Probe(ctx, request).Observation(runbooks.ByWitness + ":" + w.Name) })
	}
	wg.Wait()
	d.Evidence.Others = append(d.Evidence.Others, witnessed...)
	if balancer.Domain != "" {
		d.Evidence.Others = append(d.Evidence.Others, balancer)
	}
	switch d.Evidence.Own.Finding {
	case runbooks.Unreachable, runbooks.Silent:
		d.Evidence.OwnViewFails = a.ownView(ctx, in, nobodyReached(witnessed, balancer))
	}
	d.Timing = d.Timing.end()
	return d, nil
}

// askBalancer reads the load balancer and words its opinion of the active. Where
// it makes no checks of its own, its front door speaks for it, but only if it
// fails: an answer there may come from another server.
func (a *Activities) askBalancer(ctx context.Context, in DiagnoseInput) (*traffic.View, runbooks.Observation, *runbooks.InFlight) {
	o := runbooks.Observation{Domain: runbooks.ByBalancer, At: time.Now()}
	blind := func(why string) (*traffic.View, runbooks.Observation, *runbooks.InFlight) {
		o.Finding, o.Detail = runbooks.Blind, why
		return nil, o, nil
	}
	front := make(chan probe.Result, 1)
	if checks := in.Traffic.Kind == "haproxy"; !checks {
		go func() {
			front <- a.Prober.Probe(ctx, probe.Request{URL: in.Traffic.Front, Health: in.Health, Once: in.Once})
		}()
	}
	balancer, err := a.Balancers(in.Traffic)
	if err != nil {
		return blind(err.Error())
	}
	view, err := balancer.View(ctx)
	if err != nil && len(view.Servers) == 0 {
		return blind(err.Error())
	}
	s, ok := view.Server(in.Active.Server)
	switch {
	case !ok:
		return blind("it has no server " + in.Active.Server)
	case s.Up != nil && *s.Up && !s.Failing:
		o.Finding, o.Detail = runbooks.Answers, s.Check
	case s.Up != nil: // down, or still counted as up while its latest check failed
		o.Finding, o.Detail = runbooks.Down, s.Check
	case in.Traffic.Kind != "haproxy" && s.State == traffic.Ready:
		o = opinion(<-front)
	default:
		o = runbooks.Observation{} // in maintenance it is not checked
	}
	return &view, o, s.Requests
}

// opinion is what a failing front door says about the server behind it.
func opinion(front probe.Result) runbooks.Observation {
	switch front.Finding {
	case runbooks.Errors, runbooks.Silent, runbooks.Refuses:
		return runbooks.Observation{Domain: runbooks.ByBalancer, Finding: runbooks.Down, Detail: "front door: " + front.Detail, At: front.At}
	default:
		return runbooks.Observation{}
	}
}

// ownView says why Understudy's own look cannot be trusted: nothing else that
// should answer does. Three other services are asked, those of other sites
// first: what stands at the same site may be gone for the same reason. The load
// balancer's front door is not counted, because it may fail with the service. Where
// fewer services are known, they prove it only if we are alone: no witness and not
// even the load balancer could be asked.
func (a *Activities) ownView(ctx context.Context, in DiagnoseInput, alone bool) string {
	const sample = 3
	lib := a.Library()
	var others, near []probe.Request
	for _, service := range lib.Services() {
		r, _ := lib.Lookup(service)
		switch request := (probe.Request{URL: r.Primary.URL, Health: r.Health}); {
		case service == in.Service || r.Primary.URL == in.Active.URL:
		case r.Primary.Site == in.Active.Site:
			near = append(near, request)
		default:
			others = append(others, request)
		}
	}
	others = append(others, near...)
	others = others[:min(len(others), sample)]
	if len(others) < 2 && !alone {
		// One other service that is mute proves nothing: both may hang for one cause.
		return ""
	}
	results := make([]probe.Result, len(others))
	var wg sync.WaitGroup
	for i, other := range others {
		wg.Go(func() { results[i] = a.Prober.Probe(ctx, other) })
	}
	wg.Wait()
	var failed []string
	for i, r := range results {
		if r.Finding == runbooks.Unreachable || r.Finding == runbooks.Blind {
			failed = append(failed, fmt.Sprintf("%s %s", others[i].URL, r.Finding))
		}
	}
	if len(failed) < len(others) {
		return ""
	}
	if len(others) < 2 {
		failed = append(failed, "no witness and no load balancer could be asked")
	}
	return "nothing else answers either: " + strings.Join(failed, ", ")
}

// nobodyReached reports whether there are witnesses, and neither one of them nor
// the load balancer could be asked. Witnesses stand elsewhere: that all of them go
// together with the service is less likely than that we are cut off.
func nobodyReached(witnessed []runbooks.Observation, balancer runbooks.Observation) bool {
	for _, o := range witnessed {
		if o.Finding != runbooks.Blind {
			return false
		}
	}
	return len(witnessed) > 0 && balancer.Finding == runbooks.Blind
}
