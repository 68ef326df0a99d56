package jobstest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
)

func claims(t *testing.T, f Fixture) {
	store, _ := create(t, f, "claimed", 3)
	head := func() jobs.Head {
		t.Helper()
		_, h, err := store.Open(ctx(t), "claimed")
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for _, step := range []struct {
		name  string
		claim jobs.Claim
		held  bool
		epoch int64
	}{
		{"new", jobs.Claim{Holder: "a", Epoch: 7}, false, 7},
		{"somebody else at the same epoch", jobs.Claim{Holder: "b", Epoch: 7}, true, 7},
		{"somebody else at whatever epoch", jobs.Claim{Holder: "b"}, true, 7},
		{"an older epoch", jobs.Claim{Holder: "a", Epoch: 6, Takeover: true}, true, 7},
		{"the same one, back after a crash", jobs.Claim{Holder: "a", Epoch: 7}, false, 7},
		{"a newer epoch", jobs.Claim{Holder: "b", Epoch: 8}, false, 8},
		{"the old one, back", jobs.Claim{Holder: "a", Epoch: 7}, true, 8},
		{"a person's decision", jobs.Claim{Holder: "c", Takeover: true}, false, 8},
		{"a jump", jobs.Claim{Holder: "d", Epoch: 1_900_000_000}, false, 1_900_000_000},
	} {
		l, err := jobs.NewStore(f.Open()).Take(ctx(t), "claimed", step.claim)
		if step.held {
			wants(t, step.name, err, jobs.ErrHeld)
			var held *jobs.HeldError
			if errors.As(err, &held) && held.Head.Holder == "" {
				t.Errorf("%s: nobody holds it", step.name)
			}
		} else if err != nil || l.Head().Epoch != step.epoch {
			t.Fatalf("%s: %v", step.name, err)
		}
		if h := head(); h.Epoch != step.epoch || h.State != jobs.Running {
			t.Errorf("%s: the head is %+v", step.name, h)
		}
	}
	// A holder who is silent for longer than the patience is taken for dead.
	patient := jobs.Claim{Holder: "e", Patience: time.Second}
	var err error
	for deadline := time.Now().Add(long); time.Now().Before(deadline); {
		if _, err = store.Take(ctx(t), "claimed", patient); !errors.Is(err, jobs.ErrHeld) {
			break
		}
	}
	if err != nil || head().Holder != "e" {
		t.Errorf("after its patience: %v, held by %s", err, head().Holder)
	}
	// In good order nobody has to wait.
	l, err := store.Take(ctx(t), "claimed", jobs.Claim{Holder: "e"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(ctx(t), "its service recovers", func(*jobs.Head) {}); err != nil {
		t.Fatal(err)
	}
	if h := head(); h.State != jobs.Waiting || h.Reason != "its service recovers" {
		t.Errorf("released: %+v", h)
	}
	if _, err := store.Take(ctx(t), "claimed", jobs.Claim{Holder: "f"}); err != nil {
		t.Error(err)
	}
	for _, bad := range []jobs.Claim{{}, {Holder: "a", Epoch: -1}} {
		_, err := store.Take(ctx(t), "claimed", bad)
		wants(t, "a claim that is none", err, jobs.ErrInvalid)
	}
}

func manyClaims(t *testing.T, f Fixture) {
	create(t, f, "contested", 3)
	for epoch := int64(1); epoch <= 3; epoch++ {
		won := race(t, func(i int) error {
			_, err := jobs.NewStore(f.Open()).Take(ctx(t), "contested", jobs.Claim{Holder: fmt.Sprint("runner-", i), Epoch: epoch})
			return err
		}, jobs.ErrHeld)
		if won != 1 {
			t.Errorf("%d runners have the job at epoch %d", won, epoch)
		}
	}
}

// oldEpoch: a runner whose job was taken is refused on each path, and nothing changes.
func oldEpoch(t *testing.T, f Fixture) {
	path := 0
	for name, write := range map[string]func(l *jobs.Lease, v jobs.Variant, all []jobs.Item) error{
		"a result": func(l *jobs.Lease, v jobs.Variant, all []jobs.Item) error {
			return l.PutResult(ctx(t), v, all[0], result(l, all[0], "x"))
		},
		"a failure": func(l *jobs.Lease, v jobs.Variant, all []jobs.Item) error {
			return l.PutFailure(ctx(t), v, all[0], failure(l, all[0], "refused"))
		},
		"a quarantine": func(l *jobs.Lease, v jobs.Variant, all []jobs.Item) error {
			return l.PutFailure(ctx(t), v, all[0], failure(l, all[0], "quarantined"))
		},
		"an attempt":          func(l *jobs.Lease, v jobs.Variant, _ []jobs.Item) error { return l.BeginAttempt(ctx(t), v, 0, 1, "") },
		"an attempt's end":    func(l *jobs.Lease, v jobs.Variant, _ []jobs.Item) error { return l.EndAttempt(ctx(t), v, 1, 1, "died") },
		"an attempt's return": func(l *jobs.Lease, v jobs.Variant, _ []jobs.Item) error { return l.DropAttempt(ctx(t), v, 1, 1) },
		"the head": func(l *jobs.Lease, _ jobs.Variant, _ []jobs.Item) error {
			return l.Advance(ctx(t), func(h *jobs.Head) { h.Failed = 9 })
		},
		"the end": func(l *jobs.Lease, _ jobs.Variant, _ []jobs.Item) error {
			return l.Release(ctx(t), "", func(*jobs.Head) {})
		},
	} {
		path++
		id := fmt.Sprint("taken-", path)
		store, j := create(t, f, id, 3)
		old := take(t, f, id, 1, "old")
		v := old.Head().Current()
		if err := old.BeginAttempt(ctx(t), v, 1, 1, ""); err != nil {
			t.Fatal(err)
		}
		young := take(t, f, id, 2, "young")
		before := contents(t, f, id+"/")
		old.Doubt()
		err := write(old, v, items(t, store, j))
		wants(t, name, err, jobs.ErrHeld)
		if err == nil || !strings.Contains(err.Error(), "young") || !strings.Contains(err.Error(), "epoch 2") {
			t.Errorf("%s: %v does not say who has the job", name, err)
		}
		if after := contents(t, f, id+"/"); after != before {
			t.Errorf("%s was written:\n%s\nbefore:\n%s", name, after, before)
		}
		wants(t, name+" again", write(old, v, items(t, store, j)), jobs.ErrHeld)
		if err := young.Advance(ctx(t), func(*jobs.Head) {}); err != nil {
			t.Errorf("the new one: %v", err)
		}
	}
}

// oldWakes: a runner that slept for long asks by itself before it writes.
func oldWakes(t *testing.T, f Fixture) {
	store, j := create(t, f, "slept", 3)
	all := items(t, store, j)
	old := take(t, f, "slept", 1, "old")
	young := take(t, f, "slept", 2, "young")
	done(t, young, all, 0, 2)
	written := get(t, f.Open(), resultKey(young, 0))
	deadline := time.Now().Add(long)
	for i := 0; ; i++ {
		// Awake too early, it changes nothing that is there either.
		err := old.PutResult(ctx(t), old.Head().Current(), all[0], result(old, all[0], "another text"))
		if errors.Is(err, jobs.ErrHeld) {
			break
		}
		if !errors.Is(err, jobs.ErrExists) || time.Now().After(deadline) {
			t.Fatalf("try %d: %v", i, err)
		}
	}
	if got := get(t, f.Open(), resultKey(young, 0)); got != written {
		t.Errorf("the result became %s", got)
	}
	err := old.Advance(ctx(t), func(h *jobs.Head) { h.Window.Item = 3 })
	wants(t, "its head", err, jobs.ErrHeld)
}

// contents are all objects with a prefix.
func contents(t *testing.T, f Fixture, prefix string) string {
	t.Helper()
	var all strings.Builder
	o := f.Open()
	for after := ""; ; {
		page, err := o.List(ctx(t), prefix, after, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return all.String()
		}
		for _, key := range page {
			all.WriteString(key + " " + get(t, o, key) + "\n")
		}
		after = page[len(page)-1]
	}
}

func resultKey(l *jobs.Lease, item int64) string {
	return fmt.Sprintf("%s/results/%s/%06d/%09d.json", l.Job().ID, l.Head().Current().ID, item/1000, item)
}
