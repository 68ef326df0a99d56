package manifest

import (
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/volumes"
)

// tellEvery is how often progress is told at most; a heartbeat or a progress bar needs no more.
const tellEvery = 200 * time.Millisecond

// Meter counts bytes from many goroutines and tells the sum now and then, from
// one goroutine at a time.
type Meter struct {
	Total int64
	// Tell may be nil.
	Tell func(volumes.Progress)

	mu   sync.Mutex
	done int64
	told time.Time
}

// Add counts n bytes of a file; n may be negative, where work has to be done again.
func (m *Meter) Add(n int64, file string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
	if m.Tell == nil || (m.done < m.Total && time.Since(m.told) < tellEvery) {
		return
	}
	m.told = time.Now()
	m.Tell(volumes.Progress{Done: m.done, Total: m.Total, File: file})
}
