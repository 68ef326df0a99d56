package activities

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/runbooks"
)

// merging is a replica in which points come and are merged away.
type merging struct {
	replica.Replica
	newest replica.Point
	// gone are the positions that were merged with later ones; next is what is newest after a look.
	gone map[string]bool
	next []replica.Point
	// at is what a try before has restored.
	at string
	// tries are the positions that were asked for.
	tries []string
}

func (m *merging) Look(context.Context, runbooks.Data, int64) (replica.Point, error) {
	if len(m.next) > 0 {
		m.newest, m.next = m.next[0], m.next[1:]
	}
	return m.newest, nil
}

func (m *merging) Restore(_ context.Context, _ string, _ runbooks.Data, p replica.Point) (replica.Restored, error) {
	m.tries = append(m.tries, p.Position)
	switch {
	case m.at != "" && m.at != p.Position:
		return replica.Restored{}, replica.ErrExists
	case m.gone[p.Position]:
		return replica.Restored{}, fmt.Errorf("%w any more", replica.ErrNone)
	}
	return replica.Restored{Point: p, Already: m.at != ""}, nil
}

func TestAPointThatWasMergedAway(t *testing.T) {
	began := time.Now()
	point := func(n int) replica.Point {
		return replica.Point{Epoch: 3, Position: fmt.Sprint(n), At: began.Add(time.Duration(n) * time.Second)}
	}
	for name, c := range map[string]struct {
		store merging
		want  string
		err   error
		tries int
	}{
		"it is there":                          {store: merging{newest: point(5)}, want: "5", tries: 1},
		"a newer one takes its place":          {store: merging{gone: map[string]bool{"5": true}, newest: point(6)}, want: "6", tries: 2},
		"and that one is gone by then":         {store: merging{gone: map[string]bool{"5": true, "6": true}, next: []replica.Point{point(6), point(7)}}, want: "7", tries: 3},
		"nothing newer":                        {store: merging{gone: map[string]bool{"5": true}, newest: point(5)}, err: replica.ErrNone, tries: 1},
		"only an older one":                    {store: merging{gone: map[string]bool{"5": true}, newest: point(4)}, err: replica.ErrNone, tries: 1},
		"a try before had come to a newer one": {store: merging{gone: map[string]bool{"5": true}, newest: point(6), at: "6"}, want: "6", tries: 2},
		"other data is there":                  {store: merging{newest: point(6), at: "else"}, err: replica.ErrExists, tries: 2},
		"it goes on for ever": {store: merging{gone: map[string]bool{"5": true, "6": true, "7": true, "8": true, "9": true},
			next: []replica.Point{point(6), point(7), point(8), point(9)}}, err: replica.ErrNone, tries: 4},
	} {
		a := New(Deps{Replicas: map[string]replica.Replica{"litestream": &c.store}})
		out, err := a.RestoreData(t.Context(), RestoreDataInput{
			Effect: Effect{Service: "asr", Epoch: 4, Key: "k"}, Points: []DataPoint{{Data: runbooks.Data{Kind: "litestream", Path: "/x"}, Point: point(5)}},
		})
		got := ""
		if len(out.Restored) > 0 {
			got = out.Restored[0].Position
		}
		if got != c.want || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || len(c.store.tries) != c.tries {
			t.Errorf("%s: %q after %q, %v", name, got, c.store.tries, err)
		}
	}
}
