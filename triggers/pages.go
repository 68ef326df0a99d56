package triggers

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"sort"
	"time"
)

// cursor is the recovery after which a page begins: newest first, and by name
// where two began at once.
type cursor struct {
	Started time.Time `json:"t"`
	Service string    `json:"s"`
	Epoch   int64     `json:"e"`
}

func (c cursor) before(r Recovery) bool {
	return c.Service == "" || newestFirst(Recovery{Started: c.Started, Service: c.Service, Epoch: c.Epoch}, r) < 0
}

func newestFirst(x, y Recovery) int {
	return cmp.Or(y.Started.Compare(x.Started), cmp.Compare(x.Service, y.Service), cmp.Compare(y.Epoch, x.Epoch))
}

func (c cursor) String() string {
	text, _ := json.Marshal(c) // times and names always have a JSON
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseCursor(text string) (c cursor, err error) {
	if text == "" {
		return c, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(raw, &c)
}

// queue hands out a service's recoveries, newest first, reading one report at a time.
type queue struct {
	head  Recovery
	names []string
}

// advance takes the next one to the head.
func (q *queue) advance(ctx context.Context, past *archive) (bool, error) {
	for len(q.names) > 0 {
		name := q.names[len(q.names)-1]
		q.names = q.names[:len(q.names)-1]
		report, ok, err := past.read(ctx, name)
		if err != nil {
			return false, err
		}
		if ok && report.ID != q.head.ID { // the running one may have been written down meanwhile
			q.head = report.Recovery
			return true, nil
		}
	}
	return false, nil
}

// skip leaves out the newest ones that are not wanted. Epochs grow with time, so
// a few looks find the place.
func (q *queue) skip(ctx context.Context, past *archive, wanted func(Recovery) bool) (failed error) {
	keep := sort.Search(len(q.names), func(i int) bool {
		report, ok, err := past.read(ctx, q.names[i])
		if err != nil {
			failed = err
		}
		return ok && !wanted(report.Recovery)
	})
	q.names = q.names[:keep]
	return failed
}

// queues is a heap: the newest recovery of all services is on its top.
type queues []*queue

func (q queues) Len() int           { return len(q) }
func (q queues) Less(i, j int) bool { return newestFirst(q[i].head, q[j].head) < 0 }
func (q queues) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queues) Push(x any)        { *q = append(*q, x.(*queue)) }
func (q *queues) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
