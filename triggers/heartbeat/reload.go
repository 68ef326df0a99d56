package heartbeat

import (
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// reload takes over the runbooks, where they have changed. The caller holds the lock.
func (h *Heartbeat) reload(now time.Time) {
	library := h.Library()
	if library == h.library {
		return
	}
	h.library = library
	wanted := map[string]runbooks.Runbook{}
	for _, service := range library.Services() {
		if r, ok := library.Lookup(service); ok && r.Heartbeat != nil && r.Heartbeat.Interval > 0 {
			wanted[service] = r
		}
	}
	for service, w := range h.services {
		if r, ok := wanted[service]; !ok {
			h.schedule.remove(w)
			delete(h.services, service)
		} else if !reflect.DeepEqual(r, w.runbook) {
			w.set(r)
			w.refresh = now // where it runs may have another address now
		}
		delete(wanted, service)
	}
	for service, r := range wanted {
		w := &watched{service: service}
		w.set(r)
		w.active.Target, _ = r.TargetNamed(runbooks.PrimaryName)
		h.services[service] = w
		// Spread from the beginning, so that thousands of services do not beat as one.
		w.next = now.Add(rand.N(w.interval))
		h.schedule.add(w)
	}
	h.hosts = len(hosts(h.services))
	for _, w := range h.services {
		if w.refresh.IsZero() {
			w.refresh = now.Add(rand.N(max(time.Duration(len(h.services))*findShare/2, w.interval))) // at first twice as often
		}
	}
	h.metrics.services.Set(float64(len(h.services)))
}

func hosts(services map[string]*watched) map[string]bool {
	all := map[string]bool{}
	for _, w := range services {
		all[w.host(w.active.Target.URL)] = true
	}
	return all
}

// refreshEvery is how often it is asked where one service runs.
func (h *Heartbeat) refreshEvery() time.Duration {
	every := max(findEvery, time.Duration(len(h.services))*findShare)
	return every - rand.N(every/jitter)
}
