// Package files reads the small files that runbooks name: a canary's audio.
//
// Package sources opens paths, web addresses and objects. In a disaster the store that
// holds such a file may be down as well; [Cache] therefore keeps the last
// content on disk and hands it out when the source does not answer.
package files

import (
	"context"
	"errors"
	"fmt"
	"net/url"
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

// schemeFile begins references to paths that are written as URLs.
const schemeFile = "file://"

// Local returns the path that a reference names, where it names one on this machine.
func Local(ref string) (path string, ok bool) {
	if path, ok := strings.CutPrefix(ref, schemeFile); ok {
		return path, true
	}
	return ref, !strings.Contains(ref, "://")
}

// Bare is a reference without the query of a web address, which may hold a signature: what errors may name.
func Bare(ref string) string {
	if _, local := Local(ref); local || strings.HasPrefix(ref, "s3://") {
		return ref
	}
	u, err := url.Parse(ref)
	if err != nil {
		return "a URL that cannot be read"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
