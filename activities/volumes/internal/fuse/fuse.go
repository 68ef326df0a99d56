// Package fuse mounts volumes with programs that serve a bucket as a file
// system: s3fs, mount-s3.
//
// The program runs in the foreground, in a session of its own, so that a mount
// outlives Understudy; its credentials, log and cache are in the hold's private
// directory. Nothing here touches the mount from a place that could not give up:
// whether it is there says the kernel's table, and what reads it is freed by
// killing the program.
package fuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/internal/keyed"
	"github.com/understudy-dr/understudy/activities/volumes/internal/manifest"
	"github.com/understudy-dr/understudy/activities/volumes/internal/mountinfo"
	"github.com/understudy-dr/understudy/activities/volumes/internal/source"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// mountPoll is how often the kernel's table is asked whether the mount is there.
	mountPoll = 10 * time.Millisecond
	// killTimeout bounds the wait for the end of a killed program, which takes milliseconds.
	killTimeout = 10 * time.Second
	// cacheReserve is disk that a cache leaves free, in bytes.
	cacheReserve = 1 << 30
	// logTail is how much of a program's log an error quotes, in bytes.
	logTail = 600

	logFile  = "program.log"
	cacheDir = "cache"
)

// Order is what a program is to mount.
type Order struct {
	Access s3access.Access
	// Prefix of the volume in its bucket, without slashes at its ends; empty for the whole bucket.
	Prefix string
	// Path to mount at.
	Path string
	// Private directory for files that the program needs.
	Private string
	// Cache is a directory for content, empty where the disk has no room for it.
	Cache string
	// Others lets other users read the mount.
	Others bool
}

// Program is a file system program.
type Program interface {
	// Name of the program, and of the way in which a volume comes.
	Name() string
	// Command writes the files that the program needs into the private directory, and returns the command that mounts
	// in the foreground. Its arguments hold no secret.
	Command(o Order) (*exec.Cmd, error)
}

// Config is what mounting needs.
type Config struct {
	Clients s3access.Clients
	// State is the private directory that remembers the mounts. It must outlive Understudy.
	State string
}

// New returns the mounter of a program.
func New(c Config, p Program) *keyed.Mounter {
	return &keyed.Mounter{How: p.Name(), Clients: c.Clients, Book: holds.New(c.State), Way: way{c.Clients, p}}
}

type way struct {
	clients s3access.Clients
	program Program
}

func (w way) Check(v runbooks.Volume) error {
	if v.Writable {
		return fmt.Errorf("%w: a mount is only read; a writable volume is a copy", volumes.ErrRefused)
	}
	return nil
}

// Room is not needed: a mount reads, and its cache takes what there is.
func (way) Room(string, int64) error { return nil }

// Bring mounts, and proves what the service will see.
func (w way) Bring(ctx context.Context, job keyed.Job) (manifest.Summary, error) {
	order, err := w.order(ctx, job)
	if err != nil {
		return manifest.Summary{}, err
	}
	ended, err := w.start(job, order)
	if err != nil {
		return manifest.Summary{}, err
	}
	if err := appear(ctx, job.Path(), ended); err != nil {
		return manifest.Summary{}, w.explain(ctx, job, err)
	}
	summary, err := prove(ctx, job, ended)
	return summary, w.explain(ctx, job, err)
}

func (w way) order(ctx context.Context, job keyed.Job) (Order, error) {
	access, err := s3access.Of(ctx, w.clients, job.Source.At.Bucket)
	if err != nil {
		return Order{}, source.Explain("mount "+job.Source.At.String(), err)
	}
	private, err := job.Private()
	if err != nil {
		return Order{}, err
	}
	o := Order{Access: access, Prefix: job.Source.At.Key, Path: job.Path(), Private: private, Others: os.Geteuid() == 0 || othersAllowed()}
	if room(private) > job.Source.Bytes+cacheReserve {
		o.Cache = filepath.Join(private, cacheDir)
		if err := os.Mkdir(o.Cache, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return Order{}, err
		}
	}
	return o, nil
}

// othersAllowed reports whether this machine lets mounts of plain users be read by others.
func othersAllowed() bool {
	content, _ := os.ReadFile("/etc/fuse.conf")
	for line := range strings.Lines(string(content)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return true
		}
	}
	return false
}

// room is the free space of a directory's disk, in bytes.
func room(dir string) int64 {
	var stat syscall.Statfs_t
	if syscall.Statfs(dir, &stat) != nil {
		return 0
	}
	return int64(stat.Bavail) * stat.Bsize
}

func (w way) start(job keyed.Job, o Order) (ended <-chan struct{}, err error) {
	command, err := w.program.Command(o)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is not installed on this host: %w", volumes.ErrRefused, w.program.Name(), err)
	}
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Path, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	log, err := os.OpenFile(filepath.Join(o.Private, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	ended, err = keyed.Start(job.Lease, command, log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", w.program.Name(), err)
	}
	return ended, nil
}

// appear waits until the mount stands in the kernel's table.
func appear(ctx context.Context, path string, ended <-chan struct{}) error {
	for {
		if mounts, err := mountinfo.At(path); err != nil || len(mounts) > 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ended:
			return errEnded
		case <-time.After(mountPoll):
		}
	}
}

var errEnded = errors.New("the program ended by itself")

// prove reads the mount. Where the time is over, the mount is ended, which frees
// a read that the store does not answer.
func prove(ctx context.Context, job keyed.Job, ended <-chan struct{}) (manifest.Summary, error) {
	type result struct {
		summary manifest.Summary
		err     error
	}
	done := make(chan result, 1)
	go func() {
		summary, err := job.Verify(ctx, job.Path())
		done <- result{summary, err}
	}()
	select {
	case r := <-done:
		return r.summary, r.err
	case <-ended:
		<-done
		return manifest.Summary{}, errEnded
	case <-ctx.Done():
		enough, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
		defer cancel()
		if err := keyed.Free(enough, job.Lease); err != nil {
			return manifest.Summary{}, errors.Join(context.Cause(ctx), err) // the reads are left to themselves
		}
		<-done
		return manifest.Summary{}, context.Cause(ctx)
	}
}

// explain adds the end of the program's log to an error that is about the mount, not about its content.
func (w way) explain(ctx context.Context, job keyed.Job, err error) error {
	if err == nil || errors.Is(err, volumes.ErrWrong) {
		return err
	}
	what := "mount " + job.Source.At.String() + " with " + w.program.Name()
	if said := tail(filepath.Join(job.PrivatePath(), logFile)); said != "" {
		what += ", which says " + said
	}
	return keyed.Explain(ctx, what, err)
}

// tail is the end of a log, in one line.
func tail(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	content = bytes.ToValidUTF8(bytes.TrimSpace(content[max(0, len(content)-logTail):]), nil)
	if len(content) == 0 {
		return ""
	}
	return fmt.Sprintf("%q", strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, string(content)))
}
