package settings_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/settings"
	"github.com/understudy-dr/understudy/runbooks"
)

// center is a config center that answers as it is told.
type center struct {
	mu     sync.Mutex
	values settings.Values
	err    error
	refs   []runbooks.Source
	hangs  bool
}

func (c *center) Read(ctx context.Context, ref runbooks.Source) (settings.Values, error) {
	c.mu.Lock()
	values, err, hangs := c.values, c.err, c.hangs
	c.refs = append(c.refs, ref)
	c.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", settings.ErrUnavailable, ctx.Err())
	}
	return values, err
}

func (c *center) answer(values settings.Values, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values, c.err, c.hangs = values, err, false
}

func reader(c *center, dir string) *settings.Reader {
	return settings.NewReader(settings.ReaderConfig{
		Sources: map[string]settings.Source{settings.KindEtcd: c}, ConfigCenter: "http://config-center:2379", Dir: dir,
	})
}

var (
	version  = runbooks.Source{Kind: settings.KindEtcd, Key: "model/version", Unavailable: "last-known"}
	away     = fmt.Errorf("%w: connection refused", settings.ErrUnavailable)
	emptied  = fmt.Errorf("%w: no such key", settings.ErrMissing)
	released = settings.Values{"model/version": "2512.1"}
)

func TestReadAsksTheSource(t *testing.T) {
	c := &center{values: released}
	r := reader(c, t.TempDir())
	before := time.Now()
	got, err := r.Read(t.Context(), version)
	if err != nil || got.Single() != "2512.1" || got.Hash != settings.Hash(version, released) || got.LastKnown || got.Problem != "" ||
		got.At.Before(before) || got.At.After(time.Now()) || len(got.Note("version")) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	if c.refs[0].Endpoint != "http://config-center:2379" {
		t.Errorf("asked %q", c.refs[0].Endpoint)
	}
	c.answer(settings.Values{"model/version": "2600.1"}, nil)
	if got, err := r.Read(t.Context(), version); err != nil || got.Single() != "2600.1" {
		t.Errorf("after a change: %+v, %v", got, err)
	}
}

func TestLastKnownValues(t *testing.T) {
	for name, problem := range map[string]error{"away": away, "emptied": emptied} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := &center{values: released}
			r := reader(c, dir)
			good, err := r.Read(t.Context(), version)
			if err != nil {
				t.Fatal(err)
			}
			c.answer(nil, problem)
			for what, r := range map[string]*settings.Reader{"same process": r, "next process": reader(c, dir)} {
				got, err := r.Read(t.Context(), version)
				if err != nil || !got.LastKnown || got.Single() != "2512.1" || got.Hash != good.Hash || !got.At.Equal(good.At) || got.Problem != problem.Error() {
					t.Errorf("%s: got %+v, %v", what, got, err)
				}
				if note := got.Note("version"); len(note) != 1 || !strings.Contains(note[0], problem.Error()) || !strings.Contains(note[0], " old: ") {
					t.Errorf("%s: note %q", what, note)
				}
				strict := version
				strict.Unavailable = "refuse"
				if got, err := r.Read(t.Context(), strict); !errors.Is(err, problem) || got.Values != nil {
					t.Errorf("%s: refuse: got %+v, %v", what, got, err)
				}
				other := version
				other.Key = "model/other"
				if got, err := r.Read(t.Context(), other); !errors.Is(err, problem) || got.Values != nil {
					t.Errorf("%s: a key that was never read: got %+v, %v", what, got, err)
				}
				elsewhere := version
				elsewhere.Endpoint = "http://other:2379"
				if got, err := r.Read(t.Context(), elsewhere); !errors.Is(err, problem) || got.Values != nil {
					t.Errorf("%s: another config center: got %+v, %v", what, got, err)
				}
			}
			c.answer(settings.Values{"model/version": "2600.1"}, nil)
			if got, err := r.Read(t.Context(), version); err != nil || got.LastKnown || got.Single() != "2600.1" {
				t.Errorf("when it is back: got %+v, %v", got, err)
			}
		})
	}
}

