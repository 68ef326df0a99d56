package slackin

import (
	"sync"
	"time"
)

const (
	// seenFor is longer than a signed request can be played again: the window reaches as far back as forward.
	seenFor = 2*window + time.Minute
	// maxSeen bounds what is remembered; people click less.
	maxSeen = 10_000
)

// seen remembers clicks, so that one that comes twice, or is played again,
// counts once. After a restart the recovery knows it by its id.
type seen struct {
	mu   sync.Mutex
	when map[string]time.Time
}

func newSeen() *seen { return &seen{when: map[string]time.Time{}} }

// first reports whether an id is new, and remembers it.
func (s *seen) first(id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.when[id]; ok && now.Sub(at) < seenFor {
		return false
	}
	if len(s.when) >= maxSeen {
		for id, at := range s.when {
			if now.Sub(at) >= seenFor {
				delete(s.when, id)
			}
		}
		if len(s.when) >= maxSeen {
			clear(s.when) // a flood: the recoveries' own memory must do
		}
	}
	s.when[id] = now
	return true
}

func (s *seen) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.when, id)
}
