package triggers

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// checkAfter is when it is seen to that a guard took what was acknowledged: it needs milliseconds.
	checkAfter = 5 * time.Second
	// checkFor is how long a guard that does not take its messages is looked at again.
	checkFor = 5 * time.Minute
	// pageAgain is how often people are told about the same stuck guard.
	pageAgain = time.Hour
)

// Pager tells people without the engine, for the day when the engine is what
// does not work.
type Pager interface {
	Page(ctx context.Context, service, text string) error
}

// handOver sees to it that guards take what was acknowledged on their behalf:
// an engine that holds an alert which nobody works on looks healthy.
type handOver struct {
	guards Guards
	pager  Pager
	log    *slog.Logger

	mu       sync.Mutex
	watching map[string]bool
	paged    map[string]time.Time
}

func newHandOver(guards Guards, pager Pager, log *slog.Logger) *handOver {
	return &handOver{guards: guards, pager: pager, log: log, watching: map[string]bool{}, paged: map[string]time.Time{}}
}

// watch begins to look after one hand-over; one look serves all that come meanwhile.
func (h *handOver) watch(service string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watching[service] {
		return
	}
	h.watching[service] = true
	time.AfterFunc(checkAfter, func() { h.check(service, time.Now().Add(checkFor)) })
}

func (h *handOver) check(service string, until time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), handOverIn)
	defer cancel()
	why, err := h.guards.Stuck(ctx, service)
	if err != nil {
		why = "the engine does not say whether the guard works: " + err.Error()
	}
	if why != "" {
		h.page(ctx, service, "an acknowledged alert is not worked on: "+why)
		if time.Now().Before(until) {
			time.AfterFunc(checkAfter, func() { h.check(service, until) })
			return
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watching, service)
}

func (h *handOver) page(ctx context.Context, service, why string) {
	h.mu.Lock()
	recent := time.Since(h.paged[service]) < pageAgain
	if !recent {
		h.paged[service] = time.Now()
	}
	h.mu.Unlock()
	if recent {
		return
	}
	h.log.Error("people are told without the engine", "service", service, "reason", why)
	if err := h.pager.Page(ctx, service, why); err != nil {
		h.log.Error("people could not be told", "service", service, "error", err)
	}
}
