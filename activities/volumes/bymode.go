package volumes

import (
	"context"

	"github.com/understudy-dr/understudy/runbooks"
)

// Modes of a volume, as runbooks write them.
const (
	ModeMount = "mount"
	ModeCopy  = "copy"
)

// VerifySize compares sizes before the volume counts as mounted, and leaves the
// hashes to a Verify behind it. Everything else hashes every byte first.
const VerifySize = "size"

// Provider does all that can be done with volumes.
type Provider interface {
	Mounter
	Inspector
	Verifier
}

var _ Provider = ByMode{}

// ByMode mounts each volume in the way that its runbook asks for. A writable one
// is always a copy: its service needs a disk of its own to write to, and a copy
// is the plainest way to give it one.
type ByMode struct {
	// Mounts serves mode mount: s3fs or mount-s3.
	Mounts Provider
	// Copies serves mode copy, and what is writable.
	Copies Provider
}

// Mount brings a volume to its path.
func (b ByMode) Mount(ctx context.Context, key string, v runbooks.Volume, tell func(Progress)) (Mounted, error) {
	return b.of(v).Mount(ctx, key, v, tell)
}

// Unmount takes a volume away.
func (b ByMode) Unmount(ctx context.Context, key string, v runbooks.Volume) error {
	return b.of(v).Unmount(ctx, key, v)
}

// Inspect looks at a volume in its bucket.
func (b ByMode) Inspect(ctx context.Context, v runbooks.Volume) (Mounted, error) {
	return b.of(v).Inspect(ctx, v)
}

// Verify hashes a volume behind its service.
func (b ByMode) Verify(ctx context.Context, key string, v runbooks.Volume, tell func(Progress)) error {
	return b.of(v).Verify(ctx, key, v, tell)
}

func (b ByMode) of(v runbooks.Volume) Provider {
	if v.Mode == ModeCopy || v.Writable {
		return b.Copies
	}
	return b.Mounts
}
