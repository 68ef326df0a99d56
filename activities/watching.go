package activities

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// ByWatchdog is the domain of a site's silence: its monitoring has ended. It
// counts only where our own view of the world is sound.
const ByWatchdog = "watchdog"

const (
	// sample of other places is asked, to know whether our own view can be trusted.
	sample = 5
	// lookAtOnce services of a silent site, and askGuardWithin for each of their guards.
	lookAtOnce     = 16
	askGuardWithin = 10 * time.Second
)

// Signs knows what this process has heard of sites.
type Signs interface {
	// HeardOf tells when the last sign of life of a site came, zero where none did, and since when this process listens
	// for them. known is false for a site that has no watchdog any more.
	HeardOf(site string) (last, listening time.Time, known bool)
}

// SiteGuards is the way to the guards of a site's services.
type SiteGuards interface {
	// Active tells where a service runs now, and whether a recovery of it runs.
	Active(ctx context.Context, service string) (target runbooks.Target, recovering bool, err error)
	// Recover asks a guard for a recovery. It is idempotent for the input's ID.
	Recover(ctx context.Context, in AskForRecoveryInput) (AskForRecoveryResult, error)
}

// Diagnoser gathers evidence about one active, as Activities does.
type Diagnoser interface {
	Diagnose(ctx context.Context, in DiagnoseInput) (Diagnosis, error)
}

// WatchingDeps are what the watchdogs' activities work with.
type WatchingDeps struct {
	Library   func() *runbooks.Library
	Diagnoser Diagnoser
	Prober    probe.Prober
	Guards    SiteGuards
	// Signs is nil in a process that takes no alerts.
	Signs Signs
}

// Watching holds the activities of watchdogs. Workflows refer to its methods
// through a nil pointer.
type Watching struct{ WatchingDeps }

// NewWatching makes the watchdogs' activities.
func NewWatching(deps WatchingDeps) *Watching { return &Watching{deps} }

// AskBalancer asks only the load balancer about the active: its opinion, and
// which requests are in flight there. It is the part of Diagnose that answers in
// milliseconds, and only looks.
func (a *Activities) AskBalancer(ctx context.Context, in DiagnoseInput) (Diagnosis, error) {
	d := Diagnosis{Timing: begin()}
	view, opinion, inFlight := a.askBalancer(ctx, in)
	d.View, d.Evidence.InFlight = view, inFlight
	if opinion.Domain != "" {
		d.Evidence.Others = append(d.Evidence.Others, opinion)
	}
	d.Timing = d.Timing.end()
	return d, nil
}

// HeardOfInput names a site.
type HeardOfInput struct {
	Site string `json:"site"`
}

// HeardOfResult is what the process that was asked knows of it.
type HeardOfResult struct {
	// Deaf says that this process takes no alerts, so that its silence means nothing.
	Deaf bool `json:"deaf,omitempty"`
	// Gone says that the site has no watchdog any more.
	Gone      bool      `json:"gone,omitempty"`
	Last      time.Time `json:"last,omitzero"`
	Listening time.Time `json:"listening,omitzero"`
}

// HeardOf tells what this process has heard of a site. After a restart it has
// listened for a moment only, and a watchdog must not take that for silence. It
// only looks.
func (w *Watching) HeardOf(_ context.Context, in HeardOfInput) (HeardOfResult, error) {
	if w.Signs == nil {
		return HeardOfResult{Deaf: true}, nil
	}
	last, listening, known := w.Signs.HeardOf(in.Site)
	return HeardOfResult{Gone: !known, Last: last, Listening: listening}, nil
}

// LookAtSiteInput names a silent site.
type LookAtSiteInput struct {
	Site string `json:"site"`
	// Since is its last sign of life, or when it was begun to listen for one.
	Since time.Time `json:"since"`
	// Never says that none ever came: then the silence means nothing about the services.
	Never bool `json:"never,omitempty"`
}

// SiteLook is what was found at a silent site.
type SiteLook struct {
	Timing
	// Blind says why our own view cannot be trusted, and nothing may be done; empty where it can.
	Blind    string        `json:"blind,omitempty"`
	Services []SiteService `json:"services,omitempty"`
	// Notify are the places where people of these services read; where there are none, those of all others.
	Notify []runbooks.Notify `json:"notify,omitempty"`
}

// SiteService is one service that runs at the site.
type SiteService struct {
	Service string           `json:"service"`
	Active  string           `json:"active"`
	Verdict runbooks.Verdict `json:"verdict"`
	Reason  string           `json:"reason"`
	// Recovering says that a recovery runs already.
	Recovering bool `json:"recovering,omitempty"`
}