func TestSeveralKeysAreKeptTogether(t *testing.T) {
	ref := runbooks.Source{Kind: settings.KindEtcd, Prefix: "fun-asr/"}
	values := settings.Values{"hotwords": "阿里巴巴 20\n", "empty": "", "hostile": "a\x00\u2028\"\\"}
	dir, c := t.TempDir(), &center{values: values}
	good, err := reader(c, dir).Read(t.Context(), ref)
	if err != nil || good.Single() != "" {
		t.Fatalf("%+v, %v", good, err)
	}
	c.answer(nil, away)
	got, err := reader(c, dir).Read(t.Context(), ref)
	if err != nil || !got.LastKnown || got.Hash != good.Hash || len(got.Values) != len(values) {
		t.Errorf("got %+v, %v", got, err)
	}
	for key, want := range values {
		if got.Values[key] != want {
			t.Errorf("%s: %q", key, got.Values[key])
		}
	}
}

func TestAHangingSourceLeavesTimeForTheLastKnownValue(t *testing.T) {
	c := &center{values: released}
	r := reader(c, t.TempDir())
	if _, err := r.Read(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.hangs = true
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	got, err := r.Read(ctx, version)
	if err != nil || !got.LastKnown || ctx.Err() != nil {
		t.Errorf("got %+v, %v, and the caller's context: %v", got, err, ctx.Err())
	}
}

func TestADamagedCopyIsNone(t *testing.T) {
	dir, c := t.TempDir(), &center{values: released}
	if _, err := reader(c, dir).Read(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(paths) != 1 || strings.Contains(paths[0], "model") {
		t.Fatalf("files: %v", paths)
	}
	if err := os.Truncate(paths[0], 20); err != nil {
		t.Fatal(err)
	}
	c.answer(nil, away)
	if got, err := reader(c, dir).Read(t.Context(), version); !errors.Is(err, settings.ErrUnavailable) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestADiskThatCannotBeWrittenIsToldAndNoFailure(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := &center{values: released}
	r := reader(c, file)
	got, err := r.Read(t.Context(), version)
	if err != nil || got.Single() != "2512.1" || got.LastKnown || got.Problem == "" || len(got.Note("version")) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	c.answer(nil, away)
	if got, err := r.Read(t.Context(), version); err != nil || !got.LastKnown {
		t.Errorf("from memory: got %+v, %v", got, err)
	}
}

func TestOtherKinds(t *testing.T) {
	r := reader(&center{}, t.TempDir())
	value := runbooks.Source{Kind: settings.KindValue, Value: "2512.1"}
	if got, err := r.Read(t.Context(), value); err != nil || got.Single() != "2512.1" || got.Hash != settings.Hash(value, settings.Values{"": "2512.1"}) {
		t.Errorf("value: got %+v, %v", got, err)
	}
	if _, err := r.Read(t.Context(), runbooks.Source{Kind: settings.KindValue}); !errors.Is(err, settings.ErrMissing) {
		t.Errorf("no value: %v", err)
	}
	if _, err := r.Read(t.Context(), runbooks.Source{Kind: "zookeeper"}); err == nil || errors.Is(err, settings.ErrUnavailable) {
		t.Errorf("unknown kind: %v", err)
	}
	broken := errors.New("a reference that is none")
	if _, err := reader(&center{err: broken}, "").Read(t.Context(), version); !errors.Is(err, broken) {
		t.Errorf("another error: %v", err)
	}
}

func TestNothingWasReadYet(t *testing.T) {
	var none settings.Reading
	if none.Single() != "" || len(none.Note("version")) != 0 {
		t.Errorf("a reading that is none: %q, %q", none.Single(), none.Note("version"))
	}
	future := settings.Reading{At: time.Now().Add(time.Hour)}
	if got := future.Age(time.Now()); got != 0 {
		t.Errorf("a clock that was set back makes values %v old", got)
	}
}

func TestManyReadersAtOnce(t *testing.T) {
	dir, c := t.TempDir(), &center{values: released}
	r := reader(c, dir)
	if _, err := r.Read(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for n := range 20 {
				if i == 0 {
					if n%2 == 0 {
						c.answer(nil, away)
					} else {
						c.answer(released, nil)
					}
				}
				ref := version
				ref.Key = fmt.Sprintf("model/version-%d", i%3)
				if i%3 == 0 {
					ref = version
				}
				got, err := r.Read(t.Context(), ref)
				if err == nil && got.Single() != "2512.1" || err != nil && (i%3 == 0 || !errors.Is(err, settings.ErrUnavailable)) {
					t.Errorf("got %+v, %v", got, err)
				}
			}
		})
	}
	group.Wait()
}
