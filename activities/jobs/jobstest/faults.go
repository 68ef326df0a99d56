package jobstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/understudy-dr/understudy/activities/jobs"
)

func (i ignored) Put(ctx context.Context, key string, body io.ReadSeeker, when jobs.Condition) (string, error) {
	if i.absent() {
		when.Absent = false
	}
	if i.tag() {
		when.Tag = ""
	}
	return i.Objects.Put(ctx, key, body, when)
}

// beginsToIgnore: a gateway in front of the store changes while a batch runs.
func beginsToIgnore(t *testing.T, f Fixture) {
	var now atomic.Bool
	create(t, f, "changed", 3)
	o := ignored{f.Open(), now.Load, now.Load}
	if _, err := jobs.NewStore(o).Take(ctx(t), "changed", jobs.Claim{Holder: "a", Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	now.Store(true)
	// Another process, or this one a minute later.
	_, err := jobs.NewStore(o).Take(ctx(t), "changed", jobs.Claim{Holder: "a", Epoch: 2})
	wants(t, "taking it", err, jobs.ErrUnsupported)
	if _, h, err := jobs.NewStore(f.Open()).Open(ctx(t), "changed"); err != nil || h.Epoch != 1 {
		t.Errorf("%+v, %v", h, err)
	}
}

// forgetful writes, and loses the answer of those that it is told to.
type forgetful struct {
	jobs.Objects
	lose func(key string) bool
}

func (l forgetful) Put(ctx context.Context, key string, body io.ReadSeeker, when jobs.Condition) (string, error) {
	tag, err := l.Objects.Put(ctx, key, body, when)
	if err == nil && l.lose(key) {
		return "", fmt.Errorf("%w: connection reset by peer", jobs.ErrUnavailable)
	}
	return tag, err
}

// repeating loses an answer and sends the request again, as an SDK does.
type repeating struct {
	jobs.Objects
	repeat func(key string) bool
}

func (r repeating) Put(ctx context.Context, key string, body io.ReadSeeker, when jobs.Condition) (string, error) {
	if r.repeat(key) {
		if _, err := r.Objects.Put(ctx, key, body, when); err != nil {
			return "", err
		}
	}
	return r.Objects.Put(ctx, key, body, when)
}

func lostAnswers(t *testing.T, f Fixture) {
	once := func(suffix string) func(string) bool {
		var lost atomic.Bool
		return func(key string) bool { return strings.HasSuffix(key, suffix) && lost.CompareAndSwap(false, true) }
	}
	// The SDK repeats what it believes to have failed: each write must recognize itself.
	for i, suffix := range []string{"job.json", "head.json", "000000001.json", "001.json", "failed.json", "report.json"} {
		id := fmt.Sprint("repeated-", i)
		store := jobs.NewStore(repeating{f.Open(), once(suffix)})
		j, err := store.Create(ctx(t), job(id), strings.NewReader(manifest(3)))
		if err != nil {
			t.Fatalf("%s: %v", suffix, err)
		}
		l, err := store.Take(ctx(t), id, jobs.Claim{Holder: "a"})
		if err != nil {
			t.Fatalf("%s: %v", suffix, err)
		}
		v, all := j.Variant("1"), items(t, store, j)
		for _, err := range []error{
			l.Advance(ctx(t), func(h *jobs.Head) { h.Variants = []jobs.Variant{v} }),
			l.PutResult(ctx(t), v, all[0], result(l, all[0], "x")),
			l.PutResult(ctx(t), v, all[1], result(l, all[1], "x")),
			ignoreExists(l.BeginAttempt(ctx(t), v, 2, 1, "")),
			l.PutFailure(ctx(t), v, all[2], failure(l, all[2], "refused")),
			l.Release(ctx(t), "", func(h *jobs.Head) { h.Window = jobs.Window{Position: all[2].After, End: 3} }),
		} {
			if err != nil {
				t.Errorf("%s: %v", suffix, err)
			}
		}
		if r, err := store.Finish(ctx(t), id, jobs.Claim{Holder: "b"}, nil); err != nil || r.Succeeded != 2 || r.Failed != 1 {
			t.Errorf("%s: %+v, %v", suffix, r, err)
		}
	}
	// A head whose answer was lost is ours all the same.
	create(t, f, "head-lost", 3)
	var losing atomic.Bool
	store := jobs.NewStore(forgetful{f.Open(), func(key string) bool {
		return strings.HasSuffix(key, "/head.json") && losing.CompareAndSwap(true, false)
	}})
	l, err := store.Take(ctx(t), "head-lost", jobs.Claim{Holder: "a"})
	if err != nil {
		t.Fatal(err)
	}
	losing.Store(true)
	wants(t, "the lost answer", l.Advance(ctx(t), func(h *jobs.Head) { h.Lanes = 7 }), jobs.ErrUnavailable)
	if err := l.Advance(ctx(t), func(h *jobs.Head) { h.Lanes = 8 }); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, h, err := store.Open(ctx(t), "head-lost"); err != nil || h.Lanes != 8 {
		t.Errorf("%+v, %v", h, err)
	}
}

func ignoreExists(err error) error {
	if errors.Is(err, jobs.ErrExists) {
		return nil
	}
	return err
}

func hanging(t *testing.T, f Fixture) {
	store, j := create(t, f, "hung", 3)
	l := take(t, f, "hung", 1, "a")
	all := items(t, store, j)
	f.Stop()
	unavailable(t, calls(store, l, all))
	f.Continue()
	if err := l.Advance(ctx(t), func(*jobs.Head) {}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	// The result may have been written meanwhile or not. It is ours, or it is written now.
	if err := l.PutResult(ctx(t), l.Head().Current(), all[1], result(l, all[1], "x")); err != nil && !errors.Is(err, jobs.ErrExists) {
		t.Errorf("afterwards: %v", err)
	}
}

func dying(t *testing.T, f Fixture) {
	store, j := create(t, f, "killed", 3)
	l := take(t, f, "killed", 1, "a")
	all := items(t, store, j)
	done(t, l, all, 0, 1)
	f.Kill()
	unavailable(t, calls(store, l, all))
	f.Restart()
	if _, err := store.Result(ctx(t), j, l.Head().Current(), all[0]); err != nil {
		t.Errorf("what was done: %v", err)
	}
	done(t, l, all, 1, 3)
	if r, err := store.Finish(ctx(t), "killed", jobs.Claim{Holder: "a"}, nil); err != nil || r.Succeeded != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// unavailable calls all, and each must say so within its time.
func unavailable(t *testing.T, calls map[string]func(context.Context) error) {
	t.Helper()
	var wait sync.WaitGroup
	for name, call := range calls {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), short)
			defer cancel()
			wants(t, name, call(ctx), jobs.ErrUnavailable)
		})
	}
	wait.Wait()
}

