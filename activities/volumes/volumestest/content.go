package volumestest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

func largeFile(t *testing.T, s *scene) {
	large := map[string]string{"model.pt": noise(24<<20 + 17), "VERSION": "1"}
	v := s.volume(large)
	s.mustMount("key", v)
	s.holdsModel(v.Mount, large)
	s.mustUnmount("key", v)
	s.clean()
}

func plainManifest(t *testing.T, s *scene) {
	// As "sha256sum $(find . -type f)" writes it, and as an editor may leave it: no sizes, no order, ./ before the names.
	files := map[string]string{"b.txt": "b", "a/c.txt": "c"}
	v := s.volume(files)
	s.put(v, "MANIFEST.sha256", sum("b")+"  ./b.txt\n"+sum("c")+" *./a/c.txt\r\n\n# a comment\n")
	mounted := s.mustMount("key", v)
	if mounted.Version != "" || mounted.Files != 2 {
		t.Errorf("got %+v", mounted)
	}
	s.mustUnmount("key", v)

	v.Manifest = "sums/model.sha256"
	s.remove(v, "MANIFEST.sha256")
	s.put(v, v.Manifest, sum("b")+"  b.txt\n"+sum("c")+"  a/c.txt\n")
	s.mustMount("key", v)
	s.mustUnmount("key", v)
	s.clean()
}

func wholeBucket(t *testing.T, s *scene) {
	v := s.volumeAt("s3://"+otherBucket, model)
	s.mustMount("key", v)
	s.holdsModel(v.Mount, model)
	s.mustUnmount("key", v)
	s.clean()
}

