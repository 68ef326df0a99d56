package keyed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/volumes/internal/mountinfo"
)

const (
	// undoTimeout bounds the taking away after an error, which must go on although the caller's time is over.
	undoTimeout = 30 * time.Second
	// fuse begins the types of the file systems that programs serve.
	fuse = "fuse"
)

// there reports whether what a ready hold tells of is still in place. It never
// looks into a mount, and so never blocks on one.
func there(l *holds.Lease) bool {
	if h := l.Hold; h.Identity != "" {
		return holds.Identify(h.Path) == h.Identity
	}
	mounts, err := mountinfo.At(l.Hold.Path)
	return err == nil && slices.ContainsFunc(mounts, isFuse) && l.Hold.Process.Alive()
}

func isFuse(kind string) bool { return strings.HasPrefix(kind, fuse) }

// undo takes away what an error left.
func undo(ctx context.Context, l *holds.Lease) error {
	if l.Hold == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	return takeAway(ctx, l)
}

// takeAway removes everything that was made for a hold, complete or not: the
// process that serves it, the mount, the copy, and then the hold. It is idempotent.
func takeAway(ctx context.Context, l *holds.Lease) error {
	h := l.Hold
	if err := Free(ctx, l); err != nil {
		return fmt.Errorf("take away what is at %s: %w", h.Path, err)
	}
	var err error
	if h.Temp == "" {
		err = unmount(ctx, h.Path)
	} else {
		err = removeCopy(l)
	}
	if err != nil {
		return fmt.Errorf("take away what is at %s: %w", h.Path, err)
	}
	return l.Drop()
}

// unmount detaches what is mounted at a path by a program. The mount disappears
// at once, for new callers and old ones, also where it is in use.
func unmount(ctx context.Context, path string) error {
	for {
		mounts, err := mountinfo.At(path)
		if err != nil || len(mounts) == 0 || !isFuse(mounts[len(mounts)-1]) {
			return err
		}
		if err := detach(ctx, path); err != nil {
			return err
		}
	}
}

// abort detaches a mount and lets everything that waits for it fail. It is best
// effort: only root may.
func abort(path string) {
	if mounts, err := mountinfo.At(path); err == nil && len(mounts) > 0 && isFuse(mounts[len(mounts)-1]) {
		_ = syscall.Unmount(path, syscall.MNT_FORCE|syscall.MNT_DETACH)
	}
}

func detach(ctx context.Context, path string) error {
	err := syscall.Unmount(path, syscall.MNT_DETACH)
	if !errors.Is(err, syscall.EPERM) {
		return err
	}
	for _, program := range []string{"fusermount3", "fusermount"} { // those may, for whoever mounted it
		out, err := exec.CommandContext(ctx, program, "-u", "-z", path).CombinedOutput()
		if err == nil {
			return nil
		}
		if !errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("%s -u -z %s: %w: %s", program, path, err, strings.TrimSpace(string(out)))
		}
	}
	return err
}

// removeCopy removes a copy, wherever on its way it is.
func removeCopy(l *holds.Lease) error {
	h := *l.Hold
	if h.Identity != "" && holds.Identify(h.Path) == h.Identity {
		// First out of the way, in one step: half a model must not be seen at the path.
		if err := os.RemoveAll(h.Temp); err != nil {
			return err
		}
		if err := os.Rename(h.Path, h.Temp); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(h.Temp); err != nil {
		return err
	}
	if slices.Contains(h.Made, h.Path) {
		return nil
	}
	if err := os.Mkdir(h.Path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // it was there, empty, before
		return err
	}
	return nil
}
