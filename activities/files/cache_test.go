package files_test

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

	"github.com/understudy-dr/understudy/activities/files"
)

const ref = "s3://models/canary/digits.wav"

// source answers as it is told.
type source struct {
	mu      sync.Mutex
	content string
	err     error
	asked   int
	// hold is closed when the source may answer; nil means at once.
	hold chan struct{}
}

func (s *source) Read(ctx context.Context, ref string) ([]byte, error) {
	s.mu.Lock()
	s.asked++
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", files.ErrUnavailable, ctx.Err())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return []byte(s.content), nil
}

func (s *source) answer(content string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content, s.err, s.hold = content, err, nil
}

func (s *source) hang() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := make(chan struct{})
	s.hold = hold
	return func() { close(hold) }
}

func (s *source) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newCache returns a cache that waits for its source as long as a busy machine needs.
func newCache(s *source, dir string) (*files.Cache, *clock) { return impatient(s, dir, time.Minute) }

func impatient(s *source, dir string, patience time.Duration) (*files.Cache, *clock) {
	c := &clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	return files.NewCache(files.CacheConfig{Opener: s, Dir: dir, Patience: patience, Now: c.Now}), c
}

// get checks content and LastKnown, and returns the reading.
func get(t *testing.T, c *files.Cache, content string, lastKnown bool) files.Reading {
	t.Helper()
	got, err := c.Get(t.Context(), ref)
	if err != nil || string(got.Content) != content || got.LastKnown != lastKnown || lastKnown && got.Problem == "" {
		t.Errorf("got %q, last known %v (%s), %v; want %q, %v", got.Content, got.LastKnown, got.Problem, err, content, lastKnown)
	}
	return got
}

func TestASourceIsAskedOnceInAWhile(t *testing.T) {
	s := &source{content: "first"}
	c, clock := newCache(s, t.TempDir())
	for range 5 {
		get(t, c, "first", false)
		s.answer("second", nil)
	}
	clock.pass(files.DefaultEvery - 1)
	get(t, c, "first", false)
	if s.times() != 1 {
		t.Errorf("asked %d times", s.times())
	}
	clock.pass(1)
	if got := get(t, c, "second", false); !got.At.Equal(clock.Now()) {
		t.Errorf("read at %v, told %v", clock.Now(), got.At)
	}
	if content, err := c.Read(t.Context(), ref); err != nil || string(content) != "second" {
		t.Errorf("%q, %v", content, err)
	}
}

func TestASourceThatFails(t *testing.T) {
	for name, problem := range map[string]error{"away": files.ErrUnavailable, "missing": files.ErrMissing, "too large": files.ErrTooLarge} {
		t.Run(name, func(t *testing.T) {
			s, dir := &source{err: problem}, t.TempDir()
			c, clock := newCache(s, dir)
			if got, err := c.Get(t.Context(), ref); !errors.Is(err, problem) || got.Content != nil {
				t.Fatalf("nothing was kept: %q, %v", got.Content, err)
			}
			s.answer("good", nil) // what failed is asked again at once
			good := get(t, c, "good", false)
			s.answer("", problem)
			clock.pass(time.Hour)
			for range 3 {
				got := get(t, c, "good", true)
				if !got.At.Equal(good.At) || !strings.Contains(got.Problem, problem.Error()) {
					t.Errorf("at %v, %s", got.At, got.Problem)
				}
			}
			if s.times() != 3 {
				t.Errorf("asked %d times; a dead source is asked once in a while, too", s.times())
			}
			next, _ := newCache(s, dir)
			if got := get(t, next, "good", true); !got.At.Equal(good.At) {
				t.Errorf("after a restart: at %v, want %v", got.At, good.At)
			}
			s.answer("better", nil)
			clock.pass(time.Hour)
			get(t, c, "better", false)
		})
	}
}

