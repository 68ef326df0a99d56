// Package keyed is what all mounters have in common: one volume per path, one
// key per volume, everything or nothing.
//
// A mount begins with a look at the bucket, which changes nothing. Then the hold
// is written, the volume is brought and proven, and the hold becomes ready. An
// error on the way takes away what was made. A crash on the way leaves the hold;
// whoever comes next takes away what is half done, or goes on with it.
package keyed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/internal/manifest"
	"github.com/understudy-dr/understudy/activities/volumes/internal/mountinfo"
	"github.com/understudy-dr/understudy/activities/volumes/internal/source"
	"github.com/understudy-dr/understudy/runbooks"
)

// Job is one volume on its way.
type Job struct {
	*holds.Lease
	Source *source.Source
	Volume runbooks.Volume
	Tell   func(volumes.Progress)
}

// Path is where the volume goes.
func (j Job) Path() string { return j.Hold.Path }

// Verify proves what is in a directory.
func (j Job) Verify(ctx context.Context, dir string) (manifest.Summary, error) {
	return manifest.Verify(ctx, dir, j.Source.Manifest, manifest.Options{
		Name: j.Source.Name, Full: j.Volume.Verify != volumes.VerifySize, Tell: j.Tell,
	})
}

// Way is how volumes come.
type Way interface {
	// Check refuses volumes that cannot come in this way.
	Check(v runbooks.Volume) error
	// Room refuses a volume of so many bytes for which there is no room at its path.
	Room(path string, bytes int64) error
	// Bring brings the volume of a hold that is written, and proves it. Whatever it does on the way can be found
	// again from the hold (see takeAway), and is taken away where it returns an error.
	Bring(ctx context.Context, job Job) (manifest.Summary, error)
}

var _ volumes.Provider = (*Mounter)(nil)

// Mounter mounts volumes in one way.
type Mounter struct {
	How     string
	Clients s3access.Clients
	Book    *holds.Book
	Way     Way
	// Copies puts the volume together beside its path, and goes on where a crash stopped it. Else it is mounted.
	Copies bool
}

// Mount brings a volume to its path, or finds it there.
func (m *Mounter) Mount(ctx context.Context, key string, v runbooks.Volume, tell func(volumes.Progress)) (volumes.Mounted, error) {
	tell, quiet := until(tell)
	defer quiet()
	path, order, err := m.check(key, v)
	if err != nil {
		return volumes.Mounted{}, err
	}
	l, err := m.Book.Take(ctx, path)
	if err != nil {
		return volumes.Mounted{}, err
	}
	defer l.Release()
	if found, mounted, err := m.find(ctx, l, key, order); found || err != nil {
		return mounted, err
	}
	hold := holds.Hold{Path: path, Key: key, How: m.How, Order: order}
	if m.Copies {
		hold.Temp = l.Beside(path)
	}
	mounted, err := m.bring(ctx, l, v, hold, tell)
	if err != nil {
		return volumes.Mounted{}, errors.Join(err, undo(ctx, l))
	}
	return mounted, nil
}

// find looks whether the key has brought the volume already, and takes away what is of use to nobody.
func (m *Mounter) find(ctx context.Context, l *holds.Lease, key, order string) (found bool, mounted volumes.Mounted, err error) {
	h := l.Hold
	if h == nil {
		return false, mounted, nil
	}
	intact := h.Ready && there(l)
	switch {
	case h.Key != key && intact:
		return false, mounted, fmt.Errorf("%w: %w: key %s brought what is at %s (%s), at %s; unmount that first",
			volumes.ErrRefused, holds.ErrHeld, h.Key, h.Path, h.How, h.Since.UTC().Format(time.RFC3339))
	case h.Key == key && (h.Order != order || h.How != m.How):
		return false, mounted, fmt.Errorf("%w: key %s stands for another volume at %s already", volumes.ErrRefused, key, h.Path)
	case intact && (h.Identity == "" || h.Boot == holds.Boot()):
		if err := json.Unmarshal(h.Result, &mounted); err != nil {
			return false, mounted, fmt.Errorf("the hold of %s is damaged: %w", h.Path, err)
		}
		return true, mounted, nil
	case h.Key == key && m.Copies && (intact || !h.Ready):
		return false, mounted, nil // Bring goes on with it, and proves what is there
	}
	// Nobody works on it, or the lock would not be ours; and it is not, or no longer, what it should be.
	return false, mounted, takeAway(ctx, l)
}

func (m *Mounter) bring(ctx context.Context, l *holds.Lease, v runbooks.Volume, hold holds.Hold, tell func(volumes.Progress)) (volumes.Mounted, error) {
	if l.Hold != nil { // a crash left it, and what it brought so far can be used
		hold = *l.Hold
	}
	if hold.Identity == "" || holds.Identify(hold.Path) != hold.Identity {
		if err := free(hold.Path); err != nil {
			return volumes.Mounted{}, err
		}
	}
	src, err := source.Look(ctx, m.Clients, v)
	if err != nil {
		return volumes.Mounted{}, err
	}
	if l.Hold == nil {
		hold.Made = holds.Missing(hold.Path)
	}
	if err := l.Keep(hold); err != nil {
		return volumes.Mounted{}, err
	}
	summary, err := m.Way.Bring(ctx, Job{Lease: l, Source: src, Volume: v, Tell: tell})
	if err != nil {
		return volumes.Mounted{}, err
	}
	mounted := volumes.Mounted{
		Path: hold.Path, How: m.How, Version: summary.Version, Files: summary.Files, Bytes: summary.Bytes, Since: time.Now().UTC(),
	}
	hold = *l.Hold
	hold.Ready, hold.Since, hold.Boot = true, mounted.Since, holds.Boot()
	if hold.Result, err = json.Marshal(mounted); err != nil {
		return volumes.Mounted{}, err
	}
	return mounted, l.Keep(hold)
}

