// Package manifest proves that a model directory is the right one.
//
// A manifest is a text file in the format of sha256sum: a line per file, with
// its hash and its path, sorted by path; sha256sum -c checks it too. Sizes, which
// that format does not know, stand in comments ("# size 1234 model.pt"), which
// sha256sum skips. They let a truncated or exchanged file be seen at once,
// without reading it. A manifest without sizes is fine: sizes then come from the
// listing of the bucket where there is one.
package manifest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-dr/understudy/activities/volumes"
)

const (
	// MaxSize is the most that a manifest may hold, in bytes; some 100,000 files.
	MaxSize = 16 << 20

	// sizeComment begins the comments that tell sizes.
	sizeComment = "# size "
	// title is the first line of the manifests that Understudy writes.
	title = "# model manifest; check the directory with: sha256sum -c"
	// sumLength is a sha256 in hexadecimal digits.
	sumLength = 64
)

// Entry is one file of a model directory.
type Entry struct {
	// Path is relative to the directory, with slashes.
	Path string
	// Sum is the sha256, in lower-case hexadecimal digits.
	Sum string
	// Size in bytes, -1 where the manifest does not tell.
	Size int64
}

// Manifest lists the files of a model directory, sorted by path. It does not list itself.
type Manifest struct{ Entries []Entry }

// Parse reads a manifest. It refuses, with volumes.ErrWrong and the number of
// the line, what it does not understand and what would lead out of the directory.
func Parse(r io.Reader) (Manifest, error) {
	content, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return Manifest{}, err
	}
	if len(content) > MaxSize {
		return Manifest{}, fmt.Errorf("%w: the manifest itself is larger than %d MiB", volumes.ErrWrong, MaxSize>>20)
	}
	entries, sizes := map[string]Entry{}, map[string]int64{}
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, MaxSize)
	for number := 1; lines.Scan(); number++ {
		if err := parseLine(lines.Text(), entries, sizes); err != nil {
			return Manifest{}, fmt.Errorf("%w: line %d of the manifest: %w", volumes.ErrWrong, number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", volumes.ErrWrong, err)
	}
	if len(entries) == 0 {
		return Manifest{}, fmt.Errorf("%w: the manifest lists no file", volumes.ErrWrong)
	}
	m := Manifest{Entries: slices.SortedFunc(maps.Values(entries), byPath)}
	for i, e := range m.Entries {
		for parent := path.Dir(e.Path); parent != "."; parent = path.Dir(parent) {
			if _, both := entries[parent]; both {
				return Manifest{}, fmt.Errorf("%w: the manifest has %q as a file and as a directory", volumes.ErrWrong, parent)
			}
		}
		if size, told := sizes[e.Path]; told {
			m.Entries[i].Size = size
		}
	}
	return m, nil
}

func parseLine(line string, entries map[string]Entry, sizes map[string]int64) error {
	if told, ok := strings.CutPrefix(line, sizeComment); ok {
		digits, name, _ := strings.Cut(told, " ")
		if size, err := strconv.ParseInt(digits, 10, 64); err == nil && size >= 0 {
			sizes[name] = size
		}
		return nil // any other comment may begin with these words too
	}
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	if len(line) < sumLength+2 || line[sumLength] != ' ' || (line[sumLength+1] != ' ' && line[sumLength+1] != '*') {
		return fmt.Errorf("%.80q is not sha256sum's format: 64 hexadecimal digits, two spaces, path", line)
	}
	sum, name := strings.ToLower(line[:sumLength]), strings.TrimPrefix(line[sumLength+2:], "./")
	if _, err := hex.DecodeString(sum); err != nil {
		return fmt.Errorf("%.80q does not begin with a sha256", line)
	}
	if err := CheckPath(name); err != nil {
		return err
	}
	if _, twice := entries[name]; twice {
		return fmt.Errorf("%q is listed twice", name)
	}
	entries[name] = Entry{Path: name, Sum: sum, Size: -1}
	return nil
}

// Encode writes the manifest in the format that Parse and sha256sum read.
func (m Manifest) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, title)
	sorted := slices.SortedFunc(slices.Values(m.Entries), byPath)
	for _, e := range sorted {
		if e.Size >= 0 {
			fmt.Fprintf(&b, "%s%d %s\n", sizeComment, e.Size, e.Path)
		}
	}
	for _, e := range sorted {
		fmt.Fprintf(&b, "%s  %s\n", e.Sum, e.Path)
	}
	return b.Bytes()
}

// Find returns the entry of a path.
func (m Manifest) Find(name string) (Entry, bool) {
	i, found := slices.BinarySearchFunc(m.Entries, name, func(e Entry, name string) int { return strings.Compare(e.Path, name) })
	if !found {
		return Entry{}, false
	}
	return m.Entries[i], true
}

// Same reports whether two manifests list the same files with the same hashes.
func (m Manifest) Same(other Manifest) bool {
	return slices.EqualFunc(m.Entries, other.Entries, func(a, b Entry) bool { return a.Path == b.Path && a.Sum == b.Sum })
}

func byPath(a, b Entry) int { return strings.Compare(a.Path, b.Path) }
