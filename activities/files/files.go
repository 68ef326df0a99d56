// Package files reads the small files that runbooks name: a canary's audio.
//
// [New] opens paths, web addresses and objects. In a disaster the store that
// holds such a file may be down as well; [Cache] therefore keeps the last
// content on disk and hands it out when the source does not answer.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxSize is the most that is read of one file, in bytes.
const MaxSize = 32 << 20

var (
	// ErrUnavailable means that the source did not answer and nothing was kept.
	ErrUnavailable = errors.New("file unavailable")
	// ErrMissing means that the source answered and holds no such file, or an empty one, and nothing was kept.
	ErrMissing = errors.New("file missing or empty")
	// ErrTooLarge means that the file is larger than MaxSize.
	ErrTooLarge = fmt.Errorf("file larger than %d MiB", MaxSize>>20)
)

// Opener reads whole files by reference: s3://bucket/key, http(s)://..., file:///path, or a path.
type Opener interface {
	// Read returns the file's content, at most MaxSize bytes. It changes nothing and returns when the context ends;
	// a source that hangs is then ErrUnavailable. The content may be shared: nobody may change it.
	Read(ctx context.Context, ref string) ([]byte, error)
}

// The beginnings of references that are no paths.
const (
	schemeFile  = "file://"
	schemeHTTP  = "http://"
	schemeHTTPS = "https://"
	schemeS3    = "s3://"
)

// Local returns the path that a reference names, where it names one on this machine.
func Local(ref string) (path string, ok bool) {
	if path, ok := strings.CutPrefix(ref, schemeFile); ok {
		return path, true
	}
	return ref, !strings.Contains(ref, "://")
}

// readAll reads a whole file within its limit.
func readAll(r io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case len(content) > MaxSize:
		return nil, ErrTooLarge
	case len(content) == 0:
		return nil, ErrMissing
	default:
		return content, nil
	}
}
