package jobstest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-dr/understudy/activities/jobs"
)

func oneResult(t *testing.T, f Fixture) {
	store, j := create(t, f, "once", 3)
	l := take(t, f, "once", 1, "a")
	v := l.Head().Current()
	all := items(t, store, j)
	_, err := store.Result(ctx(t), j, v, all[1])
	wants(t, "no result yet", err, jobs.ErrMissing)
	first := result(l, all[1], "first")
	if err := l.PutResult(ctx(t), v, all[1], first); err != nil {
		t.Fatal(err)
	}
	if err := l.PutResult(ctx(t), v, all[1], first); err != nil {
		t.Errorf("the same again: %v", err)
	}
	second := result(l, all[1], "second")
	second.At = second.At.Add(1)
	wants(t, "another one", l.PutResult(ctx(t), v, all[1], second), jobs.ErrExists)
	got, err := jobs.NewStore(f.Open()).Result(ctx(t), j, v, all[1])
	if err != nil || *got.Response.Body.Text != "first" {
		t.Errorf("%+v, %v", got, err)
	}
	// Another model's results have keys of their own.
	other := j.Variant("2511.0")
	if other.ID == v.ID {
		t.Error("two revisions have one variant")
	}
	_, err = store.Result(ctx(t), j, other, all[1])
	wants(t, "the result of another model", err, jobs.ErrMissing)
	won := race(t, func(i int) error {
		r := result(l, all[2], fmt.Sprint("text ", i))
		r.Session = fmt.Sprint("runner-", i)
		return l.PutResult(ctx(t), v, all[2], r)
	}, jobs.ErrExists)
	if won != 1 {
		t.Errorf("%d results were first", won)
	}
}

func tornResults(t *testing.T, f Fixture) {
	store, j := create(t, f, "torn", 3)
	l := take(t, f, "torn", 1, "a")
	v := l.Head().Current()
	item := items(t, store, j)[1]
	o := f.Open()
	if err := l.PutResult(ctx(t), v, item, result(l, item, "语音")); err != nil {
		t.Fatal(err)
	}
	sound := get(t, o, resultKey(l, 1))
	for _, content := range []string{
		"", "{", "null", "[]", sound[:len(sound)/2], sound + sound, sound + "x",
		strings.Replace(sound, `"job":"torn"`, `"job":"other"`, 1),
		strings.Replace(sound, `"item":1`, `"item":2`, 1),
		strings.Replace(sound, `"custom_id":"000000001"`, `"custom_id":"000000002"`, 1),
		strings.Replace(sound, "1.wav", "2.wav", 1),
		strings.Replace(sound, "2512.1", "2511.0", 1),
		strings.Replace(sound, `"status_code":200`, `"status_code":500`, 1),
		strings.Replace(sound, `"text":"语音"`, `"text":null`, 1),
		strings.Replace(sound, `"error":null`, `"error":{"code":"x"}`, 1),
	} {
		if content == sound {
			t.Fatal("nothing was replaced")
		}
		put(t, o, resultKey(l, 1), content)
		_, err := store.Result(ctx(t), j, v, item)
		wants(t, content, err, jobs.ErrTorn)
		if err != nil && !strings.Contains(err.Error(), resultKey(l, 1)) {
			t.Errorf("%v does not name the object", err)
		}
		wants(t, "a result over "+content, l.PutResult(ctx(t), v, item, result(l, item, "ours")), jobs.ErrTorn)
		if got := get(t, o, resultKey(l, 1)); got != content {
			t.Errorf("%q became %q", content, got)
		}
	}
}

