// Package epochtest is the conformance suite of epoch stores. Every
// implementation passes it against the real component.
package epochtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/epoch"
)

const (
	// short is how long a store may hang in these tests.
	short = 300 * time.Millisecond
	// long is enough for a store to answer on a busy machine.
	long = 30 * time.Second

	service = "fun-asr"
	writers = 16
)

// Fixture is an empty store on a real component.
type Fixture struct {
	// Open returns a new store on the same records, as another engine would.
	Open func() epoch.Store
	// Stop makes the component hang; Continue ends that.
	Stop, Continue func()
	// Kill ends the component without a warning; Restart brings it back with what it had made durable.
	Kill, Restart func()
	// Plant puts content where the record of a service is kept.
	Plant func(service string, content []byte)
}

// Run runs the suite. make returns a fixture without records; fixtures may share a component.
func Run(t *testing.T, make func(t *testing.T) Fixture) {
	for name, test := range map[string]func(*testing.T, Fixture){
		"first write, growth and repetition": lifeOfARecord,
		"held by somebody else":              held,
		"at work elsewhere":                  atWork,
		"names that are none":                hostileNames,
		"clocks that differ":                 clocks,
		"content that is no record":          planted,
		"many writers of one epoch":          oneEpoch,
		"many writers of growing epochs":     growingEpochs,
		"many services":                      manyServices,
		"hang":                               hang,
		"crash":                              crash,
		"ended context":                      endedContext,
	} {
		t.Run(name, func(t *testing.T) { test(t, make(t)) })
	}
}

func lifeOfARecord(t *testing.T, f Fixture) {
	store, other := f.Open(), f.Open()
	if _, err := read(store, service); !errors.Is(err, epoch.ErrNone) {
		t.Fatalf("an empty store: %v, want ErrNone", err)
	}
	for _, step := range []struct{ write, want epoch.Record }{
		{record(41, "a", ""), record(41, "a", "")},
		{record(41, "a", ""), record(41, "a", "")},
		{record(41, "a", "hot"), record(41, "a", "hot")},
		{record(41, "a", "hot"), record(41, "a", "hot")},
		{record(41, "a", ""), record(41, "a", "hot")},
		{record(41, "a", "primary"), record(41, "a", "primary")},
		{record(42, "b", ""), record(42, "b", "")},
		{record(1_900_000_000, "语音 \"quoted\"\n@ engine", "cold"), record(1_900_000_000, "语音 \"quoted\"\n@ engine", "cold")},
	} {
		mustWrite(t, store, step.write)
		for _, s := range []epoch.Store{store, other} {
			if got, err := read(s, service); err != nil || got != step.want {
				t.Fatalf("after writing %+v: %+v, %v", step.write, got, err)
			}
		}
		store, other = other, store
	}
}

func held(t *testing.T, f Fixture) {
	store := f.Open()
	current := record(7, "a", "hot")
	mustWrite(t, store, current)
	for _, r := range []epoch.Record{record(7, "b", ""), record(7, "b", "hot"), record(6, "a", ""), record(1, "b", "cold")} {
		mustBeHeld(t, write(f.Open(), r), current)
	}
	if got, err := read(store, service); err != nil || got != current {
		t.Errorf("the record is now %+v, %v", got, err)
	}
}

// atWork: many engines with growing epochs find one outage, and one of them acts.
func atWork(t *testing.T, f Fixture) {
	outcomes := race(f, func(i int) epoch.Record {
		r := record(int64(1+i), epoch.HeldBy("recovery", fmt.Sprintf("engine-%d", i)), "")
		r.At = time.Unix(1_700_000_000, 0).UTC()
		return r
	})
	current, err := read(f.Open(), service)
	if err != nil {
		t.Fatal(err)
	}
	won := 0
	for _, err := range outcomes {
		if err == nil {
			won++
			continue
		}
		mustBeHeld(t, err, current)
	}
	if won != 1 {
		t.Errorf("%d of %d engines act at once", won, writers)
	}
	// It ends, and the next one may.
	current.Active = "hot"
	mustWrite(t, f.Open(), current)
	mustWrite(t, f.Open(), record(100, epoch.HeldBy("recovery", "engine-z"), ""))
}

