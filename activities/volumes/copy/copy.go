// Package copy downloads model volumes to this disk: where there is no FUSE,
// where a service writes beside its model, or where the disk is faster than any
// mount.
//
// Files come in parallel, large ones in ranges, into a hidden directory beside
// the path; it is verified and renamed. After a crash the ranges that were
// written are not fetched again: the hashes at the end tell whether they are
// right. Gigabytes are not forced to the disk, which would take longer than to
// fetch them; what is found after a restart of the machine is hashed again.
package copy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/internal/keyed"
	"github.com/understudy-dr/understudy/activities/volumes/internal/manifest"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	how = "copy"
	// DefaultParallel is how many ranges are fetched at once. One connection to S3 gives some 80 MB/s.
	DefaultParallel = 16
	// DefaultPart is the size of a range, in bytes: S3's own advice for parallel reads is 8 to 16 MB.
	DefaultPart = 16 << 20
	// reserve is disk that a copy leaves free, in bytes.
	reserve = 256 << 20

	modeRead  = 0o444
	modeWrite = 0o644
)

// Config is what the mounter needs.
type Config struct {
	Clients s3access.Clients
	// State is the private directory that remembers the copies. It must outlive Understudy.
	State string
	// Parallel is how many ranges are fetched at once, and Part how large one is, in bytes; 0 takes the defaults.
	Parallel int
	Part     int64
}

var _ volumes.Provider = (*Mounter)(nil)

// Mounter copies volumes.
type Mounter struct{ *keyed.Mounter }

// New returns a mounter that copies.
func New(c Config) *Mounter {
	if c.Parallel <= 0 {
		c.Parallel = DefaultParallel
	}
	if c.Part <= 0 {
		c.Part = DefaultPart
	}
	return &Mounter{&keyed.Mounter{
		How: how, Clients: c.Clients, Book: holds.New(c.State), Way: way{c.Parallel, c.Part}, Copies: true,
	}}
}

type way struct {
	parallel int
	part     int64
}

func (way) Check(runbooks.Volume) error { return nil }

// Bring copies, proves what it copied, and puts it in its place.
func (w way) Bring(ctx context.Context, job keyed.Job) (manifest.Summary, error) {
	if hold := job.Hold; hold.Identity != "" && holds.Identify(hold.Path) == hold.Identity {
		// It came as far as its place before a crash, or before the machine was started again.
		summary, err := manifest.Verify(ctx, hold.Path, job.Source.Manifest, manifest.Options{
			Name: job.Source.Name, Full: true, Extra: job.Volume.Writable, Tell: job.Tell,
		})
		if err == nil || !errors.Is(err, volumes.ErrWrong) {
			return summary, keyed.Explain(ctx, "read "+hold.Path, err)
		}
		if err := errors.Join(os.RemoveAll(hold.Path), os.RemoveAll(hold.Temp)); err != nil {
			return manifest.Summary{}, err
		}
	}
	summary, resumed, err := w.fill(ctx, job)
	if resumed && errors.Is(err, volumes.ErrWrong) {
		// What a crash left may not all have reached the disk: that says nothing about the bucket.
		if err := errors.Join(os.RemoveAll(job.Hold.Temp), os.RemoveAll(job.PrivatePath())); err != nil {
			return manifest.Summary{}, err
		}
		summary, _, err = w.fill(ctx, job)
	}
	if err != nil {
		return manifest.Summary{}, err
	}
	if err := ctx.Err(); err != nil {
		return manifest.Summary{}, keyed.Explain(ctx, "copy to "+job.Path(), err)
	}
	if err := holds.Place(job.Hold.Temp, job.Path()); err != nil {
		return manifest.Summary{}, fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	return summary, os.RemoveAll(job.PrivatePath())
}

// fill fills the hidden directory and proves it. resumed tells whether a part of it was there before.
func (w way) fill(ctx context.Context, job keyed.Job) (summary manifest.Summary, resumed bool, err error) {
	if err := prepare(job); err != nil {
		return summary, false, err
	}
	d, err := newDownload(w, job)
	if err != nil {
		return summary, false, err
	}
	defer d.close()
	if err := d.run(ctx); err != nil {
		return summary, d.resumed, err
	}
	if d.resumed {
		job.Volume.Verify = "" // sizes prove nothing about what was there before a crash
	}
	summary, err = job.Verify(ctx, job.Hold.Temp)
	if err != nil {
		return summary, d.resumed, keyed.Explain(ctx, "read "+job.Hold.Temp, err)
	}
	return summary, d.resumed, protect(job)
}

// prepare makes the directory in which the copy is put together, and writes
// down how to tell it from others once it has another name.
func prepare(job keyed.Job) error {
	hold := *job.Hold
	if hold.Identity != "" && holds.Identify(hold.Temp) == hold.Identity {
		return nil
	}
	if err := os.RemoveAll(hold.Temp); err != nil {
		return err
	}
	if err := (way{}).Room(job.Path(), job.Source.Bytes); err != nil {
		return err
	}
	if err := os.MkdirAll(hold.Temp, 0o755); err != nil {
		return fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	hold.Identity = holds.Identify(hold.Temp)
	return job.Keep(hold)
}

// Room refuses a copy for which the disk has no room, before it fills it.
func (way) Room(path string, bytes int64) error {
	dir := filepath.Dir(path)
	for {
		var stat syscall.Statfs_t
		err := syscall.Statfs(dir, &stat)
		if errors.Is(err, fs.ErrNotExist) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", volumes.ErrRefused, dir, err)
		}
		if free := int64(stat.Bavail) * stat.Bsize; free < bytes+reserve {
			return fmt.Errorf("%w: %s has %d MiB free, a copy needs %d and %d more", volumes.ErrRefused, dir, free>>20, bytes>>20, int64(reserve)>>20)
		}
		return nil
	}
}

// protect gives the files the permissions that they keep.
func protect(job keyed.Job) error {
	mode := fs.FileMode(modeRead)
	if job.Volume.Writable {
		mode = modeWrite
	}
	return filepath.WalkDir(job.Hold.Temp, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Chmod(path, mode)
	})
}
