// Package reports keeps the reports of recoveries outside Temporal, readable
// with no worker and no engine.
//
// The implementations of [Store] are disk and s3.
package reports

import (
	"context"
	"errors"
)

// ErrNone means that there is no such report.
var ErrNone = errors.New("no such report")

// Store keeps reports under names such as fun-asr/7.json.
type Store interface {
	// Write keeps a report. Writing the same name again replaces it, in one atomic step.
	Write(ctx context.Context, name string, content []byte) error
	// Read returns a report, or ErrNone.
	Read(ctx context.Context, name string) ([]byte, error)
	// List returns the names that begin with a prefix, in ascending order of their bytes.
	List(ctx context.Context, prefix string) ([]string, error)
}
