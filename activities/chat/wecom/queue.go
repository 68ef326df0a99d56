package wecom

import (
	"context"
	"errors"
	"slices"

	"github.com/understudy-dr/understudy/activities/chat"
)

// hand hands over news and waits until WeCom has taken them. Where it cannot take
// them soon, the caller is told when it can, and comes back with newer ones.
func (m *Messenger) hand(ctx context.Context, n *news) error {
	n.done = make(chan error, 1)
	m.mu.Lock()
	m.waiting = append(m.waiting, n)
	if !m.sending {
		m.sending = true
		go m.work()
	}
	m.mu.Unlock()
	select {
	case err := <-n.done:
		return err
	case <-ctx.Done():
		m.abandon(n)
		return m.failed(ctx.Err())
	}
}

// abandon takes back news for which nobody waits any more.
func (m *Messenger) abandon(n *news) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n.gone = true
	m.waiting = slices.DeleteFunc(m.waiting, func(other *news) bool { return other == n })
	if n.leave != nil {
		n.leave()
	}
}

// work sends what waits, one digest after the other, and ends when nothing waits.
func (m *Messenger) work() {
	for {
		m.mu.Lock()
		if len(m.waiting) == 0 {
			m.sending = false
			m.mu.Unlock()
			return
		}
		now := m.config.Now()
		wait := m.pace.wait(now)
		switch {
		case wait > patience:
			waiting := m.waiting
			m.waiting = nil
			m.mu.Unlock()
			finish(waiting, &chat.RateLimitError{After: wait})
		case wait > 0:
			m.mu.Unlock()
			<-m.config.After(wait) // more may come meanwhile, and go along
		default:
			b, carried := compose(m.waiting)
			m.waiting = slices.DeleteFunc(m.waiting, func(n *news) bool { return slices.Contains(carried, n) })
			m.pace.took(now)
			ctx, cancel := context.WithCancel(context.Background())
			for _, n := range carried {
				n.leave = func() {
					if !slices.ContainsFunc(carried, func(other *news) bool { return !other.gone }) {
						cancel()
					}
				}
			}
			m.mu.Unlock()
			err := m.send(ctx, b)
			cancel()
			m.settle(carried, err)
		}
	}
}

// settle tells those who wait what became of their news. Where a digest was
// refused for what it held, each part is sent once more on its own: one bad story
// must not silence the others.
func (m *Messenger) settle(carried []*news, err error) {
	m.mu.Lock()
	var limited *chat.RateLimitError
	if errors.As(err, &limited) {
		m.pace.rest(m.config.Now(), limited.After)
	}
	if errors.Is(err, errForm) && len(carried) > 1 {
		var left []*news
		for _, n := range carried {
			if !n.gone {
				n.alone, n.leave = true, nil
				left = append(left, n)
			}
		}
		m.waiting = slices.Concat(left, m.waiting)
		m.mu.Unlock()
		return
	}
	m.mu.Unlock()
	finish(carried, err)
}

func finish(all []*news, err error) {
	for _, n := range all {
		n.done <- err
	}
}
