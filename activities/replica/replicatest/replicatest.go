// Package replicatest is the conformance suite of replicas. Every implementation
// passes it against a real object store, with a real writer that replicates to it.
package replicatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
)

// Config is what a replica is made from.
type Config struct {
	Clients *s3client.Clients
	// State is the private directory that remembers what was restored.
	State string
}

// Writer is a service that writes data, and what replicates it.
type Writer interface {
	// Write adds an item and returns when the service would say that it is written.
	Write(item string)
	// Kill ends the replication at once. The service goes on.
	Kill()
	// Revive replicates again, from where it was.
	Revive()
}

// Traits describe an implementation.
type Traits struct {
	New func(Config) replica.Replica
	// Data describes data at a path that is replicated below a URL.
	Data func(url, path string) runbooks.Data
	// Write starts a writer whose data is at the path, and perhaps there already; its epoch has a prefix of its own.
	// The store is reached without the faults of the suite.
	Write func(t *testing.T, store runbooks.S3, d runbooks.Data, epoch int64) Writer
	// Read lists the items in restored data.
	Read func(t *testing.T, path string) []string
	// Exact says that a point is restored as it was, also where more has arrived since.
	Exact bool
	// Beside are names of files next to the data that must not be there before it, for a path.
	Beside func(path string) []string
}

// Run runs the suite. The package's TestMain must call [Main].
func Run(t *testing.T, traits Traits) {
	s := newStage(t, traits)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *scene)
	}{
		{"nothing there", nothing},
		{"look and restore and remove", life},
		{"keys", keys},
		{"set aside", setAside},
		{"two at once", twoAtOnce},
		{"places that are taken", takenPlaces},
		{"a point is pinned", pinned},
		{"the recovery point is what is missing", recoveryPoint},
		{"a revived primary writes on", revivedPrimary},
		{"epochs", epochs},
		{"damaged in the store", damaged},
		{"orders that make no sense", badOrders},
		{"the store accepts and never answers", storeStalled},
		{"the store stops in the middle", storeStallsInTheMiddle},
		{"the store is gone", storeGone},
		{"killed in the middle", killedInTheMiddle},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, s.scene(t))
		})
	}
}

func nothing(t *testing.T, s *scene) {
	if p, err := s.replica().Look(t.Context(), s.data, 0); !errors.Is(err, replica.ErrNone) {
		t.Errorf("look: %+v, %v; want ErrNone", p, err)
	}
	if all, err := s.replica().Epochs(t.Context(), s.data); err != nil || len(all) > 0 {
		t.Errorf("epochs: %v, %v", all, err)
	}
	for _, position := range []string{"", "none", "0000000000000001", "2026-01-01T00:00:00Z"} {
		if _, err := s.replica().Restore(t.Context(), "key", s.data, replica.Point{Position: position, Items: 1}); !errors.Is(err, replica.ErrNone) && !errors.Is(err, replica.ErrDamaged) {
			t.Errorf("restore of position %q: %v, want ErrNone or ErrDamaged", position, err)
		}
	}
	if err := s.replica().Remove(t.Context(), "key", s.data); err != nil {
		t.Errorf("remove: %v", err)
	}
	s.clean()
}

func life(t *testing.T, s *scene) {
	w := s.writer("primary", 7)
	want := s.write(w, 5)
	point := s.await(7, want)
	if point.Epoch != 7 || point.Position == "" || point.At.IsZero() || point.At.After(time.Now().Add(time.Second)) {
		t.Errorf("looked at %+v", point)
	}
	if all, err := s.replica().Epochs(t.Context(), s.data); err != nil || !slices.Equal(all, []int64{7}) {
		t.Errorf("epochs: %v, %v", all, err)
	}
	for round := range 2 {
		restored := s.mustRestore("key", point)
		if restored.Path != s.data.Path || restored.Already || restored.Epoch != 7 {
			t.Errorf("got %+v", restored)
		}
		if s.Exact && restored.Position != point.Position {
			t.Errorf("restored %s, want %s", restored.Position, point.Position)
		}
		s.holdsItems(want)
		again, err := s.replica().Restore(t.Context(), "key", s.data, point)
		if restored.Already = true; err != nil || again != restored {
			t.Errorf("again: %+v, %v; want %+v", again, err, restored)
		}
		for range 2 {
			s.mustRemove("key")
			s.clean()
		}
		_ = round
	}
}

