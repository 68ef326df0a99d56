package files

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/lastknown"
)

const (
	// DefaultEvery is how often a source is asked again: a canary comes every few seconds, and its audio hardly changes.
	DefaultEvery = time.Minute
	// DefaultPatience is how long a canary waits for a source while an older copy is at hand.
	DefaultPatience = 2 * time.Second

	// maxRefresh bounds asking a source, also where nobody waits for it any more: MaxSize over a slow line.
	maxRefresh = 2 * time.Minute
	// maxWarming is how many files are fetched at once at the start.
	maxWarming = 4
)

var _ Opener = (*Cache)(nil)

// Reading is a file's content with its age.
type Reading struct {
	// Content is shared: nobody may change it.
	Content []byte
	// At is when the source gave it.
	At time.Time
	// LastKnown is true where the source could not be asked lately, and this is what it gave before.
	LastKnown bool
	// Problem says why, or why the content could not be kept for bad times; empty where all is well.
	Problem string
}

// CacheConfig says how a Cache works.
type CacheConfig struct {
	// Opener reads from the sources.
	Opener Opener
	// Dir is where copies are kept; empty keeps them in memory only.
	Dir string
	// Every is how often a source is asked again. Default DefaultEvery.
	Every time.Duration
	// Patience is how long a reader waits for the source while an older copy is at hand. Default DefaultPatience.
	Patience time.Duration
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Cache is an Opener that answers also while its sources do not. Paths of this
// machine are read directly and not kept. It is safe for concurrent use.
type Cache struct {
	config CacheConfig
	kept   *lastknown.Shelf

	mu      sync.Mutex
	entries map[string]*entry
}

// entry is what is known of one reference.
type entry struct {
	asked   time.Time // when the last refresh began; zero where none ended yet
	problem string    // why the last refresh failed, or could not be kept
	failed  bool
	running *refresh
}

// refresh is one question to a source, for which several readers may wait.
type refresh struct {
	began time.Time
	done  chan struct{}
	err   error
}

// NewCache returns a cache in front of an opener.
func NewCache(config CacheConfig) *Cache {
	if config.Every == 0 {
		config.Every = DefaultEvery
	}
	if config.Patience == 0 {
		config.Patience = DefaultPatience
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Cache{config: config, kept: lastknown.New(config.Dir), entries: map[string]*entry{}}
}

// Read returns a file's content, or that which is kept of it.
func (c *Cache) Read(ctx context.Context, ref string) ([]byte, error) {
	reading, err := c.Get(ctx, ref)
	return reading.Content, err
}

// Get is Read with what is known about the content. Where a copy is kept, it
// returns within the patience and without an error, however the source fails;
// a canary must not go blind because a store is dead.
func (c *Cache) Get(ctx context.Context, ref string) (Reading, error) {
	if _, local := Local(ref); local {
		at := c.config.Now()
		content, err := c.config.Opener.Read(ctx, ref)
		return Reading{Content: content, At: at}, err
	}
	copied, holds := c.kept.Get(ref)
	running := c.refresh(ref, holds)
	if running == nil {
		return c.reading(ref, copied), nil
	}
	// Patience counts from the question's beginning: while a source hangs, only the first reader waits for it.
	var overdue <-chan time.Time
	if holds {
		overdue = time.After(c.config.Patience - time.Since(running.began))
	}
	select {
	case <-running.done:
		if fresh, ok := c.kept.Get(ref); ok {
			return c.reading(ref, fresh), nil
		}
		return Reading{}, running.err
	case <-overdue:
	case <-ctx.Done():
	}
	if holds {
		problem := fmt.Sprintf("read %s: %v: the source has not answered yet", Bare(ref), ErrUnavailable)
		return Reading{Content: copied.Content, At: copied.At, LastKnown: true, Problem: problem}, nil
	}
	return Reading{}, fmt.Errorf("read %s: %w: %w", Bare(ref), ErrUnavailable, ctx.Err())
}

// Warm fetches files ahead of their use, at the start of the program. It
// returns when each was fetched, failed, or is at hand from earlier, or when
// the context ends; the error joins those of files of which there is no copy.
func (c *Cache) Warm(ctx context.Context, refs []string) error {
	var (
		group sync.WaitGroup
		turn  = make(chan struct{}, maxWarming)
		errs  = make([]error, len(refs))
	)
	for i, ref := range refs {
		group.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			_, errs[i] = c.Get(ctx, ref)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// refresh asks the source where it is time to, or returns the question that is
// under way; nil means that the copy will do.
func (c *Cache) refresh(ref string, holds bool) *refresh {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[ref]
	if e == nil {
		e = &entry{}
		c.entries[ref] = e
	}
	now := c.config.Now()
	since := now.Sub(e.asked)
	switch {
	case e.running != nil:
		return e.running
	case holds && !e.asked.IsZero() && since >= 0 && since < c.config.Every:
		return nil
	}
	e.running = &refresh{began: time.Now(), done: make(chan struct{})}
	go c.ask(ref, e, now)
	return e.running
}

// ask asks the source and keeps the answer. It goes on when its first reader is gone.
func (c *Cache) ask(ref string, e *entry, began time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), maxRefresh)
	defer cancel()
	content, err := c.config.Opener.Read(ctx, ref)
	problem := ""
	if err != nil {
		problem = err.Error()
	} else if unkept := c.kept.Put(ref, lastknown.Copy{Content: content, At: began}); unkept != nil {
		problem = unkept.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	running := e.running
	e.asked, e.problem, e.failed, e.running = began, problem, err != nil, nil
	running.err = err
	close(running.done)
}

func (c *Cache) reading(ref string, copied lastknown.Copy) Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[ref]
	return Reading{Content: copied.Content, At: copied.At, LastKnown: e.failed, Problem: e.problem}
}
