package jobs

import "sync"

// settled is what became of an item.
type settled int

const (
	unsettled settled = iota
	succeeded
	failed
	quarantined
)

// window follows the items between the oldest without an outcome and the newest
// that was given out, and the counts before it.
type window struct {
	mu     sync.Mutex
	next   Position
	end    int64
	counts Counts // of the items before next
	ahead  Counts // of those within the window
	slots  []slot // from next on
	moved  chan struct{}
}

// slot is one item of the window.
type slot struct {
	after   Position
	seconds float64
	outcome settled
}

func newWindow(h Head) *window {
	return &window{next: h.Window.Position, end: h.Window.End, counts: h.Counts, moved: make(chan struct{}, 1)}
}

// add takes items into the window, in order.
func (w *window) add(tasks []task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range tasks {
		w.slots = append(w.slots, slot{after: t.After, seconds: t.Seconds})
		w.end = max(w.end, t.After.Item)
	}
}

// size is how many items are in the window.
func (w *window) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.slots)
}

// settle gives an item its outcome, and moves the window's beginning on.
func (w *window) settle(item int64, outcome settled) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.slots[item-w.next.Item]
	s.outcome = outcome
	w.ahead.count(*s, 1)
	for len(w.slots) > 0 && w.slots[0].outcome != unsettled {
		w.ahead.count(w.slots[0], -1)
		w.counts.count(w.slots[0], 1)
		w.next = w.slots[0].after
		w.slots = w.slots[1:]
	}
	select {
	case w.moved <- struct{}{}:
	default:
	}
}

// lose counts audio that was sent and whose answer was lost.
func (w *window) lose(seconds float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.RedoneSeconds += seconds
}

// write puts the window into a head.
func (w *window) write(h *Head) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h.Window = Window{Position: w.next, End: w.end}
	h.Counts = w.counts
}

// progress is the oldest item without an outcome, and the counts of all that have one.
func (w *window) progress() (Position, Counts) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.counts
	all.Succeeded += w.ahead.Succeeded
	all.Failed += w.ahead.Failed
	all.Quarantined += w.ahead.Quarantined
	all.AudioSeconds += w.ahead.AudioSeconds
	return w.next, all
}

func (c *Counts) count(s slot, n int64) {
	switch s.outcome {
	case succeeded:
		c.Succeeded += n
		c.AudioSeconds += s.seconds * float64(n)
	case failed:
		c.Failed += n
	case quarantined:
		c.Quarantined += n
	}
}
