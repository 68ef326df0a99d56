package jobs

import (
	"context"
	"sync"
)

// gate lets requests through to the service. After a resume it begins with one at
// a time and lets one more through for each that succeeds, up to its most.
// Somebody who goes alone waits until all others are out, and nobody else gets in.
type gate struct {
	mu      sync.Mutex
	most    int
	limit   int
	inside  int
	alone   bool // somebody is inside alone
	loners  int  // who wait to go alone
	changed chan struct{}
}

func newGate(most int, slow bool) *gate {
	g := &gate{most: most, limit: most, changed: make(chan struct{})}
	if slow {
		g.limit = 1
	}
	return g
}

// enter waits for a place, or for the end of the context.
func (g *gate) enter(ctx context.Context, alone bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if alone {
		g.loners++
		defer func() { g.loners-- }()
	}
	for {
		if ctx.Err() != nil {
			if alone {
				g.wake() // others may have waited for this one
			}
			return context.Cause(ctx)
		}
		if g.try(alone) {
			return nil
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		g.mu.Lock()
	}
}

// try takes a place if one is free. The caller holds the lock.
func (g *gate) try(alone bool) bool {
	free := g.inside < g.limit && !g.alone && g.loners == 0
	if alone {
		free = g.inside == 0
	}
	if free {
		g.inside++
		g.alone = alone
	}
	return free
}

// leave gives the place back.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.alone = false
	g.wake()
}

// well lets one more through from now on.
func (g *gate) well() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit < g.most {
		g.limit++
		g.wake()
	}
}

// ill begins slowly again.
func (g *gate) ill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = 1
}

// within is how many are inside.
func (g *gate) within() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside
}

// wake has all who wait look again. The caller holds the lock.
func (g *gate) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}
