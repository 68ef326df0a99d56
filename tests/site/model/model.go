// Package model is the directory that a speech service loads its model from.
//
// Beside the engine's files it has a VERSION, one line, and a MANIFEST.sha256:
// one line for each file, in the form of sha256sum, sorted by path. A service
// opens the directory before it loads anything, and refuses one that is not
// exactly what was built: half a copy, a flipped bit, two versions mixed.
package model

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// VersionFile names the model's version.
	VersionFile = "VERSION"
	// ManifestFile lists the checksum of every other file.
	ManifestFile = "MANIFEST.sha256"

	longestVersion = 64
)

// ErrRefused means that the directory is not a whole and unchanged model.
var ErrRefused = errors.New("model refused")

// Model is a directory that was verified.
type Model struct {
	Dir     string
	Version string
	// Extra are files that the manifest does not list; they are ignored.
	Extra []string
}

// Open verifies a model directory: every listed file with every byte, the
// version, and that the needed files are listed. Whatever is wrong is ErrRefused.
func Open(dir string, needed ...string) (Model, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Model{}, refuse(dir, err)
	}
	listed, err := readManifest(dir)
	if err != nil {
		return Model{}, refuse(dir, err)
	}
	for _, name := range append(needed, VersionFile) {
		if _, ok := listed[name]; !ok {
			return Model{}, refuse(dir, fmt.Errorf("%s does not list %s", ManifestFile, name))
		}
	}
	for name, want := range listed {
		got, err := checksum(filepath.Join(dir, name))
		if err != nil {
			return Model{}, refuse(dir, err)
		}
		if got != want {
			return Model{}, refuse(dir, fmt.Errorf("%s was changed: its checksum is %s, the manifest says %s", name, got, want))
		}
	}
	m := Model{Dir: dir}
	if m.Version, err = readVersion(dir); err != nil {
		return Model{}, refuse(dir, err)
	}
	if m.Extra, err = unlisted(dir, listed); err != nil {
		return Model{}, refuse(dir, err)
	}
	for _, name := range m.Extra {
		if filepath.Base(name) == VersionFile {
			return Model{}, refuse(dir, fmt.Errorf("a second version lies in it: %s", name))
		}
	}
	return m, nil
}

// Seal writes the manifest of all files in the directory.
func Seal(dir string) error {
	names, err := unlisted(dir, nil)
	if err != nil {
		return fmt.Errorf("seal model: %w", err)
	}
	var manifest strings.Builder
	for _, name := range names {
		sum, err := checksum(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("seal model: %w", err)
		}
		fmt.Fprintf(&manifest, "%s  %s\n", sum, name)
	}
	return os.WriteFile(filepath.Join(dir, ManifestFile), []byte(manifest.String()), 0o644)
}

func refuse(dir string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrRefused, dir, err)
}

func readManifest(dir string) (map[string]string, error) {
	file, err := os.Open(filepath.Join(dir, ManifestFile))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	listed := map[string]string{}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if bytes, err := hex.DecodeString(sum); !ok || err != nil || len(bytes) != sha256.Size {
			return nil, fmt.Errorf("%s:%d: want a sha256, two spaces and a path", ManifestFile, n)
		}
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("%s:%d: %q leads out of the directory", ManifestFile, n, name)
		}
		if _, again := listed[name]; again {
			return nil, fmt.Errorf("%s:%d: %q is listed twice", ManifestFile, n, name)
		}
		listed[name] = strings.ToLower(sum)
	}
	return listed, lines.Err()
}

func readVersion(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, VersionFile))
	if err != nil {
		return "", err
	}
	version := strings.TrimSpace(string(text))
	if version == "" || len(version) > longestVersion || strings.ContainsAny(version, "\r\n") {
		return "", fmt.Errorf("%s must hold one line of at most %d characters", VersionFile, longestVersion)
	}
	return version, nil
}

// unlisted are the files below the directory that are not in the list, sorted; the manifest is none of them.
func unlisted(dir string, listed map[string]string) ([]string, error) {
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if _, ok := listed[name]; !ok && name != ManifestFile {
			names = append(names, name)
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

func checksum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
