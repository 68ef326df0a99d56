package images

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	names := []string{"asr@9.json", "asr@10.json", "asr@10.qcow2", "tts@1.json", "other.txt", "@1.json"}
	for text, want := range map[string]string{"asr": "asr@10", "asr@9": "asr@9", "tts": "tts@1"} {
		ref, err := ParseRef(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ref.Choose(names); err != nil || got.String() != want {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"asr@11": "there is no version 11 of image asr, but 9, 10", "nobody": "there is no image nobody"} {
		ref, err := ParseRef(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ref.Choose(names); !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
	for _, text := range []string{"", "@1", "asr@", "../asr@1", "asr@a/b", "asr 1", "-x@1", "asr@\n", "ASR@1"} {
		if ref, err := ParseRef(text); err == nil {
			t.Errorf("%q is %s", text, ref)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"9", "10", -1}, {"10", "9", 1}, {"2512.1", "2512.1", 0}, {"2512.9", "2512.10", -1}, {"1", "1.1", -1}, {"1a", "1b", -1}} {
		if got := CompareVersions(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestManifest(t *testing.T) {
	ref := Ref{"asr", "1"}
	good := `{"name":"asr","version":"1","init":"slim","disk":"asr@1.qcow2","kernel":"asr@1.vmlinuz","initrd":"asr@1.initrd","files":[{"name":"asr@1.qcow2"},{"name":"asr@1.vmlinuz"},{"name":"asr@1.initrd"}]}`
	if _, err := ParseManifest([]byte(good), ref); err != nil {
		t.Error(err)
	}
	for _, change := range [][2]string{
		{`"version":"1"`, `"version":"2"`}, {`"disk":"asr@1.qcow2",`, ``}, {`"initrd":"asr@1.initrd",`, ``}, {`{"name":"asr@1.initrd"}`, `{"name":"asr@2.initrd"}`},
		{`{"name":"asr@1.qcow2"}`, `{"name":"asr@1./../x"}`}, {`{"name":"asr","`, `{"name":"asr`},
	} {
		if _, err := ParseManifest([]byte(strings.Replace(good, change[0], change[1], 1)), ref); !errors.Is(err, ErrImage) {
			t.Errorf("with %s: %v", change[1], err)
		}
	}
}

func TestDescription(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "asr"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "asr.yaml")
	read := func(text string) (Description, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return ReadDescription(file)
	}
	d, err := read("name: asr\nversion: \"3\"\npackages: [s3fs]\nfiles: [{from: asr, to: /usr/local/bin/asr, mode: \"0755\"}]\n")
	if err != nil || d.Init != Slim || d.Files[0].From != filepath.Join(dir, "asr") {
		t.Errorf("%+v, %v", d, err)
	}
	for text, want := range map[string]string{
		"name: asr\nversion: \"3\"\nnosuch: 1\n":                     "nosuch",
		"name: asr\n":                                                "make no image",
		"name: asr\nversion: \"3\"\npackages: [\"a;b\"]\n":           "is no package",
		"name: asr\nversion: \"3\"\nfiles: [{from: none, to: /x}]\n": "none",
		"name: asr\nversion: \"3\"\nfiles: [{from: asr, to: x}]\n":   "to is an absolute path",
		"name: asr\nversion: \"3\"\ninit: grub\n":                    `init "grub"`,
		"name: asr\nversion: \"3\"\nsize: much\n":                    `size "much"`,
		"name: asr\nversion: \"3\"\nsuite: \"book worm\"\n":          `suite "book worm"`,
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}

// An image whose bytes have changed is noticed.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("asr@1.qcow2", "disk")
	write("asr@1.json", `{"name":"asr","version":"1","disk":"asr@1.qcow2","files":[{"name":"asr@1.qcow2","size":4,"sha256":"`+sum(t, filepath.Join(dir, "asr@1.qcow2"))+`"}]}`)
	if m, err := Check(dir, Ref{Name: "asr"}); err != nil || m.Version != "1" {
		t.Errorf("%+v, %v", m, err)
	}
	if all, err := List(dir); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	write("asr@1.qcow2", "dusk")
	if _, err := Check(dir, Ref{Name: "asr"}); !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), "asr@1.qcow2 has 4 bytes and sha256") {
		t.Errorf("changed: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "asr@1.qcow2")); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(dir, Ref{Name: "asr"}); !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("removed: %v", err)
	}
}

func sum(t *testing.T, file string) string {
	f, err := Hash(file)
	if err != nil {
		t.Fatal(err)
	}
	return f.SHA256
}
