package holds

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Resolve returns the absolute path without symbolic links above its last part,
// as the kernel names it. What is at the path itself is not touched: it may be
// a mount that does not answer.
func Resolve(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is relative; write an absolute path", path)
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%q has control characters", path)
	}
	path = filepath.Clean(path)
	if path == "/" {
		return "", errors.New("/ is no place for this")
	}
	// The deepest directory that is there decides; what is missing below it has no links.
	above, rest := filepath.Dir(path), filepath.Base(path)
	for {
		real, err := filepath.EvalSymlinks(above)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		above, rest = filepath.Dir(above), filepath.Join(filepath.Base(above), rest)
	}
}

// Missing lists the directories that are missing on the way to dir, and dir itself, the outermost first.
func Missing(dir string) []string {
	var missing []string
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			return missing
		}
		missing = append([]string{dir}, missing...)
	}
}

// Identify returns what stays the same when a file or directory is renamed, and
// differs between two of them; empty where there is none. The number of a file
// alone would not do: it is given to the next one as soon as the file is gone.
func Identify(path string) string {
	var stat unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &stat) != nil {
		return ""
	}
	born := "unknown"
	if stat.Mask&unix.STATX_BTIME != 0 {
		born = fmt.Sprintf("%d.%09d", stat.Btime.Sec, stat.Btime.Nsec)
	}
	return fmt.Sprintf("%d:%d:%d:%s", stat.Dev_major, stat.Dev_minor, stat.Ino, born)
}

// Boot identifies the time since the machine was started. What was written
// before may not all have reached the disk.
func Boot() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// Place renames temp to path, where nothing is but perhaps an empty directory,
// and makes the new name durable. Something that came there meanwhile stays,
// and the error is fs.ErrExist.
func Place(temp, path string) error {
	err := renameNew(temp, path)
	if errors.Is(err, fs.ErrExist) && unix.Rmdir(path) == nil { // it was an empty directory
		err = renameNew(temp, path)
	}
	if err != nil {
		return fmt.Errorf("rename to %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// A file system that cannot do both at once: the moment between the two is a small risk, the refusal a sure loss.
		if _, err := os.Lstat(to); err == nil {
			return fs.ErrExist
		}
		err = os.Rename(from, to)
	}
	return err
}