func hostileNames(t *testing.T, f Fixture) {
	store := f.Open()
	for _, name := range []string{"", "..", "../fun-asr", "a/b", "/a", "a b", "a\nb", "a\x00", "A", "语音", "a.json", "%2e%2e", "-a", "a-"} {
		r := record(1, "a", "")
		r.Service = name
		if err := write(store, r); err == nil || errors.Is(err, epoch.ErrUnavailable) {
			t.Errorf("write of %q: %v, want an error of its own", name, err)
		}
		if _, err := read(store, name); err == nil || errors.Is(err, epoch.ErrNone) || errors.Is(err, epoch.ErrUnavailable) {
			t.Errorf("read of %q: %v, want an error of its own", name, err)
		}
	}
	for _, r := range []epoch.Record{record(0, "a", ""), record(-3, "a", ""), record(1, "", "")} {
		if err := write(store, r); err == nil || errors.Is(err, epoch.ErrUnavailable) {
			t.Errorf("write of %+v: %v, want an error of its own", r, err)
		}
	}
	if _, err := read(store, service); !errors.Is(err, epoch.ErrNone) {
		t.Errorf("something was written: %v", err)
	}
}

func clocks(t *testing.T, f Fixture) {
	store := f.Open()
	for i, at := range []time.Time{time.Now().AddDate(50, 0, 0), {}, time.Now().AddDate(-50, 0, 0), time.Now()} {
		r := record(int64(10+i), "a", "")
		r.At = at.UTC().Round(0)
		mustWrite(t, store, r)
		if got, err := read(store, service); err != nil || got != r {
			t.Fatalf("got %+v, %v", got, err)
		}
		older := record(int64(9+i), "z", "")
		older.At = at.AddDate(10, 0, 0).UTC().Round(0)
		mustBeHeld(t, write(store, older), r)
	}
}

func planted(t *testing.T, f Fixture) {
	for i, content := range []string{"garbage", "", "{}", `{"service":"another","epoch":1,"holder":"a"}`} {
		name := fmt.Sprintf("planted-%d", i)
		f.Plant(name, []byte(content))
		store := f.Open()
		if _, err := read(store, name); !errors.Is(err, epoch.ErrUnavailable) {
			t.Errorf("read of %q: %v, want ErrUnavailable", content, err)
		}
		r := record(99, "a", "")
		r.Service = name
		if err := write(store, r); !errors.Is(err, epoch.ErrUnavailable) {
			t.Errorf("write over %q: %v, want ErrUnavailable", content, err)
		}
	}
}

func oneEpoch(t *testing.T, f Fixture) {
	for _, base := range []epoch.Record{{}, record(5, "before", "hot")} {
		if base.Epoch > 0 {
			mustWrite(t, f.Open(), base)
		}
		next := base.Epoch + 1
		outcomes := race(f, func(i int) epoch.Record { return record(next, fmt.Sprintf("holder-%d", i), "") })
		current, err := read(f.Open(), service)
		if err != nil || current.Epoch != next {
			t.Fatalf("the record is now %+v, %v", current, err)
		}
		won := 0
		for i, err := range outcomes {
			if err == nil {
				won++
				if want := fmt.Sprintf("holder-%d", i); current.Holder != want {
					t.Errorf("%s believes to have won, the record says %s", want, current.Holder)
				}
				continue
			}
			mustBeHeld(t, err, current)
		}
		if won != 1 {
			t.Errorf("%d of %d writers won", won, writers)
		}
	}
}

func growingEpochs(t *testing.T, f Fixture) {
	mustWrite(t, f.Open(), record(100, "start", ""))
	watched, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		store, last := f.Open(), int64(0)
		for {
			select {
			case <-end:
				return
			default:
			}
			r, err := read(store, service)
			if err != nil || r.Epoch < last {
				t.Errorf("after epoch %d: %d, %v", last, r.Epoch, err)
				return
			}
			last = r.Epoch
		}
	}()
	outcomes := race(f, func(i int) epoch.Record { return record(int64(101+i), fmt.Sprintf("holder-%d", i), "") })
	close(end)
	<-watched
	for i, err := range outcomes {
		var held *epoch.HeldError
		if err != nil && (!errors.As(err, &held) || held.Current.Epoch <= int64(101+i)) {
			t.Errorf("epoch %d: %v", 101+i, err)
		}
	}
	if err := outcomes[writers-1]; err != nil {
		t.Errorf("the highest epoch lost: %v", err)
	}
	if got, err := read(f.Open(), service); err != nil || got.Epoch != 100+writers {
		t.Errorf("the record is now %+v, %v", got, err)
	}
}

