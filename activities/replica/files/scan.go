package files

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/understudy-dr/understudy/activities/holds"
)

const (
	// clockTick is how far behind the file system's clock may be.
	clockTick = 10 * time.Millisecond
	// maxSkipped is how many names a round tells that it skipped.
	maxSkipped = 5
	// maxName is the longest name of a file, in bytes; with the prefix it must fit a key of S3.
	maxName = 800
	// maxSize is the largest object that S3 takes in one request, in bytes.
	maxSize = 5 << 30
)

// errMoving means that a file changed while it was read.
var errMoving = errors.New("file is being written to")

// stamp changes whenever a file does.
type stamp struct {
	size        int64
	mtime, came int64 // nanoseconds since 1970
	inode       uint64
}

// found is one file in the directory.
type found struct {
	name string
	stamp
	size int64
	// came is when it was last written to, or came to its name. Unlike the modification time nobody can set it.
	came time.Time
}

// written is the modification time as the metadata keeps it.
func (f found) written() string { return strconv.FormatInt(f.mtime, 10) }

type scanned struct {
	files   []found
	skipped []string
}

// scan lists a directory. Hidden files are left out: programs write so what is not finished.
func scan(dir, identity string) (scanned, error) {
	var s scanned
	if holds.Identify(dir) != identity {
		return s, fmt.Errorf("directory %s is no longer the one it was; is its disk mounted?", dir)
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil // it was removed meanwhile
		}
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(e.Name(), ".") && e.IsDir():
			return fs.SkipDir
		case strings.HasPrefix(e.Name(), "."), e.IsDir():
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() || !keepable(name) || info.Size() > maxSize {
			if len(s.skipped) < maxSkipped {
				s.skipped = append(s.skipped, name)
			}
			return nil
		}
		s.files = append(s.files, foundOf(name, info))
		return nil
	})
	return s, err
}

// keepable reports whether a name can be the key of an object, everywhere.
func keepable(name string) bool {
	return len(name) <= maxName && utf8.ValidString(name) && fs.ValidPath(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' })
}

func foundOf(name string, info fs.FileInfo) found {
	f := found{name: name, size: info.Size(), came: info.ModTime()}
	f.stamp = stamp{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		f.came = time.Unix(stat.Ctim.Unix())
		f.stamp.inode, f.stamp.came = stat.Ino, f.came.UnixNano()
	}
	return f
}

func (f found) open(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, f.name), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
		return nil, errMoving
	}
	if err != nil {
		return nil, err
	}
	if err := f.unchanged(file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// unchanged returns errMoving where an open file is no longer as it was found.
func (f found) unchanged(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if foundOf(f.name, info).stamp != f.stamp {
		return errMoving
	}
	return nil
}

// hash hashes the file and sets it back to its beginning.
func (f found) hash(file *os.File) ([]byte, error) {
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(file, f.size+1))
	if err != nil {
		return nil, err
	}
	if n != f.size {
		return nil, errMoving
	}
	_, err = file.Seek(0, io.SeekStart)
	return sum.Sum(nil), err
}
