package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/understudy-dr/understudy/activities/volumes"
)

const (
	// VersionFile holds the version of a model, in one line. Where the manifest lists it, it must say something.
	VersionFile = "VERSION"
	// maxVersion is the longest version, in bytes.
	maxVersion = 256
)

// Options say how a directory is verified.
type Options struct {
	// Name of the manifest within the directory, which it does not list.
	Name string
	// Full hashes every byte. Else names and sizes are compared, and the version is read.
	Full bool
	// Extra allows files that the manifest does not list: what a service wrote beside its model.
	Extra bool
	// Version is demanded, also where the manifest does not list the file.
	Version bool
	// Workers hash at the same time; 0 is DefaultWorkers.
	Workers int
	// Tell is told how many bytes are hashed, from one goroutine at a time. May be nil.
	Tell func(volumes.Progress)
}

// Summary is what a directory holds.
type Summary struct {
	// Files and Bytes are those that the manifest lists.
	Files   int
	Bytes   int64
	Version string
}

// Mismatch is a file whose content is not what the manifest says. It is a volumes.ErrWrong.
type Mismatch struct {
	File, Want, Got string
}

func (m *Mismatch) Error() string {
	return fmt.Sprintf("%v: %s has sha256 %s, its manifest says %s", volumes.ErrWrong, m.File, m.Got, m.Want)
}

func (m *Mismatch) Unwrap() error { return volumes.ErrWrong }

// Verify compares a directory with a manifest. Names and sizes come first, so
// that a wrong directory is refused before long reading; the first wrong hash
// ends the rest. What is wrong with the directory is volumes.ErrWrong, errors
// of the disk or mount below it are not.
func Verify(ctx context.Context, dir string, m Manifest, o Options) (Summary, error) {
	root, err := openDir(dir)
	if err != nil {
		return Summary{}, err
	}
	defer root.Close()
	listing, err := Scan(ctx, root, o.Name)
	if err != nil {
		return Summary{}, err
	}
	if err := m.Compare(listing, o.Extra); err != nil {
		return Summary{}, err
	}
	var s Summary
	if s.Version, err = version(root, m, o.Version); err != nil {
		return Summary{}, err
	}
	wanted := make([]Entry, len(m.Entries)) // with the sizes of the directory
	for i, e := range m.Entries {
		at, _ := slices.BinarySearchFunc(listing, e, byPath)
		wanted[i] = Entry{Path: e.Path, Sum: e.Sum, Size: listing[at].Size}
		s.Files, s.Bytes = s.Files+1, s.Bytes+listing[at].Size
	}
	if !o.Full {
		return s, nil
	}
	return s, hashAll(ctx, root, wanted, o, func(want Entry, sum string) error {
		if sum != want.Sum {
			return &Mismatch{File: want.Path, Want: want.Sum, Got: sum}
		}
		return nil
	})
}

// Build hashes a directory and returns its manifest.
func Build(ctx context.Context, dir string, o Options) (Manifest, Summary, error) {
	root, err := openDir(dir)
	if err != nil {
		return Manifest{}, Summary{}, err
	}
	defer root.Close()
	entries, err := Scan(ctx, root, o.Name)
	if err != nil {
		return Manifest{}, Summary{}, err
	}
	if len(entries) == 0 {
		return Manifest{}, Summary{}, fmt.Errorf("%w: %s has no files", volumes.ErrWrong, dir)
	}
	m, s := Manifest{Entries: entries}, Summary{Files: len(entries)}
	for _, e := range entries {
		s.Bytes += e.Size
	}
	if s.Version, err = version(root, m, o.Version); err != nil {
		return Manifest{}, Summary{}, err
	}
	places := make(map[string]int, len(entries))
	for i, e := range entries {
		places[e.Path] = i
	}
	sums := make([]string, len(entries)) // each written by one goroutine
	if err := hashAll(ctx, root, entries, o, func(e Entry, sum string) error {
		sums[places[e.Path]] = sum
		return nil
	}); err != nil {
		return Manifest{}, Summary{}, err
	}
	for i := range entries {
		entries[i].Sum = sums[i]
	}
	return m, s, nil
}

// version reads the version of the model, where it has one or must have one.
func version(root *os.Root, m Manifest, demanded bool) (string, error) {
	if _, listed := m.Find(VersionFile); !listed && !demanded {
		return "", nil
	}
	f, err := open(root, VersionFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s is missing", volumes.ErrWrong, VersionFile)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxVersion+1))
	if err != nil {
		return "", err
	}
	return ParseVersion(content)
}

// ParseVersion reads the content of a VERSION file: one line of text.
func ParseVersion(content []byte) (string, error) {
	text := strings.TrimSpace(string(content))
	switch {
	case text == "":
		return "", fmt.Errorf("%w: %s is empty", volumes.ErrWrong, VersionFile)
	case len(content) > maxVersion || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("%w: %s is not one short line of text: %.80q", volumes.ErrWrong, VersionFile, text)
	}
	return text, nil
}
