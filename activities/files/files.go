// Package files reads the small files that runbooks name: a canary's audio.
//
// In a disaster the store that holds such a file may be down as well. [Cache]
// therefore keeps the last content on disk and hands it out when the source
// does not answer.
package files

import (
	"context"
	"errors"
)

// MaxSize is the most that is read of one file.
const MaxSize = 32 << 20

// ErrUnavailable means that the source did not answer and nothing was kept.
var ErrUnavailable = errors.New("file unavailable")

// Opener reads whole files by reference: s3://bucket/key, http(s)://..., or a path.
type Opener interface {
	// Read returns the file's content, at most MaxSize bytes.
	Read(ctx context.Context, ref string) ([]byte, error)
}