// LookAtSite looks at every service that runs at a silent site, from here, from
// the witnesses and through their load balancers, and judges each. The silence
// counts as an observer of its own, but only where something elsewhere answers:
// otherwise it may be us who is cut off, and every verdict is Unknown. It only looks.
func (w *Watching) LookAtSite(ctx context.Context, in LookAtSiteInput) (SiteLook, error) {
	look := SiteLook{Timing: begin()}
	defer heartbeat(ctx)()
	here, elsewhere := w.standing(ctx, in.Site)
	evidence := make([]runbooks.Evidence, len(here))
	var wg sync.WaitGroup
	slots := make(chan struct{}, lookAtOnce)
	for i, s := range here {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			d, err := w.Diagnoser.Diagnose(ctx, DiagnoseInput{Service: s.runbook.Service, Active: s.target, Health: s.runbook.Health, Traffic: s.runbook.TrafficOf(s.target.Name)})
			if evidence[i] = d.Evidence; err != nil {
				evidence[i].Own = runbooks.Observation{Domain: runbooks.ByProbe, Finding: runbooks.Blind, Detail: err.Error()}
			}
		})
	}
	reached, others := w.reaches(ctx, elsewhere)
	wg.Wait()
	sound := reached
	for _, e := range evidence {
		for _, o := range e.Others {
			if strings.HasPrefix(o.Domain, runbooks.ByWitness+":") {
				others++
				sound = sound || o.Finding != runbooks.Blind // a witness has answered us
			}
		}
	}
	if !sound && others > 0 {
		look.Blind = "no other service and no witness answers either: it may be Understudy that is cut off"
	}
	for i, s := range here {
		e := evidence[i]
		e.OwnViewFails = look.Blind // the sample of Diagnose may stand at this very site
		if sound && !in.Never {
			e.Others = append(e.Others, runbooks.Observation{
				Domain: ByWatchdog, Finding: runbooks.Down, Detail: "no sign of life of " + in.Site + " since " + in.Since.UTC().Format("15:04:05 UTC"), At: in.Since,
			})
		}
		found := SiteService{Service: s.runbook.Service, Active: s.target.Name, Recovering: s.recovering}
		found.Verdict, found.Reason = runbooks.Judge(e, s.runbook.Health, time.Since(in.Since))
		found.Reason = probe.Printable(found.Reason, probe.QuoteLimit)
		look.Services = append(look.Services, found)
	}
	readers := here
	if len(here) == 0 {
		readers = elsewhere // somebody must know that a site with nothing in it is watched, and silent
	}
	for _, s := range readers {
		for _, to := range s.runbook.Notify {
			if !slices.Contains(look.Notify, to) {
				look.Notify = append(look.Notify, to)
			}
		}
	}
	look.Timing = look.Timing.end()
	return look, ctx.Err()
}

// standingService is a service and where it stands.
type standingService struct {
	runbook    runbooks.Runbook
	target     runbooks.Target
	recovering bool
}

// standing sorts the services by whether they run at a site now. Where no guard
// answers, a service is taken to be at home.
func (w *Watching) standing(ctx context.Context, site string) (here, elsewhere []standingService) {
	library := w.Library()
	all := make([]standingService, len(library.Services()))
	var wg sync.WaitGroup
	slots := make(chan struct{}, lookAtOnce)
	for i, service := range library.Services() {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			asking, cancel := context.WithTimeout(ctx, LookLimit)
			defer cancel()
			s, err := standingService{}, error(nil)
			s.runbook, _ = library.Lookup(service)
			if s.target, s.recovering, err = w.Guards.Active(asking, service); err != nil {
				s.target, _ = s.runbook.TargetNamed(runbooks.PrimaryName)
			}
			all[i] = s
		})
	}
	wg.Wait()
	for _, s := range all {
		if s.target.Site == site {
			here = append(here, s)
		} else {
			elsewhere = append(elsewhere, s)
		}
	}
	return here, elsewhere
}

// reaches asks a few services on other hosts whether anything comes back from
// there: a refusal is as good as an answer. It tells how many were asked.
func (w *Watching) reaches(ctx context.Context, elsewhere []standingService) (reached bool, asked int) {
	hosts := map[string]bool{}
	found := make(chan runbooks.Finding, sample)
	for _, s := range elsewhere {
		u, err := url.Parse(s.target.URL)
		if err != nil || hosts[u.Hostname()] || len(hosts) == sample {
			continue
		}
		hosts[u.Hostname()] = true
		go func() {
			found <- w.Prober.Probe(ctx, probe.Request{URL: s.target.URL, Health: s.runbook.Health}).Finding
		}()
	}
	for range hosts {
		if f := <-found; f != runbooks.Unreachable && f != runbooks.Blind {
			reached = true
		}
	}
	return reached, len(hosts)
}

// AskForRecoveryInput asks for a recovery of one service.
type AskForRecoveryInput struct {
	Service string `json:"service"`
	// ID makes the request one: with the same ID it is answered again, and not decided again.
	ID string `json:"id"`
	// Since is when the outage began, as far as is known.
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// AskForRecoveryResult is what the guard has decided.
type AskForRecoveryResult struct {
	Started bool   `json:"started"`
	Reason  string `json:"reason"`
}

// AskForRecoveriesInput asks for several at once.
type AskForRecoveriesInput struct {
	Asks []AskForRecoveryInput `json:"asks"`
}

// AskForRecoveries asks the guards of several services for recoveries, for a
// watchdog, and answers in the same order. A guard that does not answer keeps
// none of the others waiting; that is its result's reason. It is idempotent by
// the requests' IDs.
func (w *Watching) AskForRecoveries(ctx context.Context, in AskForRecoveriesInput) ([]AskForRecoveryResult, error) {
	defer heartbeat(ctx)()
	results := make([]AskForRecoveryResult, len(in.Asks))
	var wg sync.WaitGroup
	slots := make(chan struct{}, lookAtOnce)
	for i, ask := range in.Asks {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			asking, cancel := context.WithTimeout(ctx, askGuardWithin)
			defer cancel()
			var err error
			if results[i], err = w.Guards.Recover(asking, ask); err != nil {
				results[i] = AskForRecoveryResult{Reason: "its guard was not reached: " + probe.Printable(err.Error(), probe.QuoteLimit)}
			}
		})
	}
	wg.Wait()
	return results, classify(ctx.Err())
}
