// Package volumestest is the conformance suite of mounters. Every implementation
// passes it against a real object store, through a wire that can fail.
package volumestest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

// Config is what a mounter is made from.
type Config struct {
	Clients *s3client.Clients
	// State is the private directory that remembers what was mounted.
	State string
}

// Traits describe an implementation.
type Traits struct {
	How string
	New func(Config) volumes.Provider
	// Copies says that the volume is on this disk afterwards, and may be writable.
	Copies bool
}

// Run runs the suite. The package's TestMain must call [Main].
func Run(t *testing.T, traits Traits) {
	s := newStage(t, traits)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *scene)
	}{
		{"mount and find and unmount", life},
		{"keys", keys},
		{"two at once", twoAtOnce},
		{"a large file", largeFile},
		{"the default manifest of another tool", plainManifest},
		{"a whole bucket", wholeBucket},
		{"writable", writable},
		{"sizes first and hashes behind", hashesBehind},
		{"wrong content", wrongContent},
		{"hostile manifests", hostileManifests},
		{"places that are taken", takenPlaces},
		{"orders that make no sense", badOrders},
		{"two regions", twoRegions},
		{"the store refuses", storeRefuses},
		{"the store is gone", storeGone},
		{"the store accepts and never answers", storeStalled},
		{"the store stops in the middle", storeStallsInTheMiddle},
		{"the time is over", timeOver},
		{"a mounted volume needs no store to be found", foundWithoutStore},
		{"killed after the mount", killedAfter},
		{"killed in the middle", killedInTheMiddle},
		{"killed in the middle and then another key", killedThenAnotherKey},
		{"what was mounted is gone", gone},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, s.scene(t))
		})
	}
}

var model = map[string]string{
	"VERSION":                       "2512.1\n",
	"model.pt":                      strings.Repeat("weights", 10_000),
	"configuration.json":            "{}",
	"Qwen3-0.6B/config.json":        `{"a": "b c"}`,
	"Qwen3-0.6B/a/b/deep file.txt":  "deep",
	"Qwen3-0.6B/empty":              "",
	"tokens 语音 #1 & 'quoted'.txt":   "tokens",
	"sub/MANIFEST.sha256":           "one of the model's own",
	"sub/.hidden":                   "hidden",
	"sub/name-that-is-" + longName:  "long",
	"Qwen3-0.6B/model.safetensors":  strings.Repeat("safe", 5_000),
	"Qwen3-0.6B/merges+special=.ok": "x",
}

const longName = "quite-long-but-still-fine-for-every-file-system-there-is-in-the-world"

func life(t *testing.T, s *scene) {
	v := s.volume(model)
	mounter := s.mounter()
	seen, err := mounter.Inspect(t.Context(), v)
	s.clean()
	if err != nil {
		t.Fatal(err)
	}
	var told []volumes.Progress
	mounted, err := mounter.Mount(t.Context(), "key", v, func(p volumes.Progress) { told = append(told, p) })
	if err != nil {
		t.Fatal(err)
	}
	var bytes int64
	for _, content := range model {
		bytes += int64(len(content))
	}
	if mounted.Path != v.Mount || mounted.How != s.How || mounted.Version != "2512.1" || mounted.Files != len(model) || mounted.Bytes != bytes || mounted.Since.IsZero() {
		t.Errorf("got %+v", mounted)
	}
	if seen.Since = mounted.Since; seen != mounted {
		t.Errorf("inspected %+v, mounted %+v", seen, mounted)
	}
	s.noSecrets()
	if last := told[len(told)-1]; last.Done != bytes || last.Total != bytes {
		t.Errorf("the last progress was %+v, want %d bytes", last, bytes)
	}
	s.holdsModel(v.Mount, model)
	if err := os.WriteFile(filepath.Join(v.Mount, "new"), nil, 0o644); err == nil && !s.Copies {
		t.Error("a mount that is only read was written to")
	}
	os.Remove(filepath.Join(v.Mount, "new"))

	for name, again := range map[string]volumes.Mounter{"the same": mounter, "another process": s.mounter()} {
		found, err := again.Mount(t.Context(), "key", v, nil)
		if err != nil || found != mounted {
			t.Errorf("%s: got %+v, %v; want %+v", name, found, err, mounted)
		}
	}
	s.oneMount(v.Mount)

	for range 2 {
		if err := s.mounter().Unmount(t.Context(), "key", v); err != nil {
			t.Fatal(err)
		}
		s.clean()
	}
	s.mustMount("key", v)
	s.mustUnmount("key", v)
	s.clean()
}

