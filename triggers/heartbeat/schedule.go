package heartbeat

import (
	"container/heap"
	"time"
)

// schedule is a heap of services, the one whose turn comes first on top.
type schedule []*watched

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].next.Before(s[j].next) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

// Push is called by package heap alone.
func (s *schedule) Push(x any) {
	w := x.(*watched)
	w.place = len(*s)
	*s = append(*s, w)
}

// Pop is called by package heap alone.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	w := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	w.place = -1
	return w
}

func (s *schedule) add(w *watched) { heap.Push(s, w) }

// move sets when a service's turn comes; one that is no longer watched is left out.
func (s *schedule) move(w *watched, next time.Time) {
	w.next = next
	if w.place >= 0 {
		heap.Fix(s, w.place)
	}
}

func (s *schedule) remove(w *watched) {
	if w.place >= 0 {
		heap.Remove(s, w.place)
	}
}