func TestASourceThatHangs(t *testing.T) {
	s := &source{content: "good"}
	c, clock := impatient(s, t.TempDir(), 20*time.Millisecond)
	get(t, c, "good", false) // the first time there is nothing else, so it waits
	release := s.hang()
	clock.pass(time.Hour)
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() { get(t, c, "good", true) })
	}
	readers.Wait()
	get(t, c, "good", true)
	if s.times() != 2 {
		t.Errorf("asked %d times while it hangs", s.times())
	}
	s.mu.Lock()
	s.content, s.hold = "late", nil
	s.mu.Unlock()
	release()
	// The answer that nobody waits for any more is kept all the same.
	for {
		got, err := c.Get(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		if string(got.Content) == "late" && !got.LastKnown {
			break
		}
	}
	if s.times() != 2 {
		t.Errorf("asked %d times", s.times())
	}
}

func TestWithoutACopyTheCallerDecidesHowLongToWait(t *testing.T) {
	s := &source{content: "good"}
	release := s.hang()
	c, _ := newCache(s, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := c.Get(ctx, ref); !errors.Is(err, files.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || got.Content != nil {
		t.Errorf("got %q, %v", got.Content, err)
	}
	release()
	get(t, c, "good", false)
	if s.times() != 1 {
		t.Errorf("asked %d times", s.times())
	}
}

func TestADamagedCopyIsNone(t *testing.T) {
	s, dir := &source{content: "good"}, t.TempDir()
	c, _ := newCache(s, dir)
	get(t, c, "good", false)
	paths, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(paths) != 1 || os.Truncate(paths[0], 30) != nil {
		t.Fatalf("files: %v", paths)
	}
	s.answer("", files.ErrUnavailable)
	next, _ := newCache(s, dir)
	if got, err := next.Get(t.Context(), ref); !errors.Is(err, files.ErrUnavailable) {
		t.Errorf("got %q, %v", got.Content, err)
	}
}

func TestADiskThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &source{content: "good"}
	c, clock := newCache(s, file)
	if got := get(t, c, "good", false); got.Problem == "" {
		t.Error("the problem is not told")
	}
	s.answer("", files.ErrUnavailable)
	clock.pass(time.Hour)
	get(t, c, "good", true)
}

func TestPathsAreReadDirectly(t *testing.T) {
	s := &source{content: "first"}
	c, _ := newCache(s, t.TempDir())
	for i, content := range []string{"first", "second"} {
		s.answer(content, nil)
		for _, path := range []string{"/models/digits.wav", "file:///models/digits.wav"} {
			if got, err := c.Read(t.Context(), path); err != nil || string(got) != content {
				t.Errorf("%d: got %q, %v", i, got, err)
			}
		}
	}
	s.answer("", files.ErrUnavailable)
	if got, err := c.Read(t.Context(), "/models/digits.wav"); !errors.Is(err, files.ErrUnavailable) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWarm(t *testing.T) {
	s, dir := &source{content: "good"}, t.TempDir()
	c, _ := newCache(s, dir)
	refs := []string{ref}
	for i := range 20 {
		refs = append(refs, fmt.Sprintf("%s-%d", ref, i))
	}
	if err := c.Warm(t.Context(), refs); err != nil || s.times() != len(refs) {
		t.Fatalf("asked %d times, %v", s.times(), err)
	}
	if err := c.Warm(t.Context(), refs); err != nil || s.times() != len(refs) {
		t.Fatalf("asked %d times, %v", s.times(), err)
	}
	s.answer("", files.ErrUnavailable)
	next, _ := newCache(s, dir)
	if err := next.Warm(t.Context(), refs); err != nil {
		t.Errorf("all are at hand from earlier: %v", err)
	}
	err := next.Warm(t.Context(), []string{ref, "s3://models/new"})
	if !errors.Is(err, files.ErrUnavailable) {
		t.Errorf("one is not: %v", err)
	}
	release := s.hang()
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := next.Warm(ctx, []string{"s3://models/a", "s3://models/b", "s3://models/c", "s3://models/d", "s3://models/e"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a source that hangs: %v", err)
	}
}
