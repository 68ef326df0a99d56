// Package atomicfile replaces files in one step.
//
// What Understudy keeps on disk (reports, last-known configuration, canary
// audio) is read after crashes and power cuts. A file is therefore written
// beside its place, forced to the disk and renamed: a reader finds the old
// content or the new one, never a part.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// TempPrefix begins the names of files that are not finished. After a crash one
// may stay behind; whoever lists a directory leaves out names with a leading dot.
const TempPrefix = ".writing-"

// Write replaces the file at path by content, with the permissions perm, and
// makes the directories that are missing. When it returns nil, content survives
// a power cut; on an error the old file is untouched, unless the error came
// after the rename, where the new one is in place and perhaps not yet durable.
// Concurrent writers of one path are safe: one of them wins.
func Write(path string, content []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := makeDirs(dir, perm); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	temp, err := os.CreateTemp(dir, TempPrefix)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fill(temp, content, perm); err != nil {
		os.Remove(temp.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		os.Remove(temp.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Create makes the file at path with content, as Write does, and fails with
// fs.ErrExist where there is one already: of two concurrent callers one wins,
// and the file of the other is nowhere. The file system must know hard links.
func Create(path string, content []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := makeDirs(dir, perm); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	temp, err := os.CreateTemp(dir, TempPrefix)
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	defer os.Remove(temp.Name())
	if err := fill(temp, content, perm); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	if err := os.Link(temp.Name(), path); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return nil
}

func fill(f *os.File, content []byte, perm fs.FileMode) error {
	_, err := f.Write(content)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// makeDirs makes a directory and those above it, and makes each durable in the
// one that holds it. Whoever may read the files may enter the directories.
func makeDirs(dir string, perm fs.FileMode) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDirs(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, perm|(perm&0o444)>>2|0o300); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// syncDir forces the names in a directory to the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
