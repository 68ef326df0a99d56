package worker

import (
	"context"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// warmFor bounds the fetching at the start, for each service: a source that hangs must not hold the start up.
	warmFor = 5 * time.Second
	// mindEvery is how often expected versions and settings are read again, so that the last known ones are never
	// much older than the failure of their source.
	mindEvery = time.Minute
	// warmParallel services are fetched for at once.
	warmParallel = 8
)

// warm fetches what recoveries need while its sources still live: the audio of
// canaries, and what gates compare standbys with. A disaster that takes the
// config center along must not find Understudy without a last known value.
func (p *program) warm(ctx context.Context) {
	p.eachService(func(service string, r runbooks.Runbook) {
		ctx, cancel := context.WithTimeout(ctx, warmFor)
		defer cancel()
		if r.Canary != nil && r.Canary.Transcribe != nil {
			if _, err := p.deps.Files.Read(ctx, r.Canary.Transcribe.Audio); err != nil {
				p.Log.Warn("the canary's audio cannot be read; without it nothing can be proven", "service", service, "error", err)
			}
		}
		for _, source := range compared(r) {
			reading, err := p.deps.Settings.Read(ctx, source)
			switch {
			case err != nil:
				p.Log.Warn("what standbys are compared with cannot be read; they would be refused", "service", service, "error", err)
			case reading.LastKnown:
				p.Log.Warn("what standbys are compared with is only the last known value", "service", service, "since", reading.At, "error", reading.Problem)
			}
		}
	})
}

// keepInMind reads what gates compare standbys with again and again, until the
// context ends. What cannot be read is told by the gates, with its age.
func (p *program) keepInMind(ctx context.Context) {
	tick := time.NewTicker(mindEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.eachService(func(_ string, r runbooks.Runbook) {
			for _, source := range compared(r) {
				_, _ = p.deps.Settings.Read(ctx, source)
			}
		})
	}
}

// compared are the references whose values gates hold against a standby's.
func compared(r runbooks.Runbook) []runbooks.Source {
	sources := r.Settings
	if r.Version != nil {
		sources = append([]runbooks.Source{r.Version.Expected}, sources...)
	}
	return sources
}

// eachService does something for every service, some at once.
func (p *program) eachService(do func(service string, r runbooks.Runbook)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, warmParallel)
	library := p.library.Load()
	for _, service := range library.Services() {
		r, ok := library.Lookup(service)
		if !ok {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(service, r)
		})
	}
	wg.Wait()
}
