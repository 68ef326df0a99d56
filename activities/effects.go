package activities

import (
	"fmt"
	"sync"
	"time"
)

// Modes of a recovery.
const (
	ModeLive  = "live"
	ModeDrill = "drill"
	// ModeFailback is the planned way home to the primary.
	ModeFailback = "failback"
)

// Effect identifies one act upon the world and says until when it may happen.
// It is frozen in the workflow's history, so a retry carries the same.
type Effect struct {
	Service string `json:"service"`
	Epoch   int64  `json:"epoch"`
	// Key is unique to the logical act: a repeated call with the same key is the same act.
	Key string `json:"key"`
	// NotAfter is the deadline: a process that was stopped and wakes later does nothing.
	NotAfter time.Time `json:"not_after"`
}

// effects lets one act at a time touch a service, and none of an older epoch
// than one that this process has seen.
type effects struct {
	mu      sync.Mutex
	newest  map[string]int64
	holders map[string]*sync.Mutex
}

func newEffects() *effects {
	return &effects{newest: map[string]int64{}, holders: map[string]*sync.Mutex{}}
}

// admit waits for its turn and checks epoch and deadline; the caller acts and
// then calls done. Call still before each single write: time passes in between.
func (e *effects) admit(effect Effect) (done func(), err error) {
	e.mu.Lock()
	holder := e.holders[effect.Service]
	if holder == nil {
		holder = &sync.Mutex{}
		e.holders[effect.Service] = holder
	}
	e.mu.Unlock()

	holder.Lock()
	if err := e.still(effect); err != nil {
		holder.Unlock()
		return nil, err
	}
	return holder.Unlock, nil
}

// still checks epoch and deadline once more.
func (e *effects) still(effect Effect) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if newest := e.newest[effect.Service]; newest > effect.Epoch {
		return fmt.Errorf("epoch %d of %s: %w (epoch %d)", effect.Epoch, effect.Service, ErrSuperseded, newest)
	}
	e.newest[effect.Service] = effect.Epoch
	if !effect.NotAfter.IsZero() && time.Now().After(effect.NotAfter) {
		return fmt.Errorf("%w: %s of %s was due by %s", errLate, effect.Key, effect.Service, effect.NotAfter.UTC().Format(time.RFC3339Nano))
	}
	return nil
}
