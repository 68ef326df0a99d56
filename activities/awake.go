package activities

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
)

const (
	// tickEvery is how often this process makes sure that it runs.
	tickEvery = 100 * time.Millisecond
	// wakeGrace is how long after a stop attempts may still come out of queues that were filled before it.
	wakeGrace = 2 * time.Second
)

// wakefulness knows whether this process was stopped: by a signal, with its
// machine, or because the processor was not to be had.
type wakefulness struct {
	once sync.Once
	mu   sync.Mutex
	// last is when it was seen to run, woke when the latest stop ended, slept how long that was.
	last, woke time.Time
	slept      time.Duration
}

// awake is that of this process; New begins it.
var awake wakefulness

// fresh refuses an attempt that the engine may have given up before it was begun
// here. A process that was stopped finds such attempts when it wakes: they were
// delivered to it before or meanwhile, were missed, and somebody else has acted
// since. Clocks are not compared with anybody's: those of a cluster may differ. An
// attempt that is refused for nothing is simply made again.
func fresh(ctx context.Context) error {
	if !activity.IsActivity(ctx) {
		return nil
	}
	info := activity.GetInfo(ctx)
	if info.IsLocalActivity || info.HeartbeatTimeout == 0 {
		return nil
	}
	if slept := awake.stopped(time.Now()); slept >= info.HeartbeatTimeout {
		return fmt.Errorf("%w (%s)", errAsleep, slept.Round(time.Millisecond))
	}
	return nil
}

// stopped is for how long this process was stopped a moment ago; zero where it
// was not. Whoever asks first after a stop finds it out.
func (w *wakefulness) stopped(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.see(now)
	if now.Sub(w.woke) < wakeGrace {
		return w.slept
	}
	return 0
}

// watch begins to watch, once.
func (w *wakefulness) watch() { w.once.Do(func() { go w.tick() }) }

// see takes note that the process runs. The caller holds the lock.
func (w *wakefulness) see(now time.Time) {
	if !w.last.IsZero() {
		// The monotonic clock stands still while a machine is suspended, the wall clock goes on.
		gap := max(now.Sub(w.last), now.Round(0).Sub(w.last.Round(0)))
		if gap > 10*tickEvery {
			w.woke, w.slept = now, gap
		}
	}
	if w.last.IsZero() || now.After(w.last) {
		w.last = now
	}
}

func (w *wakefulness) tick() {
	for range time.Tick(tickEvery) {
		w.mu.Lock()
		w.see(time.Now())
		w.mu.Unlock()
	}
}
