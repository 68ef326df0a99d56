// Package reportstest is the conformance suite of report stores. Every
// implementation passes it against the real component.
package reportstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-dr/understudy/activities/reports"
)

// Run runs the suite. open returns an empty store, and each time it is called
// for one test it returns another one on the same reports.
func Run(t *testing.T, newOpen func(t *testing.T) (open func() reports.Store)) {
	for name, test := range map[string]func(*testing.T, func() reports.Store){
		"write, read, replace": life,
		"created once":         creating,
		"contents":             contents,
		"list":                 list,
		"names that are none":  hostileNames,
		"many pages":           manyPages,
		"replaced as a whole":  replacing,
		"ended context":        endedContext,
	} {
		t.Run(name, func(t *testing.T) { test(t, newOpen(t)) })
	}
}

func life(t *testing.T, open func() reports.Store) {
	const name = "fun-asr/7.json"
	if got, err := open().Read(t.Context(), name); !errors.Is(err, reports.ErrNone) || got != nil {
		t.Fatalf("an empty store: %q, %v; want ErrNone", got, err)
	}
	for _, content := range []string{`{"outcome":"recovered"}`, `{"outcome":"recovered","longer":true}`, "short", "short"} {
		mustWrite(t, open(), name, []byte(content))
		if got, err := open().Read(t.Context(), name); err != nil || string(got) != content {
			t.Fatalf("got %q, %v; want %q", got, err, content)
		}
	}
	for _, other := range []string{"fun-asr/7.jso", "fun-asr/7.json.md", "fun-asr", "fun-asr/7.json/below", "7.json"} {
		if got, err := open().Read(t.Context(), other); !errors.Is(err, reports.ErrNone) {
			t.Errorf("%s: %q, %v; want ErrNone", other, got, err)
		}
	}
}

func creating(t *testing.T, open func() reports.Store) {
	const name = "fun-asr/chain/1.txt"
	var winners sync.Map
	var group sync.WaitGroup
	for i := range 8 {
		store := open()
		group.Go(func() {
			content := fmt.Sprint("by ", i)
			switch err := store.Create(t.Context(), name, []byte(content)); {
			case err == nil:
				winners.Store(content, true)
			case !errors.Is(err, reports.ErrExists):
				t.Errorf("%d: %v, want ErrExists", i, err)
			}
		})
	}
	group.Wait()
	var won []string
	winners.Range(func(content, _ any) bool { won = append(won, content.(string)); return true })
	got, err := open().Read(t.Context(), name)
	if err != nil || len(won) != 1 || string(got) != won[0] {
		t.Fatalf("%d have won (%q), and it holds %q, %v", len(won), won, got, err)
	}
	if err := open().Create(t.Context(), name, []byte("late")); !errors.Is(err, reports.ErrExists) {
		t.Errorf("again: %v", err)
	}
	mustWrite(t, open(), "a/written", []byte("x"))
	if err := open().Create(t.Context(), "a/written", []byte("y")); !errors.Is(err, reports.ErrExists) {
		t.Errorf("over one that was written: %v", err)
	}
	if err := open().Create(t.Context(), "../x", []byte("x")); !errors.Is(err, reports.ErrName) {
		t.Errorf("a name that is none: %v", err)
	}
	if names, err := open().List(t.Context(), ""); err != nil || !slices.Equal(names, []string{"a/written", name}) {
		t.Errorf("listed %q, %v", names, err)
	}
}

func contents(t *testing.T, open func() reports.Store) {
	for name, content := range map[string][]byte{
		"empty":        {},
		"binary":       {0, 1, 0xff, '\n', '\r', 0},
		"unicode.md":   []byte("# 恢复 😀\r\n"),
		"largest.json": bytes.Repeat([]byte("0123456789abcdef"), reports.MaxSize/16),
	} {
		mustWrite(t, open(), name, content)
		if got, err := open().Read(t.Context(), name); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(content))
		}
	}
	if err := open().Write(t.Context(), "larger", make([]byte, reports.MaxSize+1)); err == nil {
		t.Error("a report that is too large was kept")
	}
	if _, err := open().Read(t.Context(), "larger"); !errors.Is(err, reports.ErrNone) {
		t.Errorf("a part of it was kept: %v", err)
	}
}

