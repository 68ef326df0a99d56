// Package restoring is what all replicas have in common: data appears at its
// path in one step and proven, or not at all; one key restores it once.
//
// The hold is written first; the data is put together in a hidden directory
// beside the path, proven, renamed, and the hold becomes ready. An error on the
// way takes away what was made, and so does whoever comes after a crash.
package restoring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// filled is the name of the data in the hidden directory, and removed what it becomes there when it is taken away.
	filled  = "data"
	removed = "removed"
)

// Way is how one kind of data is restored.
type Way interface {
	// Beside lists what may belong to the data at a path, without the path itself: it must not be there before, and
	// goes with the data.
	Beside(path string) []string
	// Free reports whether the path itself may be written to.
	Free(path string) error
	// Fill writes the data of a point to a path that is not there, and proves it. It may use the private directory
	// for files that it needs meanwhile.
	Fill(ctx context.Context, to, private string, d runbooks.Data, p replica.Point) (replica.Restored, error)
}

// Restorer restores one kind of data.
type Restorer struct {
	How  string
	Book *holds.Book
	Way  Way
}

// Restore brings the data of a point to its path.
func (r *Restorer) Restore(ctx context.Context, key string, d runbooks.Data, p replica.Point) (replica.Restored, error) {
	path, err := r.check(key, d)
	if err != nil {
		return replica.Restored{}, err
	}
	l, err := r.Book.Take(ctx, path)
	if err != nil {
		return replica.Restored{}, err
	}
	defer l.Release()
	order := strings.Join([]string{d.Replica, d.Bucket, fmt.Sprint(p.Epoch), p.Position}, " ")
	if found, err := r.find(l, key, order); found != nil || err != nil {
		return *orZero(found), err
	}
	if err := r.free(path); err != nil {
		return replica.Restored{}, err
	}
	hold := holds.Hold{Path: path, Key: key, How: r.How, Order: order, Made: holds.Missing(path), Temp: l.Beside(path)}
	if err := l.Keep(hold); err != nil {
		return replica.Restored{}, err
	}
	restored, err := r.bring(ctx, l, d, p)
	if err != nil {
		return replica.Restored{}, errors.Join(err, r.takeAway(l))
	}
	return restored, nil
}

func orZero(r *replica.Restored) *replica.Restored {
	if r == nil {
		return &replica.Restored{}
	}
	return r
}

// find looks whether the key has restored the data already, and takes away what a crash left.
func (r *Restorer) find(l *holds.Lease, key, order string) (*replica.Restored, error) {
	h := l.Hold
	if h == nil {
		return nil, nil
	}
	intact := h.Ready && holds.Identify(h.Path) == h.Identity
	switch {
	case h.Key != key && intact:
		return nil, fmt.Errorf("%w: key %s restored what is at %s, at %s; remove that first", replica.ErrExists, h.Key, h.Path, h.Since.UTC().Format(time.RFC3339))
	case h.Key == key && h.Order != order && h.Ready:
		return nil, fmt.Errorf("%w: key %s restored another point to %s already; remove that first", replica.ErrExists, key, h.Path)
	case intact:
		var restored replica.Restored
		if err := json.Unmarshal(h.Result, &restored); err != nil {
			return nil, fmt.Errorf("the hold of %s is damaged: %w", h.Path, err)
		}
		restored.Already = true
		return &restored, nil
	}
	return nil, r.takeAway(l)
}

// free refuses a path at which, or beside which, other data is.
func (r *Restorer) free(path string) error {
	for _, beside := range r.Way.Beside(path) {
		if _, err := os.Lstat(beside); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s is there, which belongs to older data; move it away", replica.ErrExists, beside)
		}
	}
	return r.Way.Free(path)
}

func (r *Restorer) bring(ctx context.Context, l *holds.Lease, d runbooks.Data, p replica.Point) (replica.Restored, error) {
	hold := *l.Hold
	private, err := l.Private()
	if err != nil {
		return replica.Restored{}, err
	}
	if err := os.MkdirAll(filepath.Dir(hold.Temp), 0o755); err != nil {
		return replica.Restored{}, err
	}
	if err := os.Mkdir(hold.Temp, 0o700); err != nil {
		return replica.Restored{}, err
	}
	data := filepath.Join(hold.Temp, filled)
	restored, err := r.Way.Fill(ctx, data, private, d, p)
	if err != nil {
		return replica.Restored{}, explain(ctx, err)
	}
	restored.Path = hold.Path
	hold.Identity = holds.Identify(data)
	if err := l.Keep(hold); err != nil {
		return replica.Restored{}, err
	}
	if err := ctx.Err(); err != nil {
		return replica.Restored{}, err
	}
	if err := r.free(hold.Path); err != nil { // it took a while
		return replica.Restored{}, err
	}
	if err := holds.Place(data, hold.Path); errors.Is(err, fs.ErrExist) {
		return replica.Restored{}, fmt.Errorf("%w: %w", replica.ErrExists, err)
	} else if err != nil {
		return replica.Restored{}, err
	}
	hold.Ready, hold.Since, hold.Boot = true, time.Now().UTC(), holds.Boot()
	if hold.Result, err = json.Marshal(restored); err != nil {
		return replica.Restored{}, err
	}
	if err := errors.Join(os.RemoveAll(hold.Temp), os.RemoveAll(private)); err != nil {
		return replica.Restored{}, err
	}
	return restored, l.Keep(hold)
}