// Unmount takes away what the key brought.
func (m *Mounter) Unmount(ctx context.Context, key string, v runbooks.Volume) error {
	path, err := holds.Resolve(v.Mount)
	if err != nil {
		return fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	l, err := m.Book.Take(ctx, path)
	if err != nil {
		return err
	}
	defer l.Release()
	if l.Hold == nil || l.Hold.Key != key {
		return nil
	}
	return takeAway(ctx, l)
}

// Inspect looks at a volume in its bucket.
func (m *Mounter) Inspect(ctx context.Context, v runbooks.Volume) (volumes.Mounted, error) {
	path, _, err := m.check(inspection, v)
	if err != nil {
		return volumes.Mounted{}, err
	}
	src, err := source.Look(ctx, m.Clients, v)
	if err != nil {
		return volumes.Mounted{}, err
	}
	version, err := src.Version(ctx)
	if err != nil {
		return volumes.Mounted{}, err
	}
	if err := m.Way.Room(path, src.Bytes); err != nil {
		return volumes.Mounted{}, err
	}
	return volumes.Mounted{Path: path, How: m.How, Version: version, Files: len(src.Objects), Bytes: src.Bytes}, nil
}

// Verify hashes what the key mounted.
func (m *Mounter) Verify(ctx context.Context, key string, v runbooks.Volume, tell func(volumes.Progress)) error {
	tell, quiet := until(tell)
	defer quiet()
	path, order, err := m.check(key, v)
	if err != nil {
		return err
	}
	l, err := m.Book.Take(ctx, path)
	if err != nil {
		return err
	}
	ours := l.Hold != nil && l.Hold.Ready && l.Hold.Key == key && l.Hold.Order == order && there(l)
	l.Release() // an unmount must not wait for the hashing
	if !ours {
		return fmt.Errorf("%w: key %s has nothing mounted at %s", volumes.ErrRefused, key, path)
	}
	src, err := source.Look(ctx, m.Clients, v)
	if err != nil {
		return err
	}
	// A read of a mount whose store hangs cannot be given up; it ends with the time-outs of the program that serves it.
	done := make(chan error, 1)
	go func() {
		_, err := manifest.Verify(ctx, path, src.Manifest, manifest.Options{Name: src.Name, Full: true, Extra: v.Writable, Tell: tell})
		done <- err
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return Explain(ctx, "read "+path, err)
}

// until passes progress on until quiet is called. A read that a hanging store
// holds up may end after its caller has gone.
func until(tell func(volumes.Progress)) (told func(volumes.Progress), quiet func()) {
	if tell == nil {
		return nil, func() {}
	}
	var mu sync.Mutex
	over := false
	told = func(p volumes.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			tell(p)
		}
	}
	return told, func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}

// inspection is the key of an inspection, which keeps nothing.
const inspection = "inspection"

func (m *Mounter) check(key string, v runbooks.Volume) (path, order string, err error) {
	if key == "" {
		return "", "", fmt.Errorf("%w: a mount needs a key", volumes.ErrRefused)
	}
	if path, err = holds.Resolve(v.Mount); err != nil {
		return "", "", fmt.Errorf("%w: mount: %w", volumes.ErrRefused, err)
	}
	if err := m.Way.Check(v); err != nil {
		return "", "", err
	}
	return path, strings.Join([]string{v.Source, source.Name(v), v.Verify, fmt.Sprint(v.Writable)}, " "), nil
}

// free refuses a path at which something else is.
func free(path string) error {
	mounts, err := mountinfo.At(path)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("%w: a %s is mounted at %s, and not by a key; unmount it, or name another path", volumes.ErrRefused, mounts[0], path)
	}
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%w: %s is no directory (%s)", volumes.ErrRefused, path, info.Mode().Type())
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	defer f.Close()
	switch names, err := f.Readdirnames(1); {
	case err == io.EOF:
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	default:
		return fmt.Errorf("%w: %s is not empty (%q is there), and no key brought that; name another path, or move it away", volumes.ErrRefused, path, names[0])
	}
}

// Explain makes what is no volumes error yet one: reading failed because the
// store, or the program that serves it, does not answer.
func Explain(ctx context.Context, what string, err error) error {
	if err == nil || errors.Is(err, volumes.ErrWrong) || errors.Is(err, volumes.ErrRefused) || errors.Is(err, volumes.ErrUnavailable) {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return fmt.Errorf("%w: %s: %w", volumes.ErrUnavailable, what, err)
}
