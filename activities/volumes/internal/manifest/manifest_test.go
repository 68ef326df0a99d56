package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/understudy-dr/understudy/activities/volumes"
)

func sumOf(c string) string { return strings.Repeat(c, sumLength) }

func TestParse(t *testing.T) {
	m, err := Parse(strings.NewReader(strings.Join([]string{
		"# a comment", "# size 12 b", "# size many b", "# size -1 a/b", "# size 3 not listed",
		sumOf("B") + "  b", "", sumOf("a") + " *a/b", sumOf("c") + "  ./a b", sumOf("d") + "  # size 4 e",
	}, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{{"# size 4 e", sumOf("d"), -1}, {"a b", sumOf("c"), -1}, {"a/b", sumOf("a"), -1}, {"b", sumOf("b"), 12}}
	if fmt.Sprint(m.Entries) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", m.Entries, want)
	}
	if e, ok := m.Find("b"); !ok || e.Size != 12 {
		t.Errorf("found %v, %v", e, ok)
	}
	if e, ok := m.Find("c"); ok {
		t.Errorf("found %v", e)
	}
}

func TestParseTellsTheLine(t *testing.T) {
	_, err := Parse(strings.NewReader(sumOf("a") + "  x\n# fine\nbroken\n"))
	if !errors.Is(err, volumes.ErrWrong) || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("got %v, want ErrWrong with line 3", err)
	}
	if _, err := Parse(bytes.NewReader(make([]byte, MaxSize+1))); !errors.Is(err, volumes.ErrWrong) {
		t.Errorf("too large: %v, want ErrWrong", err)
	}
}

func TestWhatIsEncodedIsParsedAgain(t *testing.T) {
	m := Manifest{Entries: []Entry{{"b c", sumOf("b"), 7}, {"a/语音", sumOf("a"), -1}}}
	again, err := Parse(bytes.NewReader(m.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if want := []Entry{m.Entries[1], m.Entries[0]}; fmt.Sprint(again.Entries) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", again.Entries, want)
	}
	if !again.Same(Manifest{Entries: []Entry{{"a/语音", sumOf("a"), 1}, {"b c", sumOf("b"), 2}}}) {
		t.Error("sizes make a difference")
	}
	if again.Same(Manifest{Entries: []Entry{{"a/语音", sumOf("b"), 1}, {"b c", sumOf("b"), 2}}}) {
		t.Error("hashes make no difference")
	}
}

func TestCheckPath(t *testing.T) {
	for _, good := range []string{"a", "a/b", "a b", "语音.wav", ".hidden", "a/..b", "...", "-rf", "a;b", "$(x)", `"`} {
		if err := CheckPath(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", ".", "..", "/", "/a", "a/", "a//b", "./a", "a/./b", "a/../b", "../a", "a/..", "a\nb", "a\rb", "a\x00b", "a\x7fb", `a\b`, "a\xff", strings.Repeat("a", maxPath+1),
	} {
		if err := CheckPath(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# size 1 a\n" + sumOf("a") + "  a\n"))
	f.Add([]byte(sumOf("a") + "  ../a\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := Parse(bytes.NewReader(content))
		if err != nil {
			return
		}
		for _, e := range m.Entries {
			if !filepath.IsLocal(e.Path) || strings.ContainsAny(e.Path, "\n\r\x00") {
				t.Errorf("%q leads out of its line or directory", e.Path)
			}
		}
		again, err := Parse(bytes.NewReader(m.Encode()))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(m) {
			t.Errorf("%v became %v, %v", m, again, err)
		}
	})
}

// directory makes a model directory and its manifest.
func directory(t *testing.T) (string, Manifest) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"VERSION": "1.2\n", "model.pt": strings.Repeat("w", 3<<20), "sub/x": "x", "sub/empty": ""} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	m, s, err := Build(t.Context(), dir, Options{Name: "M"})
	if err != nil || s != (Summary{Files: 4, Bytes: 3<<20 + 5, Version: "1.2"}) {
		t.Fatalf("%+v, %v", s, err)
	}
	return dir, m
}

func TestSha256sumAgrees(t *testing.T) {
	dir, m := directory(t)
	if err := os.WriteFile(filepath.Join(dir, "M"), m.Encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "M")
	check.Dir = dir
	out, err := check.CombinedOutput()
	if err != nil || strings.Count(string(out), ": OK") != 4 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestVerify(t *testing.T) {
	path := filepath.Join
	write := func(dir, name, content string) error { return os.WriteFile(path(dir, name), []byte(content), 0o644) }
	for _, test := range []struct {
		name   string
		change func(dir string) error
		size   string // what verifying sizes says, empty where it sees nothing
		full   string
	}{
		{"untouched", func(string) error { return nil }, "", ""},
		{"flipped", func(dir string) error { return write(dir, "sub/x", "y") }, "", "sub/x has sha256 a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa, its manifest says 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},
		{"longer", func(dir string) error { return write(dir, "sub/x", "xx") }, "sub/x has 2 bytes, its manifest says 1", "sub/x"},
		{"missing", func(dir string) error { return os.Remove(path(dir, "sub/empty")) }, "sub/empty is missing", "sub/empty"},
		{"extra", func(dir string) error { return write(dir, "sub/extra", "") }, "sub/extra is not in the manifest", "sub/extra"},
		{"empty version", func(dir string) error { return write(dir, "VERSION", "") }, "VERSION is empty", "VERSION"},
		{"blank version", func(dir string) error { return write(dir, "VERSION", " \n  ") }, "VERSION is empty", "VERSION"},
		{"no version", func(dir string) error { return os.Remove(path(dir, "VERSION")) }, "VERSION is missing", "VERSION"},
		{"link out", func(dir string) error { return os.Symlink("/etc/hostname", path(dir, "link")) }, "link is a link", "link"},
		{"file became a link out", func(dir string) error {
			return errors.Join(os.Remove(path(dir, "sub/x")), os.Symlink("/etc/hostname", path(dir, "sub/x")))
		}, "sub/x is a link", "sub/x"},
		{"link up", func(dir string) error { return os.Symlink("../..", path(dir, "sub/up")) }, "sub/up is a link", "sub/up"},
		{"link to a directory", func(dir string) error { return os.Symlink("sub", path(dir, "other")) }, "other is no regular file", "other"},
		{"pipe", func(dir string) error { return syscall.Mkfifo(path(dir, "pipe"), 0o644) }, "pipe is no regular file", "pipe"},
		{"file became a pipe", func(dir string) error {
			return errors.Join(os.Remove(path(dir, "sub/x")), syscall.Mkfifo(path(dir, "sub/x"), 0o644))
		}, "sub/x is no regular file", "sub/x"},
		{"file became a directory", func(dir string) error {
			return errors.Join(os.Remove(path(dir, "sub/x")), os.Mkdir(path(dir, "sub/x"), 0o755))
		}, "sub/x is missing", "sub/x"},
		{"directory gone", os.RemoveAll, "is missing", "is missing"},
		{"strange name", func(dir string) error { return write(dir, "a\nb", "") }, `a\nb`, `a\nb`},
		{"link inside", func(dir string) error {
			return errors.Join(os.Rename(path(dir, "sub/x"), path(dir, "M")), os.Symlink("../M", path(dir, "sub/x")))
		}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, m := directory(t)
			if err := test.change(dir); err != nil {
				t.Fatal(err)
			}
			for _, try := range []struct {
				full bool
				says string
			}{{false, test.size}, {true, test.full}} {
				s, err := Verify(t.Context(), dir, m, Options{Name: "M", Full: try.full})
				if try.says == "" {
					if err != nil || s.Files != 4 || s.Version != "1.2" {
						t.Errorf("full %v: %+v, %v", try.full, s, err)
					}
					continue
				}
				if !errors.Is(err, volumes.ErrWrong) || !strings.Contains(err.Error(), try.says) {
					t.Errorf("full %v: %v, want ErrWrong that says %q", try.full, err, try.says)
				}
			}
		})
	}
}

func TestVerifyOptions(t *testing.T) {
	dir, m := directory(t)
	if err := os.WriteFile(filepath.Join(dir, "extra"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	var last volumes.Progress
	if _, err := Verify(t.Context(), dir, m, Options{Name: "M", Full: true, Extra: true, Workers: 1, Tell: func(p volumes.Progress) { last = p }}); err != nil {
		t.Errorf("extra files allowed: %v", err)
	}
	if want := int64(3<<20 + 5); last.Done != want || last.Total != want {
		t.Errorf("the last progress was %+v, want %d", last, want)
	}
	var without Manifest
	for _, e := range m.Entries {
		if e.Path != VersionFile {
			without.Entries = append(without.Entries, e)
		}
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, "extra")), os.Remove(filepath.Join(dir, VersionFile))); err != nil {
		t.Fatal(err)
	}
	if s, err := Verify(t.Context(), dir, without, Options{Name: "M"}); err != nil || s.Version != "" {
		t.Errorf("a model without a version: %+v, %v", s, err)
	}
	if _, err := Verify(t.Context(), dir, without, Options{Name: "M", Version: true}); !errors.Is(err, volumes.ErrWrong) {
		t.Errorf("a version that must be there: %v, want ErrWrong", err)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	dir, m := directory(t)
	ctx, cancel := context.WithCancel(t.Context())
	var told atomic.Int32
	_, err := Verify(ctx, dir, m, Options{Name: "M", Full: true, Workers: 1, Tell: func(volumes.Progress) { told.Add(1); cancel() }})
	if !errors.Is(err, context.Canceled) || errors.Is(err, volumes.ErrWrong) || told.Load() != 1 {
		t.Errorf("got %v after %d words; want the context's error after 1", err, told.Load())
	}
}

func TestBuildRefusesAnEmptyDirectory(t *testing.T) {
	if _, _, err := Build(t.Context(), t.TempDir(), Options{Name: "M"}); !errors.Is(err, volumes.ErrWrong) {
		t.Errorf("got %v, want ErrWrong", err)
	}
}

func TestManyFaultsAreToldInShort(t *testing.T) {
	var m Manifest
	for i := range 30 {
		m.Entries = append(m.Entries, Entry{Path: fmt.Sprintf("f%02d", i), Sum: sumOf("a"), Size: -1})
	}
	err := m.Compare(nil, false)
	if !errors.Is(err, volumes.ErrWrong) || !strings.HasSuffix(err.Error(), "f09 is missing; and 20 more") {
		t.Errorf("got %v", err)
	}
}