func manyServices(t *testing.T, f Fixture) {
	store := f.Open()
	names := []string{"a", "a-b", "a-b-c", "b"}
	for i, name := range names {
		r := record(int64(i+1), "a", "")
		r.Service = name
		mustWrite(t, store, r)
	}
	for i, name := range names {
		if got, err := read(store, name); err != nil || got.Service != name || got.Epoch != int64(i+1) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func hang(t *testing.T, f Fixture) {
	store := f.Open()
	mustWrite(t, store, record(7, "a", ""))
	f.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), short)
	defer cancel()
	_, err := store.Read(ctx, service)
	unclear(t, "read", err)
	ctx, cancel = context.WithTimeout(context.Background(), short)
	defer cancel()
	unclear(t, "write", store.Write(ctx, record(8, "a", "")))
	f.Continue()
	// The write may have happened meanwhile or not. Its holder repeats it; nobody else can have it.
	mustWrite(t, store, record(8, "a", ""))
	mustBeHeld(t, write(f.Open(), record(8, "b", "")), record(8, "a", ""))
}

func crash(t *testing.T, f Fixture) {
	store := f.Open()
	mustWrite(t, store, record(7, "a", "hot"))
	f.Kill()
	ctx, cancel := context.WithTimeout(context.Background(), short)
	defer cancel()
	_, err := store.Read(ctx, service)
	unclear(t, "read", err)
	ctx, cancel = context.WithTimeout(context.Background(), short)
	defer cancel()
	unclear(t, "write", store.Write(ctx, record(8, "a", "")))
	f.Restart()
	if got, err := read(store, service); err != nil || got != record(7, "a", "hot") {
		t.Errorf("after the crash: %+v, %v", got, err)
	}
	mustWrite(t, store, record(8, "a", ""))
}

func endedContext(t *testing.T, f Fixture) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	store := f.Open()
	_, err := store.Read(ctx, service)
	unclear(t, "read", err)
	unclear(t, "write", store.Write(ctx, record(1, "a", "")))
}

// race lets all writers write at once, each through a store of its own.
func race(f Fixture, next func(i int) epoch.Record) [writers]error {
	var (
		outcomes [writers]error
		group    sync.WaitGroup
		start    = make(chan struct{})
	)
	for i := range writers {
		store := f.Open()
		group.Go(func() {
			<-start
			outcomes[i] = write(store, next(i))
		})
	}
	close(start)
	group.Wait()
	return outcomes
}

func record(n int64, holder, active string) epoch.Record {
	return epoch.Record{Service: service, Epoch: n, Holder: holder, Active: active, At: time.Unix(1_700_000_000+n, 0).UTC()}
}

func read(s epoch.Store, service string) (epoch.Record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	return s.Read(ctx, service)
}

func write(s epoch.Store, r epoch.Record) error {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	return s.Write(ctx, r)
}

func mustWrite(t *testing.T, s epoch.Store, r epoch.Record) {
	t.Helper()
	if err := write(s, r); err != nil {
		t.Fatalf("write %+v: %v", r, err)
	}
}

func mustBeHeld(t *testing.T, err error, by epoch.Record) {
	t.Helper()
	var held *epoch.HeldError
	if !errors.As(err, &held) || held.Current != by {
		t.Errorf("got %v, want HeldError by %+v", err, by)
	}
}

func unclear(t *testing.T, what string, err error) {
	t.Helper()
	var held *epoch.HeldError
	if !errors.Is(err, epoch.ErrUnavailable) || errors.Is(err, epoch.ErrNone) || errors.As(err, &held) {
		t.Errorf("%s: %v, want ErrUnavailable", what, err)
	}
}