func outcomes(t *testing.T, f Fixture) {
	const n = 2100
	store, j := create(t, f, "outcomes", n)
	l := take(t, f, "outcomes", 1, "a")
	v := l.Head().Current()
	all := items(t, store, j)
	o := f.Open()
	first := int64(f.few(0, 1980)) // of the items that have a result
	var wait sync.WaitGroup
	gate := make(chan struct{}, 16)
	for _, item := range all {
		if item.Index%7 == 3 || item.Index == 1000 || item.Index < first {
			continue
		}
		gate <- struct{}{}
		wait.Go(func() {
			defer func() { <-gate }()
			if err := l.PutResult(ctx(t), v, item, result(l, item, "x")); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for n := range 3 {
		if err := l.BeginAttempt(ctx(t), v, 1000, n+1, ""); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, "an attempt's number that is taken", l.BeginAttempt(ctx(t), v, 1000, 2, ""), jobs.ErrExists)
	for _, err := range []error{
		l.EndAttempt(ctx(t), v, 1000, 2, "the server died"),
		l.DropAttempt(ctx(t), v, 1000, 3),
		l.PutFailure(ctx(t), v, all[1000], failure(l, all[1000], jobs.CodeQuarantined)),
		l.PutFailure(ctx(t), v, all[1000], failure(l, all[1000], jobs.CodeQuarantined)),
		l.PutFailure(ctx(t), v, all[3], failure(l, all[3], jobs.CodeRefused)),
		l.PutFailure(ctx(t), v, all[1999], failure(l, all[1999], jobs.CodeRefused)), // it has a result
	} {
		if err != nil {
			t.Error(err)
		}
	}
	// What no runner writes is no outcome.
	for _, key := range []string{"000000/000000010.json.tmp", "000000/000000010", "000001/000000010.json", "000000/abc.json", "000000/-00000010.json", "x"} {
		put(t, o, fmt.Sprintf("outcomes/results/%s/%s", v.ID, key), "x")
	}
	h := l.Head()
	for _, span := range [][2]int64{{0, n}, {0, 64}, {990, 1010}, {999, 1001}, {1990, 2010}, {2048, n}, {5, 5}} {
		got, err := store.Outcomes(ctx(t), j, h, span[0], span[1])
		if err != nil {
			t.Fatal(err)
		}
		for item := range got {
			if item < span[0] || item >= span[1] {
				t.Errorf("%v: item %d", span, item)
			}
		}
		for item := span[0]; item < span[1]; item++ {
			out := got[item]
			wantResult := item%7 != 3 && item != 1000 && item >= first
			wantFailed, wantQuarantined, wantAttempts := item == 3 || item == 1999, item == 1000, 0
			if item == 1000 {
				wantAttempts = 2
			}
			if (out.Variant == v.ID) != wantResult || out.Failed != wantFailed || out.Quarantined != wantQuarantined || out.Attempts != wantAttempts {
				t.Errorf("%v: item %d is %+v", span, item, out)
			}
		}
	}
	// Results of two models count together where the head says so, attempts too.
	both := h
	both.Variants = []jobs.Variant{j.Variant("2511.0"), v}
	if err := l.BeginAttempt(ctx(t), both.Variants[0], 1000, 1, ""); err != nil {
		t.Fatal(err)
	}
	if err := l.PutResult(ctx(t), both.Variants[0], all[10], oldResult(l, all[10])); err != nil {
		t.Fatal(err)
	}
	got, err := store.Outcomes(ctx(t), j, both, 0, n)
	if err != nil || got[1000].Attempts != 3 || got[10].Variant != both.Variants[0].ID || got[2011].Variant != v.ID {
		t.Errorf("%+v, %+v, %+v, %v", got[1000], got[10], got[2011], err)
	}
}

func oldResult(l *jobs.Lease, item jobs.Item) jobs.Result {
	r := result(l, item, "old")
	r.Revision = "2511.0"
	return r
}

// ignored drops the conditions from writes.
type ignored struct {
	jobs.Objects
	absent, tag func() bool
}

func ignoring(t *testing.T, f Fixture) {
	yes, no := func() bool { return true }, func() bool { return false }
	for name, o := range map[string]ignored{"both": {f.Open(), yes, yes}, "If-Match": {f.Open(), no, yes}, "If-None-Match": {f.Open(), yes, no}} {
		_, err := jobs.NewStore(o).Create(ctx(t), job("unsafe"), strings.NewReader(manifest(3)))
		wants(t, name, err, jobs.ErrUnsupported)
		if errors.Is(err, jobs.ErrUnavailable) {
			t.Errorf("%s: %v also says that it may be tried again", name, err)
		}
		if all, err := jobs.NewStore(f.Open()).Jobs(ctx(t)); err != nil || len(all) != 0 {
			t.Errorf("%s: something was created: %v, %v", name, all, err)
		}
		create(t, f, "safe", 3)
		_, err = jobs.NewStore(o).Take(ctx(t), "safe", jobs.Claim{Holder: "a"})
		wants(t, name+", taking", err, jobs.ErrUnsupported)
		if _, h, err := jobs.NewStore(f.Open()).Open(ctx(t), "safe"); err != nil || h.State != jobs.Waiting {
			t.Errorf("%s: it was taken: %+v, %v", name, h, err)
		}
		if err := jobs.NewStore(f.Open()).Delete(ctx(t), "safe", ""); err != nil {
			t.Fatal(err)
		}
	}
}
