// Package replica restores the data that follows a service: a SQLite database
// that Litestream replicates, a directory of files that is synchronised.
//
// Each epoch writes below a prefix of its own (…/epoch-7/), so that a revived
// old primary cannot damage what its successor writes. The implementations of
// [Replica] are litestream and files.
//
// They restore on the host on which they run: for a standby of kind local that
// is this one. A machine that is made from an image (ec2, libvirt) restores its
// data itself when it boots, from the point that it is told.
package replica

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

var (
	// ErrNone means that nothing was ever replicated there, or that a point is no longer there: look again.
	ErrNone = errors.New("nothing is replicated")
	// ErrUnavailable means that the store did not answer.
	ErrUnavailable = errors.New("replica store unavailable")
	// ErrDamaged means that what was restored does not pass its check.
	ErrDamaged = errors.New("restored data does not pass its check")
	// ErrExists means that data of somebody else is at the path already; it is not overwritten.
	ErrExists = errors.New("other data is at the path")
)

// Prefix is where an epoch replicates to, below the runbook's replica or bucket.
func Prefix(base string, epoch int64) string { return fmt.Sprintf("%s/epoch-%d", base, epoch) }

// DrillPrefix is where the machine of a drill writes: nobody ever restores from there.
func DrillPrefix(base string, epoch int64) string { return fmt.Sprintf("%s/drill-%d", base, epoch) }

// BesideDatabase lists what may belong to a SQLite database at a path, always
// in the same order: its journals, and what Litestream keeps for itself.
func BesideDatabase(path string) []string {
	dir, base := filepath.Split(path)
	return []string{path + "-wal", path + "-shm", path + "-journal", path + "-txid", filepath.Join(dir, "."+base+"-litestream")}
}

// Point is how far a replica is.
type Point struct {
	// Epoch whose prefix it is.
	Epoch int64 `json:"epoch"`
	// Position pins it: a transaction id, or the time of the newest file.
	Position string `json:"position"`
	// At is the time of the newest change that arrived.
	At time.Time `json:"at"`
	// Items are the files of a directory, or 0.
	Items int `json:"items,omitempty"`
}

// Lag is how much of the newest data is missing at a moment; the recovery point
// of a cut at that moment.
func (p Point) Lag(at time.Time) time.Duration { return max(at.Sub(p.At), 0) }

// Restored is data that was brought back.
type Restored struct {
	Point
	// Path is where it is now.
	Path string `json:"path"`
	// Check is what the runbook's query answered on it.
	Check string `json:"check,omitempty"`
	// Already is true where an earlier try of the same key had restored it.
	Already bool `json:"already,omitempty"`
}

// Replica is one kind of replicated data.
type Replica interface {
	// Look returns the newest point of an epoch's prefix, ErrNone or ErrUnavailable. It changes nothing.
	Look(ctx context.Context, d runbooks.Data, epoch int64) (Point, error)
	// Epochs lists the epochs that have a prefix, in ascending order.
	Epochs(ctx context.Context, d runbooks.Data) ([]int64, error)
	// Restore brings the data of a point to the path of d, and proves it by the check. It writes beside the path
	// and renames, so that a crash leaves either nothing or all of it; repeated with the same key it finds what it
	// did. Other data at the path is ErrExists. A point that is no longer there is ErrNone, and a store that does not
	// answer within the context ErrUnavailable; an error leaves nothing behind.
	Restore(ctx context.Context, key string, d runbooks.Data, p Point) (Restored, error)
	// Remove takes away what Restore brought with this key, and nothing else. It is idempotent. What a service wrote
	// into the data since goes with it: it is for a standby that never took traffic.
	Remove(ctx context.Context, key string, d runbooks.Data) error
	// SetAside moves what Restore brought with this key to a path beside its own, which it returns, so that the path is
	// free again and nothing is lost: for a standby that took traffic and has stopped. Where nothing of this key is at
	// the path it returns none. It is idempotent.
	SetAside(ctx context.Context, key string, d runbooks.Data) (path string, err error)
}