func twoAtOnce(t *testing.T, s *scene) {
	want := s.write(s.writer("primary", 1), 2)
	point := s.await(1, want)
	var group sync.WaitGroup
	var already [4]bool
	for i := range already {
		group.Go(func() {
			restored, err := s.replica().Restore(t.Context(), "key", s.data, point)
			if err != nil {
				t.Error(err)
			}
			already[i] = restored.Already
		})
	}
	group.Wait()
	slices.SortFunc(already[:], func(a, b bool) int { return len(fmt.Sprint(a)) - len(fmt.Sprint(b)) })
	if already != [4]bool{true, true, true, false} {
		t.Errorf("already: %v, want all but one", already)
	}
	s.holdsItems(want)
	s.mustRemove("key")
	s.clean()
}

func takenPlaces(t *testing.T, s *scene) {
	point := s.await(1, s.write(s.writer("primary", 1), 1))
	if err := os.MkdirAll(filepath.Dir(s.data.Path), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(s.Beside(s.data.Path), s.data.Path) {
		if err := os.WriteFile(name, []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.replica().Restore(t.Context(), "key", s.data, point); !errors.Is(err, replica.ErrExists) {
			t.Errorf("with %s: %v, want ErrExists", filepath.Base(name), err)
		}
		s.mustRemove("key")
		if content, err := os.ReadFile(name); err != nil || string(content) != "mine" {
			t.Errorf("%s was touched: %q, %v", filepath.Base(name), content, err)
		}
		os.Remove(name)
	}
	if err := errors.Join(os.Mkdir(s.data.Path, 0o755), os.WriteFile(filepath.Join(s.data.Path, "mine"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.replica().Restore(t.Context(), "key", s.data, point); !errors.Is(err, replica.ErrExists) {
		t.Errorf("a full directory: %v, want ErrExists", err)
	}
	os.RemoveAll(s.data.Path)
	s.mustRestore("key", point)
	s.mustRemove("key")
	os.Remove(filepath.Dir(s.data.Path))
	s.clean()
}

func pinned(t *testing.T, s *scene) {
	w := s.writer("primary", 1)
	early := s.write(w, 3)
	point := s.await(1, early)
	late := s.write(w, 3)
	s.await(1, late)
	want := early
	if !s.Exact {
		want = append(slices.Clone(early), late...)
	}
	s.mustRestore("key", point)
	s.holdsItems(want)
	s.mustRemove("key")
	s.clean()
}

func recoveryPoint(t *testing.T, s *scene) {
	w := s.writer("primary", 1)
	arrived := s.write(w, 4)
	s.await(1, arrived)
	w.Kill()
	lost := s.write(w, 3)
	cut := time.Now()

	point, err := s.replica().Look(t.Context(), s.data, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.mustRestore("key", point)
	s.holdsItems(arrived)
	for _, item := range lost {
		if written := writtenAt(t, item); !written.After(point.At) {
			t.Errorf("%s is missing, and was written at %s; the point says that everything up to %s is there", item, written, point.At)
		}
	}
	if lag, least := point.Lag(cut), cut.Sub(writtenAt(t, lost[0])); lag < least {
		t.Errorf("a lag of %s is told; the oldest item that is missing is %s old", lag, least)
	}
	s.mustRemove("key")
	s.clean()
}

func revivedPrimary(t *testing.T, s *scene) {
	old := s.writer("primary", 3)
	arrived := s.write(old, 3)
	point := s.await(3, arrived)
	old.Kill()
	tail := s.write(old, 2)

	s.mustRestore("key", point)
	standby := s.Write(t, s.near.Site(), s.data, 4)
	fresh := s.write(standby, 2)
	s.await(4, fresh)
	old.Revive() // it does not know yet that it was replaced
	tail = append(tail, s.write(old, 2)...)
	s.await(3, tail)
	fresh = append(fresh, s.write(standby, 2)...)
	newest := s.await(4, fresh)
	standby.Kill()

	if all, err := s.replica().Epochs(t.Context(), s.data); err != nil || !slices.Equal(all, []int64{3, 4}) {
		t.Errorf("epochs: %v, %v", all, err)
	}
	other := s.data
	other.Path = filepath.Join(s.dir, "again", "data")
	if _, err := s.replica().Restore(t.Context(), "again", other, newest); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Read(t, other.Path), append(arrived, fresh...); !slices.Equal(got, sorted(want)) {
		t.Errorf("the new epoch holds\n%q, want\n%q without the old primary's\n%q", got, want, tail)
	}
	if err := s.replica().Remove(t.Context(), "again", other); err != nil {
		t.Error(err)
	}
}

func epochs(t *testing.T, s *scene) {
	for _, name := range []string{
		"epoch-10/x", "epoch-9/x", "epoch-0/x", "epoch-1767225600/x", "epoch-07/x", "epoch--1/x", "epoch-+1/x", "epoch-1x/x", "epoch-/x", "epoch/x", "Epoch-3/x",
		"other/epoch-5/x", "epoch-99999999999999999999/x", "epoch-6",
	} {
		s.put(name, "x")
	}
	all, err := s.replica().Epochs(t.Context(), s.data)
	if want := []int64{0, 9, 10, 1767225600}; err != nil || !slices.Equal(all, want) {
		t.Errorf("got %v, %v; want %v", all, err, want)
	}
}

func damaged(t *testing.T, s *scene) {
	w := s.writer("primary", 1)
	point := s.await(1, s.write(w, 3))
	w.Kill()
	for _, change := range []func(string) string{flip, func(c string) string { return c[:len(c)/2] }, func(string) string { return "" }} {
		restore := s.change(1, change)
		if _, err := s.replica().Restore(t.Context(), "key", s.data, point); !errors.Is(err, replica.ErrDamaged) {
			t.Errorf("got %v, want ErrDamaged", err)
		}
		s.clean()
		restore()
	}
}

func badOrders(t *testing.T, s *scene) {
	point := s.await(1, s.write(s.writer("primary", 1), 1))
	for name, change := range map[string]func(*runbooks.Data, *replica.Point){
		"relative path": func(d *runbooks.Data, _ *replica.Point) { d.Path = "data" },
		"no path":       func(d *runbooks.Data, _ *replica.Point) { d.Path = "" },
		"no URL":        func(d *runbooks.Data, _ *replica.Point) { d.Replica, d.Bucket = "", "" },
		"strange URL":   func(d *runbooks.Data, _ *replica.Point) { d.Replica, d.Bucket = "ftp://x/y", "ftp://x/y" },
		"no bucket": func(d *runbooks.Data, _ *replica.Point) {
			d.Replica, d.Bucket = "s3://absent-bucket/y", "s3://absent-bucket/y"
		},
		"other epoch":  func(_ *runbooks.Data, p *replica.Point) { p.Epoch = 2 },
		"below a file": func(d *runbooks.Data, _ *replica.Point) { d.Path = "/etc/passwd/data" },
	} {
		d, p := s.data, point
		change(&d, &p)
		if restored, err := s.replica().Restore(t.Context(), "key", d, p); err == nil {
			t.Errorf("%s: %+v", name, restored)
		}
	}
	if _, err := s.replica().Restore(t.Context(), "", s.data, point); err == nil {
		t.Error("no key: no error")
	}
	s.clean()
}

func (s *scene) mustRestore(key string, p replica.Point) replica.Restored {
	s.t.Helper()
	restored, err := s.replica().Restore(s.t.Context(), key, s.data, p)
	if err != nil {
		s.t.Fatal(err)
	}
	return restored
}

func (s *scene) mustRemove(key string) {
	s.t.Helper()
	if err := s.replica().Remove(context.WithoutCancel(s.t.Context()), key, s.data); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) holdsItems(want []string) {
	s.t.Helper()
	if got := s.Read(s.t, s.data.Path); !slices.Equal(got, sorted(want)) {
		s.t.Errorf("restored\n%q, want\n%q", got, want)
	}
}

func sorted(items []string) []string {
	items = slices.Clone(items)
	slices.Sort(items)
	return items
}