func keys(t *testing.T, s *scene) {
	v := s.volume(model)
	s.mustMount("first", v)
	if _, err := s.mounter().Mount(t.Context(), "second", v, nil); !errors.Is(err, volumes.ErrRefused) || !strings.Contains(err.Error(), "first") {
		t.Errorf("another key: %v, want ErrRefused that names the key", err)
	}
	if err := s.mounter().Unmount(t.Context(), "second", v); err != nil {
		t.Errorf("unmount by another key: %v", err)
	}
	s.holdsModel(v.Mount, model)
	other := v
	other.Source = s.volume(map[string]string{"other": "x"}).Source
	if _, err := s.mounter().Mount(t.Context(), "first", other, nil); !errors.Is(err, volumes.ErrRefused) {
		t.Errorf("the key for another volume: %v, want ErrRefused", err)
	}
	s.holdsModel(v.Mount, model)
	s.mustUnmount("first", v)
	s.mustMount("second", v)
	s.mustUnmount("second", v)
	s.clean()

	// One key may bring several volumes to several paths.
	beside := v
	beside.Mount += "-2"
	s.mustMount("first", v)
	s.mustMount("first", beside)
	s.mustUnmount("first", v)
	s.holdsModel(beside.Mount, model)
	s.mustUnmount("first", beside)
	s.clean()
}

