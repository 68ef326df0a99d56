package jobs

import (
	"context"
	"fmt"
	"sync"
)

// confirmer asks a service for its revision after answers. One question confirms
// all answers that came before it was put.
type confirmer struct {
	ask func(context.Context) (string, error)

	mu   sync.Mutex
	next *confirmation // not put yet; answers may join
	busy bool
}

// confirmation is one question.
type confirmation struct {
	done     chan struct{}
	revision string
	err      error
}

func newConfirmer(ask func(context.Context) (string, error)) *confirmer { return &confirmer{ask: ask} }

// revision returns an error unless the service still has the expected revision.
func (c *confirmer) revision(ctx context.Context, job, expected string) error {
	if c.ask == nil {
		return nil
	}
	c.mu.Lock()
	if c.next == nil {
		c.next = &confirmation{done: make(chan struct{})}
	}
	mine := c.next
	if !c.busy {
		c.busy = true
		go c.work(context.WithoutCancel(ctx))
	}
	c.mu.Unlock()
	select {
	case <-mine.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	switch {
	case mine.err != nil:
		return fmt.Errorf("%w: it does not tell its model revision any more: %w", ErrAway, mine.err)
	case mine.revision != expected:
		return &RevisionError{Job: job, Began: expected, Active: mine.revision}
	default:
		return nil
	}
}

// work puts questions as long as answers wait for one.
func (c *confirmer) work(ctx context.Context) {
	for {
		c.mu.Lock()
		now := c.next
		c.next = nil
		c.busy = now != nil
		c.mu.Unlock()
		if now == nil {
			return
		}
		now.revision, now.err = c.ask(ctx)
		close(now.done)
	}
}
