package jobstest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
)

func objects(t *testing.T, f Fixture) {
	o, other := f.Open(), f.Open()
	_, err := o.Get(ctx(t), "a/b.json", jobs.Span{})
	wants(t, "an object that is not there", err, jobs.ErrMissing)
	for _, content := range []string{"first", "", "语音 \x00\n", strings.Repeat("long ", 1<<20)} {
		tag := put(t, o, "a/b.json", content)
		object, err := other.Get(ctx(t), "a/b.json", jobs.Span{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(object.Body)
		object.Body.Close()
		if err != nil || string(got) != content || object.Tag != tag || tag == "" {
			t.Errorf("%d bytes came back as %d, tag %q as %q, %v", len(content), len(got), tag, object.Tag, err)
		}
		if object.Age < 0 || object.Age > long {
			t.Errorf("it is %s old", object.Age)
		}
	}
	put(t, o, "s", "0123456789")
	for _, tt := range []struct {
		span jobs.Span
		want string
	}{{jobs.Span{Offset: 3}, "3456789"}, {jobs.Span{Offset: 3, Length: 2}, "34"}, {jobs.Span{Length: 1}, "0"}, {jobs.Span{Offset: 8, Length: 10}, "89"}, {jobs.Span{Offset: 10, Length: 5}, ""}, {jobs.Span{Offset: 100}, ""}} {
		object, err := o.Get(ctx(t), "s", tt.span)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(object.Body)
		object.Body.Close()
		if err != nil || string(got) != tt.want {
			t.Errorf("%+v is %q, %v; want %q", tt.span, got, err, tt.want)
		}
	}
	if err := o.Delete(ctx(t), []string{"a/b.json", "never/there", "s"}); err != nil {
		t.Error(err)
	}
	_, err = other.Get(ctx(t), "a/b.json", jobs.Span{})
	wants(t, "a deleted object", err, jobs.ErrMissing)
	if err := o.Delete(ctx(t), nil); err != nil {
		t.Error(err)
	}
}

func listing(t *testing.T, f Fixture) {
	o := f.Open()
	// More than one page of the store, written in no order; and neighbours that must not be listed.
	n := f.few(1150, 150)
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("room/%06d/%09d.json", i/10, i))
	}
	shuffled := slices.Clone(want)
	rand.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	var wait sync.WaitGroup
	for part := range slices.Chunk(append(shuffled, "roo", "room", "room-1/x", "rooms/x", "zoo/a/b", "alpha/a", "alpha/b", "zoo0/a"), n/8) {
		wait.Go(func() {
			for _, key := range part {
				if key != "room" { // some stores keep folders, where no object may have the name of one
					put(t, o, key, key)
				}
			}
		})
	}
	wait.Wait()
	all := func(limit int, after string) (keys []string, calls int) {
		for {
			page, err := o.List(ctx(t), "room/", after, limit)
			if err != nil {
				t.Fatal(err)
			}
			calls++
			if len(page) == 0 {
				return keys, calls
			}
			if limit > 0 && len(page) > limit || len(page) > 1000 {
				t.Fatalf("%d keys where %d are wanted", len(page), limit)
			}
			keys, after = append(keys, page...), page[len(page)-1]
		}
	}
	for _, limit := range []int{0, 64, 1000} {
		if got, _ := all(limit, ""); !slices.Equal(got, want) {
			t.Errorf("limit %d: %d keys, from %q to %q", limit, len(got), got[0], got[len(got)-1])
		}
	}
	// The place behind which to begin need not exist.
	if got, calls := all(64, fmt.Sprintf("room/%06d/%09d", (n-126)/10, n-126)); !slices.Equal(got, want[n-126:]) || calls > 4 {
		t.Errorf("%d keys in %d calls, from %q", len(got), calls, got[0])
	}
	if got, _ := all(0, want[n-1]); len(got) != 0 {
		t.Errorf("behind the end: %q", got)
	}
	var folders []string
	for after := ""; ; after = folders[len(folders)-1] {
		page, err := o.Folders(ctx(t), after)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		folders = append(folders, page...)
	}
	if want := []string{"alpha", "room", "room-1", "rooms", "zoo", "zoo0"}; !slices.Equal(folders, sorted(want)) {
		t.Errorf("folders %q, want %q", folders, want)
	}
	if err := o.Delete(ctx(t), want); err != nil {
		t.Fatal(err)
	}
	if got, _ := all(0, ""); len(got) != 0 {
		t.Errorf("%d keys outlive their deletion", len(got))
	}
}

// sorted is in the order of keys, in which a folder has a slash at its end.
func sorted(folders []string) []string {
	slices.SortFunc(folders, func(a, b string) int { return strings.Compare(a+"/", b+"/") })
	return folders
}

func conditions(t *testing.T, f Fixture) {
	o := f.Open()
	write := func(content string, when jobs.Condition) (string, error) {
		return o.Put(ctx(t), "a", strings.NewReader(content), when)
	}
	_, err := write("x", jobs.Condition{Tag: `"0123"`})
	wants(t, "replacing what is not there", err, jobs.ErrRefused)
	first, err := write("one", jobs.Condition{Absent: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = write("two", jobs.Condition{Absent: true})
	wants(t, "making what is there", err, jobs.ErrRefused)
	second, err := write("two", jobs.Condition{Tag: first})
	if err != nil || second == first {
		t.Fatalf("replacing what was read: %v", err)
	}
	_, err = write("three", jobs.Condition{Tag: first})
	wants(t, "replacing what was read before", err, jobs.ErrRefused)
	if got := get(t, o, "a"); got != "two" {
		t.Errorf("it is %q", got)
	}
}

func oneAbsent(t *testing.T, f Fixture) {
	for round := range 5 {
		key := fmt.Sprintf("contested/%d", round)
		won := race(t, func(i int) error {
			_, err := f.Open().Put(ctx(t), key, bytes.NewReader([]byte(fmt.Sprint(i))), jobs.Condition{Absent: true})
			return err
		}, jobs.ErrRefused)
		if won != 1 {
			t.Errorf("%d writers made one object", won)
		}
	}
}

func oneTag(t *testing.T, f Fixture) {
	tag := put(t, f.Open(), "head", "start")
	for range 5 {
		var mu sync.Mutex
		next := ""
		won := race(t, func(i int) error {
			written, err := f.Open().Put(ctx(t), "head", strings.NewReader(fmt.Sprint(i, time.Now().UnixNano())), jobs.Condition{Tag: tag})
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				next = written
			}
			return err
		}, jobs.ErrRefused)
		if won != 1 {
			t.Fatalf("%d writers swapped one object", won)
		}
		tag = next
	}
}