func twoAtOnce(t *testing.T, s *scene) {
	v := s.volume(model)
	var group sync.WaitGroup
	got := make([]volumes.Mounted, 4)
	for i := range got {
		group.Go(func() {
			var err error
			if got[i], err = s.mounter().Mount(t.Context(), "key", v, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, m := range got {
		if m != got[0] {
			t.Errorf("two callers got %+v and %+v", got[0], m)
		}
	}
	s.oneMount(v.Mount)
	s.mustUnmount("key", v)
	s.clean()
}

func takenPlaces(t *testing.T, s *scene) {
	v := s.volume(model)
	refused := func(what string) {
		t.Helper()
		if _, err := s.mounter().Mount(t.Context(), "key", v, nil); !errors.Is(err, volumes.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", what, err)
		}
		if err := s.mounter().Unmount(t.Context(), "key", v); err != nil {
			t.Errorf("%s: unmount: %v", what, err)
		}
	}
	mine := filepath.Join(v.Mount, "mine")
	if err := errors.Join(os.MkdirAll(v.Mount, 0o755), os.WriteFile(mine, []byte("mine"), 0o644)); err != nil {
		t.Fatal(err)
	}
	refused("a directory with a file")
	if content, err := os.ReadFile(mine); err != nil || string(content) != "mine" {
		t.Fatalf("it was touched: %q, %v", content, err)
	}
	os.Remove(mine)

	s.mustMount("key", v) // an empty directory is a mount point like any other, and stays afterwards
	s.mustUnmount("key", v)
	if entries, err := os.ReadDir(v.Mount); err != nil || len(entries) > 0 {
		t.Errorf("the directory that was there before: %v, %v", entries, err)
	}

	os.Remove(v.Mount)
	if err := os.WriteFile(v.Mount, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused("a file")
	os.Remove(v.Mount)
	if err := os.Symlink(t.TempDir(), v.Mount); err != nil {
		t.Fatal(err)
	}
	refused("a link")
	os.Remove(v.Mount)

	// A link above the last part is fine; the path is the one behind it.
	real := t.TempDir()
	if err := os.Symlink(real, v.Mount); err != nil {
		t.Fatal(err)
	}
	below := v
	below.Mount = filepath.Join(v.Mount, "a", "model")
	s.mustMount("key", below)
	s.holdsModel(filepath.Join(real, "a", "model"), model)
	s.mustUnmount("key", below)
	if entries, err := os.ReadDir(real); err != nil || len(entries) > 0 {
		t.Errorf("left behind the link: %v, %v", entries, err)
	}
	os.Remove(v.Mount)
	s.clean()
}

func badOrders(t *testing.T, s *scene) {
	good := s.volume(model)
	for name, change := range map[string]func(*runbooks.Volume){
		"no source":         func(v *runbooks.Volume) { v.Source = "" },
		"another scheme":    func(v *runbooks.Volume) { v.Source = "https://models/x" },
		"no such prefix":    func(v *runbooks.Volume) { v.Source += "-absent" },
		"no such bucket":    func(v *runbooks.Volume) { v.Source = "s3://absent-bucket/x" },
		"no manifest":       func(v *runbooks.Volume) { v.Manifest = "absent.sha256" },
		"relative path":     func(v *runbooks.Volume) { v.Mount = "models" },
		"no path":           func(v *runbooks.Volume) { v.Mount = "" },
		"the root":          func(v *runbooks.Volume) { v.Mount = "/" },
		"path with a break": func(v *runbooks.Volume) { v.Mount += "\nx" },
		"below a file":      func(v *runbooks.Volume) { v.Mount = "/etc/passwd/x" },
	} {
		v := good
		change(&v)
		if _, err := s.mounter().Mount(t.Context(), "key", v, nil); !errors.Is(err, volumes.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", name, err)
		}
		if _, err := s.mounter().Inspect(t.Context(), v); !errors.Is(err, volumes.ErrRefused) && name != "below a file" {
			t.Errorf("inspect: %s: %v, want ErrRefused", name, err)
		}
	}
	if _, err := s.mounter().Mount(t.Context(), "", good, nil); !errors.Is(err, volumes.ErrRefused) {
		t.Errorf("no key: %v, want ErrRefused", err)
	}
	s.clean()
}

func twoRegions(t *testing.T, s *scene) {
	// The same prefix in two buckets that two servers keep: the bucket decides.
	files := map[string]string{"where": "here", "VERSION": "1"}
	here := s.volume(files)
	there := here
	there.Source = strings.Replace(here.Source, bucket, farBucket, 1)
	there.Mount += "-far"
	s.upload(there, map[string]string{"where": "far", "VERSION": "2"})
	s.mustMount("key", here)
	if mounted := s.mustMount("key", there); mounted.Version != "2" {
		t.Errorf("got %+v", mounted)
	}
	s.holdsModel(there.Mount, map[string]string{"where": "far", "VERSION": "2"})
	s.mustUnmount("key", here)
	s.mustUnmount("key", there)
	s.clean()
}

func gone(t *testing.T, s *scene) {
	v := s.volume(model)
	s.mustMount("first", v)
	s.destroy(v.Mount)
	s.mustMount("first", v)
	s.holdsModel(v.Mount, model)
	s.destroy(v.Mount)
	s.mustMount("second", v) // nothing is there that the first one's service could use
	s.holdsModel(v.Mount, model)
	if err := s.mounter().Unmount(t.Context(), "first", v); err != nil {
		t.Error(err)
	}
	s.holdsModel(v.Mount, model)
	s.destroy(v.Mount)
	s.mustUnmount("second", v)
	s.clean()
}

func (s *scene) mustMount(key string, v runbooks.Volume) volumes.Mounted {
	s.t.Helper()
	mounted, err := s.mounter().Mount(s.t.Context(), key, v, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return mounted
}

func (s *scene) mustUnmount(key string, v runbooks.Volume) {
	s.t.Helper()
	if err := s.mounter().Unmount(context.WithoutCancel(s.t.Context()), key, v); err != nil {
		s.t.Fatal(err)
	}
}