// explain tells what ended with the caller's time as a store that was too slow.
func explain(ctx context.Context, err error) error {
	for _, known := range []error{replica.ErrNone, replica.ErrUnavailable, replica.ErrDamaged, replica.ErrExists} {
		if errors.Is(err, known) {
			return err
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", replica.ErrUnavailable, err)
	}
	return err
}

// Remove takes away what the key restored.
func (r *Restorer) Remove(ctx context.Context, key string, d runbooks.Data) error {
	path, err := r.check(key, d)
	if err != nil {
		return err
	}
	l, err := r.Book.Take(ctx, path)
	if err != nil {
		return err
	}
	defer l.Release()
	if l.Hold == nil || l.Hold.Key != key {
		return nil
	}
	return r.takeAway(l)
}

// SetAside moves what the key restored, with what was written into it since, to
// a path beside its own. The hold goes last: whoever comes after a crash goes on.
func (r *Restorer) SetAside(ctx context.Context, key string, d runbooks.Data) (string, error) {
	path, err := r.check(key, d)
	if err != nil {
		return "", err
	}
	l, err := r.Book.Take(ctx, path)
	if err != nil {
		return "", err
	}
	defer l.Release()
	if l.Hold == nil || l.Hold.Key != key {
		return "", nil
	}
	h := *l.Hold
	if !h.Ready { // it never was there as a whole
		return "", r.takeAway(l)
	}
	aside := h.Path + ".kept-" + h.Since.UTC().Format("20060102T150405.000Z")
	if holds.Identify(h.Path) == h.Identity {
		if err := holds.Place(h.Path, aside); err != nil {
			return "", fmt.Errorf("keep %s as %s: %w", h.Path, aside, err)
		}
	} else if holds.Identify(aside) != h.Identity {
		return "", l.Drop() // somebody else has moved it
	}
	to := r.Way.Beside(aside)
	for i, beside := range r.Way.Beside(h.Path) {
		if err := os.Rename(beside, to[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("keep %s: %w", beside, err)
		}
	}
	if !slices.Contains(h.Made, h.Path) { // an empty directory was there before
		if err := os.Mkdir(h.Path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return aside, l.Drop()
}

// takeAway removes everything that was made for a hold, complete or not. Data at
// the path that is not what was restored there stays. It is idempotent.
func (r *Restorer) takeAway(l *holds.Lease) error {
	h := *l.Hold
	fail := func(err error) error { return fmt.Errorf("take away what is at %s: %w", h.Path, err) }
	if h.Identity != "" && holds.Identify(h.Path) == h.Identity {
		// What is beside goes first: a journal that is left without its database would be taken for one of the next.
		for _, beside := range r.Way.Beside(h.Path) {
			if err := os.RemoveAll(beside); err != nil {
				return fail(err)
			}
		}
		if err := os.MkdirAll(h.Temp, 0o700); err != nil {
			return fail(err)
		}
		if err := os.Rename(h.Path, filepath.Join(h.Temp, removed)); err != nil {
			return fail(err)
		}
	}
	if err := os.RemoveAll(h.Temp); err != nil {
		return fail(err)
	}
	if !slices.Contains(h.Made, h.Path) { // an empty directory was there before
		if err := os.Mkdir(h.Path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fail(err)
		}
	}
	return l.Drop()
}

func (r *Restorer) check(key string, d runbooks.Data) (string, error) {
	if key == "" {
		return "", errors.New("restored data needs a key")
	}
	path, err := holds.Resolve(d.Path)
	if err != nil {
		return "", fmt.Errorf("path: %w", err)
	}
	return path, nil
}

// Epochs keeps those names that are an epoch's prefix, in ascending order.
func Epochs(names []string) []int64 {
	var epochs []int64
	for _, name := range names {
		var epoch int64
		if _, err := fmt.Sscanf(name, "epoch-%d", &epoch); err == nil && epoch >= 0 && name == fmt.Sprintf("epoch-%d", epoch) {
			epochs = append(epochs, epoch)
		}
	}
	slices.Sort(epochs)
	return epochs
}
