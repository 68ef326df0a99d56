package model_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/tests/site/model"
)

// sealed is a small model directory, whole until the test damages it.
func sealed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"VERSION": "1.0\n", "weights": "many numbers", "sub/vocabulary.txt": "one two"} {
		put(t, dir, name, text)
	}
	if err := model.Seal(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOpenTakesAWholeModel(t *testing.T) {
	dir := sealed(t)
	put(t, dir, "sub/notes", "an extra file")
	m, err := model.Open(dir, "weights", "sub/vocabulary.txt")
	if err != nil {
		t.Fatal(err)
	}
	if m.Version != "1.0" || !slices.Equal(m.Extra, []string{"sub/notes"}) {
		t.Errorf("opened %+v", m)
	}
	link := filepath.Join(t.TempDir(), "current")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if _, err := model.Open(link, "weights"); err != nil {
		t.Errorf("through a link: %v", err)
	}
}

func TestManifestIsWhatSha256sumWrites(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join(sealed(t), model.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	const want = "5717e7c840171019a4eeab5b79a7f894a4986eaff93d04ec5b12c9a189f594bf  VERSION\n" +
		"8ab63e29a4ba14e4e1688f9c15e5af90895421358c945b0431f85d66977bd3d2  sub/vocabulary.txt\n" +
		"934053737214d4aea9caeccf3675cca4ec477d6c1d0d4f226ad662ade9c9206f  weights\n"
	if string(manifest) != want {
		t.Errorf("manifest:\n%swant:\n%s", manifest, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	manifest := func(t *testing.T, dir, old, new string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, model.ManifestFile))
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, model.ManifestFile, strings.Replace(string(text), old, new, 1))
	}
	cases := []struct {
		name   string
		damage func(t *testing.T, dir string)
		says   string
	}{
		{"a flipped byte", func(t *testing.T, dir string) { put(t, dir, "weights", "many nunbers") }, "weights was changed"},
		{"a cut file", func(t *testing.T, dir string) { put(t, dir, "weights", "many") }, "weights was changed"},
		{"a missing file", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "weights")) }, "weights: no such file"},
		{"a missing directory", func(t *testing.T, dir string) { os.RemoveAll(dir) }, "no such file"},
		{"no manifest", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, model.ManifestFile)) }, "MANIFEST.sha256: no such file"},
		{"an empty manifest", func(t *testing.T, dir string) { put(t, dir, model.ManifestFile, "") }, "does not list weights"},
		{"a torn manifest", func(t *testing.T, dir string) { manifest(t, dir, "  weights\n", "") }, "want a sha256"},
		{"a manifest of another kind", func(t *testing.T, dir string) { manifest(t, dir, "  VERSION", " *VERSION") }, "want a sha256"},
		{"a path out of it", func(t *testing.T, dir string) { manifest(t, dir, "  weights", "  ../weights") }, "leads out"},
		{"an absolute path", func(t *testing.T, dir string) { manifest(t, dir, "  weights", "  /etc/passwd") }, "leads out"},
		{"a file listed twice", func(t *testing.T, dir string) { manifest(t, dir, "  sub/vocabulary.txt", "  weights") }, "listed twice"},
		{"a needed file not listed", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "weights")); seal(t, dir) }, "does not list weights"},
		{"no version", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "VERSION")); seal(t, dir) }, "does not list VERSION"},
		{"an empty version", func(t *testing.T, dir string) { put(t, dir, "VERSION", " \n"); seal(t, dir) }, "one line"},
		{"two lines of version", func(t *testing.T, dir string) { put(t, dir, "VERSION", "1.0\n2.0\n"); seal(t, dir) }, "one line"},
		{"a second version", func(t *testing.T, dir string) { put(t, dir, "old/VERSION", "0.9\n") }, "second version lies in it: old/VERSION"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := sealed(t)
			c.damage(t, dir)
			_, err := model.Open(dir, "weights")
			if !errors.Is(err, model.ErrRefused) {
				t.Fatalf("error %v, want %v", err, model.ErrRefused)
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("it says %q, want the directory and %q", err, c.says)
			}
		})
	}
}

func seal(t *testing.T, dir string) {
	t.Helper()
	if err := model.Seal(dir); err != nil {
		t.Fatal(err)
	}
}
