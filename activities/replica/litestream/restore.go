package litestream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/replica/internal/restoring"
	"github.com/understudy-dr/understudy/runbooks"
)

var _ restoring.Way = way{}

// way restores databases with the litestream program.
type way struct {
	replica *Replica
	program string
}

// Beside lists SQLite's journals and the directory in which Litestream keeps
// its own state. Left over from an older database, a journal would be applied
// to the restored one, and Litestream would take up at the wrong place.
func (way) Beside(path string) []string { return replica.BesideDatabase(path) }

func (way) Free(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", replica.ErrExists, path)
	}
	return nil
}

func (w way) Fill(ctx context.Context, to, private string, d runbooks.Data, p replica.Point) (replica.Restored, error) {
	target, err := parseTXID(p.Position)
	if err != nil {
		return replica.Restored{}, fmt.Errorf("%w: %w", replica.ErrNone, err)
	}
	if err := w.reachable(ctx, d, p.Epoch, target); err != nil {
		return replica.Restored{}, err
	}
	if err := w.run(ctx, order{replica: replica.Prefix(d.Replica, p.Epoch), target: target, to: to, private: private}); err != nil {
		return replica.Restored{}, err
	}
	answer, err := prove(ctx, to, d.Check)
	if err != nil {
		return replica.Restored{}, err
	}
	return replica.Restored{Point: p, Check: answer}, nil
}

// reachable makes sure, before anything is fetched, that the database can be put
// together exactly as of a transaction.
func (w way) reachable(ctx context.Context, d runbooks.Data, epoch int64, target txid) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	store, err := open(w.replica.clients, replica.Prefix(d.Replica, epoch))
	if err != nil {
		return err
	}
	files, err := list(ctx, store)
	if err != nil {
		return err
	}
	if last, _ := end(files, target); last.max != target {
		return fmt.Errorf("%w at %s as of transaction %s any more; look again", replica.ErrNone, store, target)
	}
	return nil
}
