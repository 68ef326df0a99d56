package lastknown_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/lastknown"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)

func put(t *testing.T, s *lastknown.Shelf, name, content string, at time.Time) {
	t.Helper()
	if err := s.Put(name, lastknown.Copy{Content: []byte(content), At: at}); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, s *lastknown.Shelf, name, content string, at time.Time) {
	t.Helper()
	c, ok := s.Get(name)
	if !ok || string(c.Content) != content || !c.At.Equal(at) {
		t.Errorf("%s: got %q of %v, %v; want %q of %v", name, c.Content, c.At, ok, content, at)
	}
}

func TestCopiesSurviveTheProcess(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "not", "there", "yet")} {
		shelf := lastknown.New(dir)
		if _, ok := shelf.Get("../a/b"); ok {
			t.Error("an empty shelf has a copy")
		}
		put(t, shelf, "../a/b", "first", noon)
		put(t, shelf, "empty", "", noon)
		put(t, shelf, "../a/b", "second\nline", noon.Add(time.Hour))
		put(t, shelf, "../a/b", "second\nline", noon.Add(2*time.Hour)) // the same content at a later time
		shelves := []*lastknown.Shelf{shelf}
		if dir != "" {
			shelves = append(shelves, lastknown.New(dir))
		}
		for _, s := range shelves {
			expect(t, s, "../a/b", "second\nline", noon.Add(2*time.Hour))
			expect(t, s, "empty", "", noon)
		}
	}
}

func TestAnAnswerThatWasOvertakenIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	shelf := lastknown.New(dir)
	put(t, shelf, "a", "new", noon)
	put(t, shelf, "a", "old", noon.Add(-time.Second))
	expect(t, shelf, "a", "new", noon)

	// After a restart any answer is newer than what is on disk, whatever the clock said when that was written.
	next := lastknown.New(dir)
	put(t, next, "a", "newest", noon.Add(-time.Hour))
	expect(t, next, "a", "newest", noon.Add(-time.Hour))
	expect(t, lastknown.New(dir), "a", "newest", noon.Add(-time.Hour))
}

func TestADamagedCopyCountsAsNone(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)-1] },
		"longer":  func(b []byte) []byte { return append(b, 'x') },
		"flipped": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"empty":   func([]byte) []byte { return nil },
		"foreign": func([]byte) []byte { return []byte("content") },
	} {
		dir := t.TempDir()
		put(t, lastknown.New(dir), "a", "content", noon)
		paths, _ := filepath.Glob(filepath.Join(dir, "*"))
		if len(paths) != 1 {
			t.Fatalf("files: %v", paths)
		}
		if info, _ := os.Stat(paths[0]); info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		content, err := os.ReadFile(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(paths[0], damage(content), 0o600); err != nil {
			t.Fatal(err)
		}
		shelf := lastknown.New(dir)
		if c, ok := shelf.Get("a"); ok {
			t.Errorf("%s: handed out %q", name, c.Content)
		}
		put(t, shelf, "a", "content", noon)
		expect(t, lastknown.New(dir), "a", "content", noon)
	}
}

func TestACopyThatSomebodyRemovedIsWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	shelf := lastknown.New(dir)
	put(t, shelf, "a", "content", noon)
	paths, _ := filepath.Glob(filepath.Join(dir, "*"))
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	put(t, shelf, "a", "content", noon)
	expect(t, lastknown.New(dir), "a", "content", noon)
}

func TestADiskThatCannotBeWrittenStillLeavesTheMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shelf := lastknown.New(filepath.Join(file, "below"))
	for range 2 {
		if err := shelf.Put("a", lastknown.Copy{Content: []byte("content"), At: noon}); err == nil {
			t.Error("no error")
		}
		expect(t, shelf, "a", "content", noon)
	}
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	shelves := []*lastknown.Shelf{lastknown.New(dir), lastknown.New(dir)}
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for n := range 10 {
				name, shelf := fmt.Sprint("name-", n%3), shelves[i%2]
				put(t, shelf, name, string(bytes.Repeat([]byte{byte('a' + i)}, 1000*(n+1))), time.Now())
				if c, ok := shelf.Get(name); !ok || bytes.Count(c.Content, c.Content[:1]) != len(c.Content) {
					t.Error("a mixed copy")
				}
			}
		})
	}
	group.Wait()
	for n := range 3 {
		if c, ok := lastknown.New(dir).Get(fmt.Sprint("name-", n)); !ok || bytes.Count(c.Content, c.Content[:1]) != len(c.Content) {
			t.Error("a mixed copy on disk")
		}
	}
}