// calls are all that a runner asks of a store.
func calls(store *jobs.Store, l *jobs.Lease, all []jobs.Item) map[string]func(context.Context) error {
	h, id := l.Head(), l.Job().ID
	return map[string]func(context.Context) error{
		"open": func(ctx context.Context) error { _, _, err := store.Open(ctx, id); return err },
		"list": func(ctx context.Context) error { _, err := store.Jobs(ctx); return err },
		"items": func(ctx context.Context) error {
			_, err := store.Items(l.Job(), jobs.Position{}).Next(ctx, 1)
			return err
		},
		"outcomes": func(ctx context.Context) error { _, err := store.Outcomes(ctx, l.Job(), h, 0, 3); return err },
		"result":   func(ctx context.Context) error { _, err := store.Result(ctx, l.Job(), h.Current(), all[0]); return err },
		"put":      func(ctx context.Context) error { return l.PutResult(ctx, h.Current(), all[1], result(l, all[1], "x")) },
		"advance":  func(ctx context.Context) error { return l.Advance(ctx, func(*jobs.Head) {}) },
		"take":     func(ctx context.Context) error { _, err := store.Take(ctx, id, jobs.Claim{Holder: "a"}); return err },
		"cancel":   func(ctx context.Context) error { return store.Cancel(ctx, "absent", "") },
		"create": func(ctx context.Context) error {
			_, err := store.Create(ctx, job("new"), strings.NewReader(manifest(2)))
			return err
		},
	}
}

func endedContext(t *testing.T, f Fixture) {
	store, j := create(t, f, "ended", 3)
	l := take(t, f, "ended", 1, "a")
	l.Doubt()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(store, l, items(t, store, j)) {
		err := call(ctx)
		wants(t, name, err, jobs.ErrUnavailable)
		wants(t, name, err, context.Canceled)
	}
}

func nowhere(t *testing.T, f Fixture) {
	store := jobs.NewStore(f.Nowhere())
	_, _, err := store.Open(ctx(t), "nightly")
	wants(t, "open", err, jobs.ErrUnavailable)
	if errors.Is(err, jobs.ErrMissing) {
		t.Errorf("a place that is not there is an empty one: %v", err)
	}
	_, err = store.Jobs(ctx(t))
	wants(t, "list", err, jobs.ErrUnavailable)
	_, err = store.Create(ctx(t), job("nightly"), strings.NewReader(manifest(2)))
	wants(t, "create", err, jobs.ErrUnavailable)
	if errors.Is(err, jobs.ErrUnsupported) {
		t.Errorf("create: %v", err)
	}
}
