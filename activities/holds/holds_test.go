package holds_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/holds"
)

func take(t *testing.T, dir, path string) *holds.Lease {
	t.Helper()
	l, err := holds.New(dir).Take(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLifeOfAHold(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "state"), "/models/Fun-ASR Nano"
	l := take(t, dir, path)
	if l.Hold != nil {
		t.Fatalf("got %+v", l.Hold)
	}
	if err := l.Drop(); err != nil {
		t.Errorf("drop of nothing: %v", err)
	}
	hold := holds.Hold{Path: path, Key: "key", How: "s3fs", Order: "order", Since: time.Now().UTC().Truncate(time.Second), Result: []byte("{}")}
	if err := l.Keep(hold); err != nil {
		t.Fatal(err)
	}
	private, err := l.Private()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o700 || private != l.PrivatePath() {
		t.Errorf("%s: %v, %v", private, info.Mode(), err)
	}
	l.Release()

	l = take(t, dir, path)
	if l.Hold == nil || !reflect.DeepEqual(*l.Hold, hold) {
		t.Errorf("another process found %+v, want %+v", l.Hold, hold)
	}
	if other := take(t, dir, path+"-2"); other.Hold != nil || other.PrivatePath() == private {
		t.Errorf("another path found %+v at %s", other.Hold, other.PrivatePath())
	}
	for range 2 {
		if err := l.Drop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(private); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the private directory: %v", err)
	}
	l.Release()
	if l = take(t, dir, path); l.Hold != nil {
		t.Errorf("after the drop: %+v", l.Hold)
	}
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	first := take(t, dir, "/a")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := holds.New(dir).Take(ctx, "/a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
	got := make(chan *holds.Lease)
	go func() { l, _ := holds.New(dir).Take(t.Context(), "/a"); got <- l }()
	if err := first.Keep(holds.Hold{Path: "/a", Key: "key"}); err != nil {
		t.Fatal(err)
	}
	first.Release()
	if second := <-got; second.Hold == nil || second.Hold.Key != "key" {
		t.Errorf("the second found %+v", second.Hold)
	}
}

func TestADamagedHoldIsNotTakenForNone(t *testing.T) {
	dir := t.TempDir()
	l := take(t, dir, "/a")
	l.Release()
	for _, content := range []string{"", "{", "{}", `{"path": "/b", "key": "k"}`} {
		if err := os.WriteFile(l.PrivatePath()+".json", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := holds.New(dir).Take(t.Context(), "/a"); err == nil || !strings.Contains(err.Error(), ".json") {
			t.Errorf("%q: %v, want an error that names the file", content, err)
		}
	}
}

func TestDropLeavesWhatOthersPutThere(t *testing.T) {
	dir := t.TempDir()
	outer, inner := filepath.Join(dir, "outer"), filepath.Join(dir, "outer", "inner")
	l := take(t, filepath.Join(dir, "state"), filepath.Join(inner, "x"))
	made := holds.Missing(inner)
	if want := []string{outer, inner}; !reflect.DeepEqual(made, want) {
		t.Fatalf("missing %q, want %q", made, want)
	}
	drop := func() {
		t.Helper()
		if err := errors.Join(l.Keep(holds.Hold{Path: filepath.Join(inner, "x"), Key: "key", Made: made}), l.Drop()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outer, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	drop()
	if left := holds.Missing(inner); !reflect.DeepEqual(left, []string{inner}) {
		t.Errorf("missing now: %q", left)
	}
	os.Remove(filepath.Join(outer, "mine"))
	if err := os.WriteFile(inner, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	drop()
	if content, err := os.ReadFile(inner); err != nil || string(content) != "mine" {
		t.Errorf("a file in the place of a directory: %q, %v", content, err)
	}
	os.Remove(inner)
	drop() // the inner one is gone already
	if left := holds.Missing(outer); len(left) != 1 {
		t.Error("the outer directory is left")
	}
}

func TestResolve(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "real"), 0o755), os.Symlink("real", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"real/a": "real/a", "link/a": "real/a", "link/a/b/c": "real/a/b/c", "link": "link", "real/../link/x/": "real/x", "none/a": "none/a",
	} {
		if got, err := holds.Resolve(filepath.Join(dir, path)); err != nil || got != filepath.Join(dir, want) {
			t.Errorf("%s: %q, %v; want %s", path, got, err, want)
		}
	}
	for _, bad := range []string{"", "a/b", "/", "/..", "/a\nb", "/a\x00b"} {
		if got, err := holds.Resolve(bad); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func TestAFileThatTakesTheNumberOfAnotherIsAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	seen := map[string]bool{}
	for range 20 {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		identity := holds.Identify(path)
		if seen[identity] || identity == "" {
			t.Fatalf("%s was seen before", identity)
		}
		seen[identity] = true
		os.Remove(path)
		time.Sleep(20 * time.Millisecond) // the clock of file systems ticks every few milliseconds
	}
}

func TestPlace(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	fill := func(name string) {
		t.Helper()
		if err := errors.Join(os.Mkdir(at(name), 0o755), os.WriteFile(filepath.Join(at(name), name), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	fill("one")
	fill("two")
	identity := holds.Identify(at("one"))
	if err := holds.Place(at("one"), at("path")); err != nil {
		t.Fatal(err)
	}
	if got := holds.Identify(at("path")); got != identity || got == "" || got == holds.Identify(at("two")) {
		t.Errorf("identity %q became %q", identity, got)
	}
	if holds.Identify(at("one")) != "" {
		t.Error("nothing has an identity")
	}
	if err := holds.Place(at("two"), at("path")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("onto a full directory: %v, want ErrExist", err)
	}
	if err := os.Mkdir(at("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := holds.Place(at("two"), at("empty")); err != nil || holds.Identify(filepath.Join(at("empty"), "two")) == "" {
		t.Errorf("onto an empty directory: %v", err)
	}
	if err := os.WriteFile(at("file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, taken := range []string{"path", "file"} {
		if err := holds.Place(at("new"), at(taken)); !errors.Is(err, fs.ErrExist) || holds.Identify(at(taken)) == "" || holds.Identify(at("new")) == "" {
			t.Errorf("a file onto %s: %v, want ErrExist", taken, err)
		}
	}
}
