package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/understudy-dr/understudy/tests/harness"
)

// homeDir is where the demo keeps everything. Its name is fixed, as the ports
// are, because the runbook names paths in it.
const homeDir = "/tmp/understudy-demo-home"

// errOther means that another demo is being played.
var errOther = errors.New("another demo is being played")

// home is the directory of one demo. It is this one's alone until it is given back.
type home struct {
	dir  string
	lock *os.File
}

// takeHome makes the directory, or takes it over: an earlier demo that failed
// has left its logs, and one that was killed also what is meant to outlive
// Understudy, a machine and its mount. All of that goes.
func takeHome(dir string) (*home, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	lock, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("the demo lives in %s: %w; move away what is there", dir, err)
	}
	h := &home{dir, lock}
	if err := h.take(); err != nil {
		lock.Close()
		return nil, err
	}
	return h, nil
}

func (h *home) take() error {
	info, err := h.lock.Stat()
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("the demo lives in %s, and that belongs to another user; move it away", h.dir)
	}
	if err := syscall.Flock(int(h.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%w: it holds %s", errOther, h.dir)
	}
	if now, err := os.Lstat(h.dir); err != nil || !os.SameFile(now, info) {
		return fmt.Errorf("%w, and it ends in this moment: try again", errOther)
	}
	if err := os.Chmod(h.dir, 0o700); err != nil {
		return err
	}
	harness.Clear(h.dir)
	return h.empty()
}

func (h *home) empty() error {
	entries, err := os.ReadDir(h.dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(h.dir, e.Name())))
	}
	return err
}

// remove removes the directory with all that is in it.
func (h *home) remove() {
	_ = h.empty()
	_ = os.Remove(h.dir)
	h.lock.Close()
}

// leave leaves the directory to whoever wants to read in it, and reports whether there is anything.
func (h *home) leave() (something bool) {
	defer h.lock.Close()
	return os.Remove(h.dir) != nil
}