func list(t *testing.T, open func() reports.Store) {
	all := []string{
		"fun-asr-2/1.json", "fun-asr/10.json", "fun-asr/7.json", "fun-asr/7.md", "fun-asr/drill/3.json", "fun-asr/drill/deep/er/x",
		"fun-asr.txt", "sambert/1.json", "A", "0", "a_b", "a-b/c", "a.b",
	}
	slices.Sort(all)
	if got, err := open().List(t.Context(), ""); err != nil || len(got) != 0 {
		t.Fatalf("an empty store: %q, %v", got, err)
	}
	for i := range all {
		mustWrite(t, open(), all[(i*5)%len(all)], []byte("x")) // in some other order
	}
	for _, prefix := range []string{
		"", "fun-asr", "fun-asr/", "fun-asr/7", "fun-asr/7.json", "fun-asr/7.json/", "fun-asr/d", "fun-asr/drill/", "fun-asr/drill/de", "a", "z", "none/below",
		"/", "..", "../", "fun-asr/..", "fun-asr/../", "fun-asr/../sambert/", "./", ".", "fun-asr//", "\x00", "fun-asr/\n", "*", "fun-asr/?",
	} {
		var want []string
		for _, name := range all {
			if strings.HasPrefix(name, prefix) {
				want = append(want, name)
			}
		}
		if got, err := open().List(t.Context(), prefix); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v; want %q", prefix, got, err, want)
		}
	}
}

func hostileNames(t *testing.T, open func() reports.Store) {
	for _, name := range []string{
		"", "/", ".", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "a//b", "a/", "./a", "a/./b", ".hidden", "a/.hidden", "a b", "a\nb", "a\x00b", "语音",
		"a\\b", "a%2e", "C:x", "-a", strings.Repeat("a", 201), strings.Repeat("a/", 300) + "a",
	} {
		if err := open().Write(t.Context(), name, []byte("x")); !errors.Is(err, reports.ErrName) {
			t.Errorf("write %q: %v, want ErrName", name, err)
		}
		if got, err := open().Read(t.Context(), name); !errors.Is(err, reports.ErrName) || got != nil {
			t.Errorf("read %q: %q, %v; want ErrName", name, got, err)
		}
	}
	if got, err := open().List(t.Context(), ""); err != nil || len(got) != 0 {
		t.Errorf("something was written: %q, %v", got, err)
	}
}

func manyPages(t *testing.T, open func() reports.Store) {
	const many = 1100 // S3 lists 1,000 at a time
	store := open()
	var want []string
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := worker; i < many; i += 8 {
				mustWrite(t, store, fmt.Sprintf("many/%d", i), []byte("x"))
			}
		})
	}
	group.Wait()
	for i := range many {
		want = append(want, fmt.Sprintf("many/%d", i))
	}
	slices.Sort(want)
	if got, err := store.List(t.Context(), "many/"); err != nil || !slices.Equal(got, want) {
		t.Errorf("listed %d of %d, %v", len(got), many, err)
	}
}

func replacing(t *testing.T, open func() reports.Store) {
	const name = "fun-asr/7.json"
	versions := [][]byte{bytes.Repeat([]byte("a"), 200_000), bytes.Repeat([]byte("b"), 100_000), bytes.Repeat([]byte("c"), 150_000)}
	mustWrite(t, open(), name, versions[0])
	var writers sync.WaitGroup
	for _, content := range versions {
		store := open()
		writers.Go(func() {
			for range 10 {
				mustWrite(t, store, name, content)
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	store := open()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		got, err := store.Read(t.Context(), name)
		if err != nil || !slices.ContainsFunc(versions, func(v []byte) bool { return bytes.Equal(v, got) }) {
			t.Fatalf("read a mixture of %d bytes, %v", len(got), err)
		}
		if names, err := store.List(t.Context(), ""); err != nil || !slices.Equal(names, []string{name}) {
			t.Fatalf("listed %q, %v", names, err)
		}
	}
}

func endedContext(t *testing.T, open func() reports.Store) {
	mustWrite(t, open(), "a", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open().Write(ctx, "a", []byte("y")); !errors.Is(err, context.Canceled) {
		t.Errorf("write: %v", err)
	}
	if _, err := open().Read(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	if _, err := open().List(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("list: %v", err)
	}
	if got, err := open().Read(t.Context(), "a"); err != nil || string(got) != "x" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

func mustWrite(t *testing.T, s reports.Store, name string, content []byte) {
	t.Helper()
	if err := s.Write(t.Context(), name, content); err != nil {
		t.Errorf("write %s: %v", name, err)
	}
}