func writable(t *testing.T, s *scene) {
	v := s.volume(model)
	v.Writable = true
	if !s.Copies {
		if _, err := s.mounter().Mount(t.Context(), "key", v, nil); !errors.Is(err, volumes.ErrRefused) {
			t.Errorf("got %v, want ErrRefused: a mount is only read", err)
		}
		s.clean()
		return
	}
	mounted := s.mustMount("key", v)
	beside := filepath.Join(v.Mount, "Qwen3-0.6B-vllm", "model.safetensors")
	if err := os.Mkdir(filepath.Dir(beside), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(beside, []byte("converted"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again, err := s.mounter().Mount(t.Context(), "key", v, nil); err != nil || again != mounted {
		t.Errorf("again: %+v, %v", again, err)
	}
	if content, err := os.ReadFile(beside); err != nil || string(content) != "converted" {
		t.Errorf("what the service wrote: %q, %v", content, err)
	}
	if err := s.mounter().Verify(t.Context(), "key", v, nil); err != nil {
		t.Errorf("verify with a file more: %v", err)
	}
	if info, err := os.Stat(filepath.Join(v.Mount, "model.pt")); err != nil || info.Mode().Perm()&0o200 == 0 {
		t.Errorf("model.pt: %v, %v; want it writable", info.Mode(), err)
	}
	s.mustUnmount("key", v)
	s.clean()
}

func hashesBehind(t *testing.T, s *scene) {
	v := s.volume(model)
	s.put(v, "model.pt", flip(model["model.pt"]))
	v.Verify = "size"
	mounted := s.mustMount("key", v)
	if mounted.Version != "2512.1" {
		t.Errorf("got %+v", mounted)
	}
	err := s.mounter().Verify(t.Context(), "key", v, nil)
	s.wrong(err, "model.pt", sum(model["model.pt"]), sum(flip(model["model.pt"])))
	if err := s.mounter().Verify(t.Context(), "other", v, nil); !errors.Is(err, volumes.ErrRefused) {
		t.Errorf("verify by another key: %v, want ErrRefused", err)
	}
	if _, err := os.Stat(filepath.Join(v.Mount, "VERSION")); err != nil {
		t.Errorf("the volume was taken away from its service: %v", err)
	}
	s.mustUnmount("key", v)
	if err := s.mounter().Verify(t.Context(), "key", v, nil); !errors.Is(err, volumes.ErrRefused) {
		t.Errorf("verify of nothing: %v, want ErrRefused", err)
	}
	s.clean()
}

func wrongContent(t *testing.T, s *scene) {
	for name, test := range map[string]struct {
		change func(v runbooks.Volume)
		says   []string
	}{
		"flipped byte": {func(v runbooks.Volume) { s.put(v, "model.pt", flip(model["model.pt"])) },
			[]string{"model.pt", sum(model["model.pt"]), sum(flip(model["model.pt"]))}},
		"missing file":         {func(v runbooks.Volume) { s.remove(v, "Qwen3-0.6B/config.json") }, []string{"Qwen3-0.6B/config.json", "missing"}},
		"extra file":           {func(v runbooks.Volume) { s.put(v, "model.old.pt", "x") }, []string{"model.old.pt"}},
		"extra version":        {func(v runbooks.Volume) { s.put(v, "sub/VERSION", "2511.0\n") }, []string{"sub/VERSION"}},
		"truncated":            {func(v runbooks.Volume) { s.put(v, "model.pt", "weights") }, []string{"model.pt"}},
		"empty version":        {func(v runbooks.Volume) { s.put(v, "VERSION", "") }, []string{"VERSION"}},
		"version of blanks":    {func(v runbooks.Volume) { s.replace(v, "VERSION", " \n\n") }, []string{"VERSION", "empty"}},
		"version of two lines": {func(v runbooks.Volume) { s.replace(v, "VERSION", "2512.1\n2511.0\n") }, []string{"VERSION"}},
		"binary version":       {func(v runbooks.Volume) { s.replace(v, "VERSION", "2512\x00") }, []string{"VERSION"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.again(t)
			v := s.volume(model)
			test.change(v)
			_, err := s.mounter().Mount(t.Context(), "key", v, nil)
			s.wrong(err, test.says...)
			s.clean()
			if _, err := s.mounter().Inspect(t.Context(), v); name != "flipped byte" {
				s.wrong(err, test.says...)
			} else if err != nil {
				t.Errorf("inspect cannot see a flipped byte, and says %v", err)
			}
		})
	}
}

func hostileManifests(t *testing.T, s *scene) {
	line := func(name string) string { return sum("x") + "  " + name + "\n" }
	for name, manifest := range map[string]string{
		"up":                 line("../../etc/passwd"),
		"up inside":          line("a/../../x"),
		"absolute":           line("/etc/passwd"),
		"dot":                line("."),
		"escaped line break": "\\" + line(`a\nb`),
		"backslash":          line(`a\b`),
		"twice":              line("x") + line("x"),
		"file and directory": line("x") + line("x/y"),
		"itself":             line("x") + line("MANIFEST.sha256"),
		"no hash":            "x  x\n",
		"md5":                strings.Repeat("a", 32) + "  x\n",
		"not hexadecimal":    strings.Repeat("z", 64) + "  x\n",
		"empty":              "",
		"only comments":      "# nothing\n",
		"binary":             "\x00\x01\x02",
		"no name":            sum("x") + "  \n",
		"wrong size":         "# size 5 x\n" + line("x"),
	} {
		t.Run(name, func(t *testing.T) {
			s := s.again(t)
			v := s.volume(map[string]string{"x": "x"})
			s.put(v, "MANIFEST.sha256", manifest)
			_, err := s.mounter().Mount(t.Context(), "key", v, nil)
			s.wrong(err)
			s.clean()
		})
	}
}

// holdsModel checks that a directory holds exactly these files, and a manifest.
func (s *scene) holdsModel(dir string, files map[string]string) {
	s.t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		want, known := files[name]
		if !known {
			if name != "MANIFEST.sha256" {
				s.t.Errorf("%s is there too", name)
			}
			return nil
		}
		seen++
		content, err := os.ReadFile(path)
		if err == nil && string(content) != want {
			s.t.Errorf("%s has other content", name)
		}
		return err
	})
	if err != nil || seen != len(files) {
		s.t.Errorf("%d of %d files, %v", seen, len(files), err)
	}
}

// wrong checks an error that is about content.
func (s *scene) wrong(err error, says ...string) {
	s.t.Helper()
	if !errors.Is(err, volumes.ErrWrong) {
		s.t.Errorf("got %v, want ErrWrong", err)
		return
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			s.t.Errorf("%q does not say %q", err, text)
		}
	}
}
