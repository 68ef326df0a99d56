// Package reports keeps the reports of recoveries outside Temporal, readable
// with no worker and no engine.
//
// The implementations of [Store] are disk and s3. [Keep] writes a report into
// them and chains it to the one before, [Verify] sees whether any was changed or
// is missing, [Recall] tells what earlier ones say about the time that steps take.
package reports

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// MaxSize is the most that one report may hold, in bytes.
const MaxSize = 16 << 20

// maxName bounds a name, so that it is one on every disk and in every bucket, in bytes.
const maxName = 512

var (
	// ErrNone means that there is no such report.
	ErrNone = errors.New("no such report")
	// ErrExists means that there is a report of this name already.
	ErrExists = errors.New("there is such a report already")
	// ErrName means that a name cannot be that of a report.
	ErrName = errors.New("not a name of a report")
)

// segment is one part of a name. It begins with a letter or digit: what begins
// with a dot is hidden, or no file at all.
var segment = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)

// Store keeps reports under names such as fun-asr/7.json: parts of letters,
// digits, dots, underscores and dashes, with slashes between them. What is the
// name of a report is not also the beginning of another's before a slash.
type Store interface {
	// Write keeps a report. Writing the same name again replaces it, in one atomic step. It is durable when Write
	// returns nil. Other names, and more than MaxSize, are errors; those of names wrap ErrName.
	Write(ctx context.Context, name string, content []byte) error
	// Create keeps a report as Write does, and returns ErrExists where there is one of this name already: of two callers
	// at once, one wins. ErrExists may also follow an own try whose answer was lost: read what is there.
	Create(ctx context.Context, name string, content []byte) error
	// Read returns a report, or ErrNone.
	Read(ctx context.Context, name string) ([]byte, error)
	// List returns the names that begin with a prefix, in ascending order of their bytes; none for a prefix with
	// which no name can begin.
	List(ctx context.Context, prefix string) ([]string, error)
}

// CheckName returns an error that wraps ErrName for what is no name of a report.
func CheckName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("%w: %.40q... has more than %d bytes", ErrName, name, maxName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if !segment.MatchString(part) {
			return fmt.Errorf("%w: %q; write it as fun-asr/7.json", ErrName, name)
		}
	}
	return nil
}

// Begins reports whether any name can begin with a prefix. Stores ask it before
// they look, because some object stores fail at what could never be a key.
func Begins(prefix string) bool {
	return CheckName(prefix) == nil || CheckName(prefix+"x") == nil
}

// CheckSize returns an error for content that is too large to be a report.
func CheckSize(name string, content []byte) error {
	if len(content) > MaxSize {
		return fmt.Errorf("report %s has %d MiB, at most %d are kept", name, len(content)>>20, MaxSize>>20)
	}
	return nil
}
