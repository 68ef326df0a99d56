package replicatest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/replica"
)

func keys(t *testing.T, s *scene) {
	w := s.writer("primary", 1)
	first := s.write(w, 2)
	point := s.await(1, first)
	s.mustRestore("first", point)
	if _, err := s.replica().Restore(t.Context(), "second", s.data, point); !errors.Is(err, replica.ErrExists) || !strings.Contains(err.Error(), "first") {
		t.Errorf("another key: %v, want ErrExists that names the key", err)
	}
	later := s.await(1, s.write(w, 1))
	if _, err := s.replica().Restore(t.Context(), "first", s.data, later); !errors.Is(err, replica.ErrExists) {
		t.Errorf("another point: %v, want ErrExists", err)
	}
	s.mustRemove("second")
	s.holdsItems(first)
	s.mustRemove("first")
	s.clean()

	// What somebody put in the place of the restored data is not ours any more.
	s.mustRestore("first", later)
	if err := os.RemoveAll(s.data.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.data.Path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.mustRemove("first")
	if content, err := os.ReadFile(s.data.Path); err != nil || string(content) != "mine" {
		t.Errorf("somebody else's file: %q, %v", content, err)
	}
	os.Remove(s.data.Path)
}

func setAside(t *testing.T, s *scene) {
	want := s.write(s.writer("primary", 1), 2)
	point := s.await(1, want)
	if kept, err := s.replica().SetAside(t.Context(), "first", s.data); kept != "" || err != nil {
		t.Errorf("nothing was restored: %q, %v", kept, err)
	}
	s.mustRestore("first", point)
	if kept, err := s.replica().SetAside(t.Context(), "second", s.data); kept != "" || err != nil {
		t.Errorf("another key: %q, %v", kept, err)
	}
	s.holdsItems(want)
	kept, err := s.replica().SetAside(t.Context(), "first", s.data)
	if err != nil || filepath.Dir(kept) != filepath.Dir(s.data.Path) || kept == s.data.Path {
		t.Fatalf("set aside as %q: %v", kept, err)
	}
	if got := s.Read(t, kept); !slices.Equal(got, sorted(want)) {
		t.Errorf("kept\n%q, want\n%q", got, want)
	}
	if again, err := s.replica().SetAside(t.Context(), "first", s.data); again != "" || err != nil {
		t.Errorf("again: %q, %v", again, err)
	}
	// The path is free for the next one, and what was kept stays when that goes.
	s.mustRestore("second", point)
	s.holdsItems(want)
	s.mustRemove("first")
	s.holdsItems(want)
	s.mustRemove("second")
	if got := s.Read(t, kept); !slices.Equal(got, sorted(want)) {
		t.Errorf("kept\n%q, want\n%q", got, want)
	}
	for _, path := range append(s.Beside(kept), kept) {
		if err := os.RemoveAll(path); err != nil {
			t.Error(err)
		}
	}
	s.clean()
}
