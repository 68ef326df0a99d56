// Package volumes brings model directories from S3 to a host, and proves that
// every byte that matters is the right one.
//
// A model directory in S3 has a manifest: one line per file, with its sha256 and
// path, sorted; its VERSION file, where it has one, is listed like any other
// and must hold one line. The implementations of [Mounter] are s3fs and
// mountpoint (a file system) and copy (parallel downloads); [ByMode] picks the one
// that a runbook asks for. Package push writes such directories.
//
// All of them work on the host on which they run: for a standby of kind local
// that is this one. A machine that is made from an image (ec2, libvirt) mounts
// its volumes itself when it boots, and checks them with sha256sum.
//
// A mount lives in the mount namespace of the process that made it: a service
// that reads it must not be started with a private one (systemd's PrivateMounts,
// PrivateTmp and ProtectSystem make one for Understudy's own unit).
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
	// what this key brought. What a service wrote into a writable copy goes with it.
	Unmount(ctx context.Context, key string, v runbooks.Volume) error
}

// Inspector looks at a volume in its bucket, before any disaster. Every mounter is one.
type Inspector interface {
	// Inspect tells what Mount would bring, or why it would fail, as far as that shows without reading the files: it
	// compares the listing with the manifest, and reads VERSION. It changes nothing.
	Inspect(ctx context.Context, v runbooks.Volume) (Mounted, error)
}

// Verifier hashes a volume behind its service. Every mounter is one.
type Verifier interface {
	// Verify hashes every byte of what the key mounted with verify: size, and changes nothing: a volume that turns out
	// ErrWrong stays for its service until somebody decides. A key that mounted nothing is ErrRefused.
	Verify(ctx context.Context, key string, v runbooks.Volume, tell func(Progress)) error
}

// Proof is how far a volume in its bucket has been proven.
type Proof struct {
	Version string
	Files   int
	Bytes   int64
	// Proven are the bytes that were hashed, now or before, and are right.
	Proven int64
}

// Prover proves a volume in its bucket, before any disaster.
type Prover interface {
	// Prove compares the volume with its manifest, hashing what was never hashed for as long as within says. What is left
	// is for the next time. A wrong file is ErrWrong, with its name and both hashes.
	Prove(ctx context.Context, v runbooks.Volume, within time.Duration) (Proof, error)
}
