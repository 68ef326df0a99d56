// Package volumes brings model directories from S3 to a host, and proves that
// every byte that matters is the right one.
//
// A model directory in S3 has a manifest: one line per file, with its sha256 and
// path, sorted. The implementations of [Mounter] are s3fs and mount-s3 (a file
// system) and copy (parallel downloads); package manifest checks what they bring.
package volumes

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

var (
	// ErrUnavailable means that the store did not answer in time. Nothing is left mounted.
	ErrUnavailable = errors.New("model store unavailable")
	// ErrWrong means that the content is not what its manifest says; the error names the file and both hashes.
	ErrWrong = errors.New("model volume is not what its manifest says")
	// ErrRefused means that the volume cannot be brought here, and that a retry would not help.
	ErrRefused = errors.New("model volume refused")
)

// Mounted is a volume that is there.
type Mounted struct {
	// Path is where the service finds it.
	Path string `json:"path"`
	// How it came: s3fs, mount-s3 or copy.
	How string `json:"how"`
	// Version is the content of its VERSION file; empty where it has none.
	Version string    `json:"version,omitempty"`
	Files   int       `json:"files"`
	Bytes   int64     `json:"bytes"`
	Since   time.Time `json:"since"`
}

// Progress is how far a copy or a verification is.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
	// File is the one that is being read.
	File string `json:"file,omitempty"`
}

// Mounter brings volumes to this host.
type Mounter interface {
	// Mount brings a volume to its path, or finds it there already, for the key given; two calls with one key leave
	// one mount. It tells its progress now and then. It is bounded by the context also where the store accepts and
	// never answers, and leaves nothing behind on an error: no mount, no process, no half copy.
	Mount(ctx context.Context, key string, v runbooks.Volume, tell func(Progress)) (Mounted, error)
	// Unmount takes a volume of the key away, with what was made for it. It is idempotent, and takes away only
	// what this key brought.
	Unmount(ctx context.Context, key string, v runbooks.Volume) error
}
