package triggers

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// look looks until nobody listens any more.
func (f *feed) look() {
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for {
		topics, ok := f.topics()
		if !ok {
			return
		}
		f.lookOnce(topics)
		f.tell()
		select {
		case <-tick.C:
		case <-f.done:
			return
		}
	}
}

// topics are what is listened to; false ends the loop.
func (f *feed) topics() ([]string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listening == 0 {
		f.awake = false
		return nil, false
	}
	for name, s := range f.states {
		id, full := strings.CutPrefix(name, topicReport)
		if (full && f.listeners[id] == 0 || !full && s.final) && time.Since(s.used) > forgetAfter {
			delete(f.states, name)
		}
	}
	return slices.Sorted(maps.Keys(f.listeners)), true
}

// tell wakes everybody who listens.
func (f *feed) tell() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.rounds)
	f.rounds = make(chan struct{})
}

// lookOnce asks whatever is due. A sweep over thousands of services takes its
// time, and those who follow one recovery do not wait for it.
func (f *feed) lookOnce(topics []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*askIn)
	defer cancel()
	if topics[0] == everything {
		topics = topics[1:]
		f.sweep()
	}
	eachAtOnce(topics, func(_ int, id string) {
		f.mu.Lock()
		s := f.states[topicReport+id]
		f.mu.Unlock()
		if s != nil && s.final {
			return
		}
		if detail, err := f.api.detail(ctx, id); err == nil {
			f.note(detail)
		}
	})
}

// sweep looks at all services, unless that is going on.
func (f *feed) sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sweeping {
		return
	}
	f.sweeping = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), sweepIn)
		defer cancel()
		f.lookAtAll(ctx)
		f.mu.Lock()
		f.sweeping = false
		f.mu.Unlock()
		f.tell()
	}()
}

// lookAtAll asks the guards, and the recoveries that run or have just ended.
func (f *feed) lookAtAll(ctx context.Context) {
	services := len(f.api.Library().Services())
	if due(&f.guardsAt, askGuards, services, guardRate) {
		for id := range f.running {
			f.running[id] = false
		}
		for _, s := range f.api.everyService(ctx) {
			f.set(topicService+s.Service, s, false)
			if s.Running != "" {
				f.running[s.Running] = true
			}
		}
	}
	if !due(&f.recoveriesAt, pulse, len(f.running), recoveryRate) {
		return
	}
	var mu sync.Mutex
	var ended []string
	eachAtOnce(slices.Sorted(maps.Keys(f.running)), func(_ int, id string) {
		detail, err := f.api.detail(ctx, id)
		over := !detail.Report.Ended.IsZero()
		if err == nil {
			f.set(topicRecovery+id, Listed(detail.Report), over)
		}
		if over || err != nil && !f.running[id] { // ended, or gone without a report
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, id)
		}
	})
	for _, id := range ended {
		delete(f.running, id)
	}
}

// due reports whether it is time to ask so many again, and notes it.
func due(last *time.Time, every time.Duration, count, rate int) bool {
	every = max(every, time.Duration(count)*time.Second/time.Duration(rate))
	if now := time.Now(); now.Sub(*last) >= every-pulse/10 {
		*last = now
		return true
	}
	return false
}
