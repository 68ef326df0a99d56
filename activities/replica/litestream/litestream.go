// Package litestream restores SQLite databases that Litestream 0.5 replicates.
//
// Looking needs no Litestream: the names of its files say which transactions
// they hold, and the first bytes of the newest one say when those were written.
// Restoring is done by the litestream program, so that whoever wrote the files
// also reads them; it is a tool beside Understudy and not linked into it, because
// its module asks for newer OpenTelemetry and SQLite modules than the embedded
// engine is pinned to. The restored database is then proven here.
//
// A replica is an s3://bucket/prefix or a file:///directory. Each epoch has a
// prefix of its own below it, and only the newest primary writes to the newest.
package litestream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/replica/internal/restoring"
	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	how = "litestream"
	// lookTimeout bounds a look also where the caller has more time: a store that needs longer for a listing will not
	// deliver a database either.
	lookTimeout = 15 * time.Second
)

// Config is what the replica needs.
type Config struct {
	Clients s3access.Clients
	// State is the private directory that remembers what was restored. It must outlive Understudy.
	State string
	// Program is the path of litestream, 0.5.17 or newer. Default: where the shell would find it.
	Program string
}

var _ replica.Replica = (*Replica)(nil)

// Replica restores databases.
type Replica struct {
	clients  s3access.Clients
	restorer *restoring.Restorer
}

// New returns a replica. It does not connect.
func New(c Config) *Replica {
	if c.Program == "" {
		c.Program = program
	}
	r := &Replica{clients: c.Clients}
	r.restorer = &restoring.Restorer{How: how, Book: holds.New(c.State), Way: way{r, c.Program}}
	return r
}

// Look returns the newest transaction of an epoch that can be restored. Its time
// is the one at which Litestream took it from the database, by the clock of the
// machine that wrote it: everything that was committed earlier is in it. Where
// nothing was written lately, nothing is missing, and the time is only old.
func (r *Replica) Look(ctx context.Context, d runbooks.Data, epoch int64) (replica.Point, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	store, err := open(r.clients, replica.Prefix(d.Replica, epoch))
	if err != nil {
		return replica.Point{}, err
	}
	for again := false; ; again = true {
		point, err := look(ctx, store, epoch)
		switch vanished := errors.Is(err, errVanished); { // Litestream merged the file with others meanwhile
		case !vanished:
			return point, err
		case again:
			return point, fmt.Errorf("%w: the newest file of %s vanishes again and again", replica.ErrUnavailable, store)
		}
	}
}

func look(ctx context.Context, store store, epoch int64) (replica.Point, error) {
	files, err := list(ctx, store)
	if err != nil {
		return replica.Point{}, err
	}
	newest, ok := end(files, 0)
	if !ok {
		return replica.Point{}, fmt.Errorf("%w at %s that can be restored: the transactions do not begin with the first one", replica.ErrNone, store)
	}
	at, err := writtenAt(ctx, store, newest)
	if err != nil {
		return replica.Point{}, err
	}
	return replica.Point{Epoch: epoch, Position: newest.max.String(), At: at}, nil
}

// list lists the replica's files; none at all is ErrNone.
func list(ctx context.Context, store store) ([]file, error) {
	names, err := store.list(ctx)
	if err != nil {
		return nil, err
	}
	if files := parseFiles(names); len(files) > 0 {
		return files, nil
	}
	if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, oldDir) }) {
		return nil, fmt.Errorf("%w at %s in the format of Litestream 0.5; it was written by 0.3, so replicate it with a newer one", replica.ErrNone, store)
	}
	return nil, fmt.Errorf("%w at %s", replica.ErrNone, store)
}

// Epochs lists the epochs that have a prefix.
func (r *Replica) Epochs(ctx context.Context, d runbooks.Data) ([]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	store, err := open(r.clients, d.Replica)
	if err != nil {
		return nil, err
	}
	names, err := store.dirs(ctx)
	return restoring.Epochs(names), err
}

// Restore brings the database as of a point to its path. ErrNone means also that
// the point is no longer there: Litestream merges transactions after some
// minutes, and then only knows the last of those that it merged. Look again.
func (r *Replica) Restore(ctx context.Context, key string, d runbooks.Data, p replica.Point) (replica.Restored, error) {
	return r.restorer.Restore(ctx, key, d, p)
}

// Remove takes the database away, with the journals and Litestream's own files
// beside it. What a service wrote into it goes with it: this is for a standby
// that never took traffic.
func (r *Replica) Remove(ctx context.Context, key string, d runbooks.Data) error {
	return r.restorer.Remove(ctx, key, d)
}

// SetAside moves the restored data beside its path, with all that belongs to it.
func (r *Replica) SetAside(ctx context.Context, key string, d runbooks.Data) (string, error) {
	return r.restorer.SetAside(ctx, key, d)
}
