package heartbeat

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// findWithin bounds the question where a service runs, balancerWithin that for a load balancer's opinion, and
	// askWithin the request for a recovery.
	findWithin     = 5 * time.Second
	balancerWithin = 500 * time.Millisecond
	askWithin      = 15 * time.Second
	// findEvery is how often it is asked where a service runs, findShare how long all of them together take at least:
	// ten questions a second are nothing to the engine, and thousands would be.
	findEvery = time.Minute
	findShare = 100 * time.Millisecond
	// blindFor is how long nothing may answer before people are told.
	blindFor = 30 * time.Second
)

// suspicion is what is known of a service that seems to have failed.
type suspicion struct {
	target  runbooks.Target
	health  runbooks.Health
	runbook runbooks.Runbook
	since   time.Time
	failed  int
	last    probe.Result
	id      string
}

// inquire finds out, beside the probing, whether to ask for a recovery. The
// caller holds the lock.
func (h *Heartbeat) inquire(ctx context.Context, w *watched, now time.Time) {
	if h.blind(ctx, w, now) {
		return
	}
	select {
	case h.asking <- struct{}{}:
	default:
		w.quiet = now.Add(crowdedFor) // the next failed probe comes again
		return
	}
	w.inquiring = true
	s := suspicion{
		target: w.active.Target, health: w.health, runbook: w.runbook, since: w.since, failed: w.failed, last: w.last,
		id: fmt.Sprintf("heartbeat/%s/%d/%d", w.service, w.since.UnixNano(), w.decisions),
	}
	h.running.Go(func() {
		defer func() { <-h.asking }()
		h.consider(ctx, w, s)
		h.mu.Lock()
		defer h.mu.Unlock()
		w.inquiring = false
	})
}

// blind reports whether it is Understudy's own network that fails: nothing comes
// back from any other host either. Others are asked at once, to be sure.
func (h *Heartbeat) blind(ctx context.Context, w *watched, now time.Time) bool {
	host := w.host(w.active.Target.URL)
	if w.last.Finding != runbooks.Unreachable || h.hosts < enough || h.view.reaches(host, w.since) {
		return false
	}
	w.quiet = now.Add(w.health.Timeout.D() + lateAfter)
	h.metrics.held.WithLabelValues("own view").Inc()
	asked := 0
	for _, other := range h.services { // in no order, so others each time
		if asked < enough && !other.recovering && other.flying == 0 && other.host(other.active.Target.URL) != host {
			h.schedule.move(other, now)
			asked++
		}
	}
	if h.view.since.IsZero() {
		h.view.since = now
	}
	if w.held == "" {
		w.held = "nothing else answers either"
	}
	if now.Sub(h.view.since) >= blindFor && h.view.told.IsZero() {
		h.view.told = now
		text := fmt.Sprintf("no service answers its heartbeat since %s, on none of %d hosts: it may be Understudy's own network. Nothing is done by the heartbeat; look at it",
			h.view.since.UTC().Format("15:04:05 UTC"), h.hosts)
		h.Log.Error(text)
		h.running.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, askWithin)
			defer cancel()
			if err := h.Pager.Page(ctx, w.service, text); err != nil {
				h.Log.Error("people could not be told", "error", err)
			}
		})
	}
	return true
}

// consider asks those who may know better, and then for a recovery.
func (h *Heartbeat) consider(ctx context.Context, w *watched, s suspicion) {
	if why, busy := h.busy(ctx, s); busy {
		h.metrics.held.WithLabelValues("busy").Inc()
		h.settle(w, func(now time.Time) {
			if w.held == "" {
				h.Log.Info("a heartbeat fails and is held", "service", w.service, "why", why)
			}
			w.held, w.quiet = why, now.Add(busyAgain)
		})
		return
	}
	active, err := h.active(ctx, w.service)
	if err != nil {
		h.failed(w, "it is not known where a service runs whose heartbeat fails", err)
		return
	}
	if active.Recovering || active.Target.URL != s.target.URL {
		h.settle(w, func(time.Time) { w.follow(active) })
		return
	}
	asking, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	reason := fmt.Sprintf("%d heartbeats in a row failed at %s; the last: %s", s.failed, s.target.Name, s.last.Finding)
	if s.last.Detail != "" {
		reason += " (" + s.last.Detail + ")"
	}
	answer, err := h.Guards.Recover(asking, Ask{Service: w.service, ID: s.id, Since: s.since, Reason: reason})
	if err != nil {
		h.failed(w, "a recovery could not be asked for", err)
		return
	}
	h.settle(w, func(now time.Time) {
		w.decided(now)
		result := "declined"
		if answer.Started {
			result, w.recovering = "started", true
			w.calm()
			h.schedule.move(w, now.Add(recoveringEvery))
		}
		h.metrics.asks.WithLabelValues(result).Inc()
		h.Log.Warn("a heartbeat has failed", "service", w.service, "what", reason, "since", s.since, "recovery", result, "why", answer.Reason)
	})
}

// busy reports whether the silence may be an inference that holds the health
// check up, as the load balancer sees it.
func (h *Heartbeat) busy(ctx context.Context, s suspicion) (string, bool) {
	if s.last.Finding != runbooks.Silent || s.health.Busy == 0 {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, balancerWithin)
	defer cancel()
	seen, err := h.Balancers.AskBalancer(ctx, activities.DiagnoseInput{
		Service: s.runbook.Service, Active: s.target, Health: s.health, Traffic: s.runbook.TrafficOf(s.target.Name),
	})
	if err != nil {
		return "", false // the recovery makes its own diagnosis
	}
	verdict, why := runbooks.Judge(runbooks.Evidence{
		Own: s.last.Observation(runbooks.ByProbe), Others: seen.Evidence.Others, InFlight: seen.Evidence.InFlight,
	}, s.health, time.Since(s.since))
	return why, verdict == runbooks.Busy
}

// find asks again where a service runs.
func (h *Heartbeat) find(ctx context.Context, w *watched) {
	active, err := h.active(ctx, w.service)
	if err != nil {
		return // what was known last holds; before a recovery is asked for, it is asked again
	}
	h.settle(w, func(now time.Time) {
		was := w.recovering
		w.follow(active)
		if was && !w.recovering {
			h.schedule.move(w, now)
		}
	})
}

func (h *Heartbeat) active(ctx context.Context, service string) (Active, error) {
	ctx, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	return h.Actives.Active(ctx, service)
}

// failed lets an inquiry that came to nothing be made again soon.
func (h *Heartbeat) failed(w *watched, what string, err error) {
	h.metrics.asks.WithLabelValues("failed").Inc()
	h.settle(w, func(now time.Time) {
		w.wait(now, retryAsk, retryMost)
		h.Log.Error(what, "service", w.service, "error", err, "again_in", w.pause)
	})
}

// settle changes a service that is still watched.
func (h *Heartbeat) settle(w *watched, change func(now time.Time)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.services[w.service] == w {
		change(time.Now())
		h.rouse()
	}
}
