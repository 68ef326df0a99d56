package jobs

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// MaxLine is the longest line of a manifest, in bytes.
	MaxLine = 256 << 10
	// MaxManifest is the largest object that S3 takes in one piece, in bytes.
	MaxManifest = 5 << 30
	// MaxSeconds of one item is a week; a longer one is a mistake, mostly of the unit.
	MaxSeconds = 7 * 24 * 3600
	// maxPath is the longest path of audio, in bytes: that of S3's keys.
	maxPath = 1024
	// maxProblems bounds how many problems of a manifest are listed; the rest is counted.
	maxProblems = 10_000

	byteOrderMark = "\xef\xbb\xbf"
)

// Problem is one thing that is wrong with a manifest.
type Problem struct {
	// Line counts from 1, blank ones included; 0 is about the whole file.
	Line  int64  `json:"line"`
	Field string `json:"field,omitempty"`
	Why   string `json:"why"`
}

func (p Problem) String() string {
	text := p.Why
	if p.Field != "" {
		text = p.Field + ": " + text
	}
	if p.Line > 0 {
		text = fmt.Sprintf("line %d: %s", p.Line, text)
	}
	return text
}

// ManifestError lists everything that is wrong with a manifest.
type ManifestError struct {
	Problems []Problem
	// More is how many problems there are beyond the list.
	More int64
}

func (e *ManifestError) Error() string {
	const shown = 20
	var all []string
	for _, p := range e.Problems[:min(len(e.Problems), shown)] {
		all = append(all, p.String())
	}
	if rest := int64(len(e.Problems)-len(all)) + e.More; rest > 0 {
		all = append(all, fmt.Sprintf("and %d more", rest))
	}
	return "the manifest is not usable: " + strings.Join(all, "; ")
}

// Is makes errors.Is find ErrInvalid.
func (e *ManifestError) Is(target error) bool { return target == ErrInvalid }

func (e *ManifestError) add(line int64, problems ...Problem) {
	for _, p := range problems {
		p.Line = line
		if len(e.Problems) < maxProblems {
			e.Problems = append(e.Problems, p)
		} else {
			e.More++
		}
	}
}

// CheckManifest reads a NeMo manifest (JSON lines with audio_filepath and
// duration) to its end and returns its figures, or a *ManifestError with all that
// is wrong. base is where relative paths begin and below which all audio must
// lie. It remembers about 50 bytes an item, to find duplicates.
func CheckManifest(r io.Reader, base string) (Manifest, error) {
	if err := checkBase(base); err != nil {
		return Manifest{}, err
	}
	whole := sha256.New()
	lines := newLines(io.TeeReader(r, whole))
	seen := map[[16]byte]int64{}
	var m Manifest
	var wrong ManifestError
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, errLongLine) {
			wrong.add(lines.number, Problem{Why: err.Error()})
			continue
		}
		if err != nil {
			return Manifest{}, fmt.Errorf("read the manifest: %w", err)
		}
		item := parseItem(line, base)
		wrong.add(lines.number, item.Problems...)
		m.Items++
		m.Seconds += item.Seconds
		if len(item.Problems) > 0 {
			continue
		}
		key := fingerprint(resolve(base, item.AudioPath))
		if first, again := seen[key]; again {
			wrong.add(lines.number, Problem{Field: "audio_filepath", Why: fmt.Sprintf("the same audio as in line %d", first)})
		} else {
			seen[key] = lines.number
		}
	}
	m.Bytes = lines.bytes
	switch {
	case m.Items == 0 && len(wrong.Problems) == 0:
		wrong.add(0, Problem{Why: "it has no items"})
	case m.Items > MaxItems:
		wrong.add(0, Problem{Why: fmt.Sprintf("it has more than %d items", MaxItems)})
	case m.Bytes > MaxManifest:
		wrong.add(0, Problem{Why: "it is larger than 5 GiB"})
	}
	if len(wrong.Problems) > 0 {
		return Manifest{}, &wrong
	}
	m.SHA256 = fmt.Sprintf("%x", whole.Sum(nil))
	m.Key = "manifest-" + m.SHA256[:12] + ".jsonl"
	return m, nil
}

// fingerprint stands for a name where millions are remembered.
func fingerprint(name string) [16]byte {
	full := sha256.Sum256([]byte(name))
	return [16]byte(full[:16])
}

// errLongLine is about one line; the next one can be read.
var errLongLine = fmt.Errorf("it is longer than %d KiB", MaxLine>>10)

// lines reads the lines of a manifest that are not blank.
type lines struct {
	r *bufio.Reader
	// number of the line that was read last, from 1; bytes up to its end.
	number, bytes int64
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, MaxLine)} }

// next returns the next line that is not blank, without its end.
func (l *lines) next() ([]byte, error) {
	for {
		line, err := l.r.ReadSlice('\n')
		l.bytes += int64(len(line))
		if len(line) > 0 {
			l.number++
		}
		tooLong := false
		for errors.Is(err, bufio.ErrBufferFull) {
			tooLong = true
			line, err = l.r.ReadSlice('\n')
			l.bytes += int64(len(line))
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if tooLong {
			return nil, errLongLine
		}
		if trimmed := trim(line, l.number == 1); len(trimmed) > 0 {
			return bytes.Clone(trimmed), nil
		}
		if err != nil {
			return nil, io.EOF
		}
	}
}

// trim leaves out what is no part of a line: spaces, the line's end, a byte order mark.
func trim(line []byte, first bool) []byte {
	if first {
		line = bytes.TrimPrefix(line, []byte(byteOrderMark))
	}
	return bytes.TrimSpace(line)
}
