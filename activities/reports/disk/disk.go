// Package disk keeps reports in a directory, where people find them with no
// program but a pager.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/understudy-dr/understudy/activities/atomicfile"
	"github.com/understudy-dr/understudy/activities/reports"
)

// mode lets everybody on the machine read: reports hold no secrets, and are needed on bad days.
const mode = 0o644

var _ reports.Store = (*Store)(nil)

// Store keeps reports in a directory. It is safe for concurrent use.
type Store struct{ dir string }

// New returns a store in a directory, which is made by the first Write.
func New(dir string) *Store { return &Store{dir: dir} }

// Write keeps a report.
func (s *Store) Write(ctx context.Context, name string, content []byte) error {
	if err := errors.Join(ctx.Err(), reports.CheckName(name), reports.CheckSize(name, content)); err != nil {
		return err
	}
	return atomicfile.Write(s.path(name), content, mode)
}

// Create keeps a report where there is none of its name.
func (s *Store) Create(ctx context.Context, name string, content []byte) error {
	if err := errors.Join(ctx.Err(), reports.CheckName(name), reports.CheckSize(name, content)); err != nil {
		return err
	}
	err := atomicfile.Create(s.path(name), content, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", reports.ErrExists, s.path(name))
	}
	return err
}

// Read returns a report.
func (s *Store) Read(ctx context.Context, name string) ([]byte, error) {
	if err := errors.Join(ctx.Err(), reports.CheckName(name)); err != nil {
		return nil, err
	}
	info, err := os.Stat(s.path(name))
	switch {
	case absent(err), err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s", reports.ErrNone, s.path(name))
	case err != nil:
		return nil, err
	}
	return os.ReadFile(s.path(name))
}

// List returns the names that begin with a prefix.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if !reports.Begins(prefix) {
		return nil, ctx.Err()
	}
	var names []string
	// Only the directory that all these names have in common is walked.
	err := filepath.WalkDir(s.path(path.Dir(prefix+"x")), func(at string, entry fs.DirEntry, err error) error {
		if absent(err) {
			return nil // it was never made, or was removed meanwhile
		}
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(s.dir, at)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(relative)
		if entry.Type().IsRegular() && strings.HasPrefix(name, prefix) && reports.CheckName(name) == nil {
			names = append(names, name)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list reports: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

// absent reports whether a path leads nowhere, also where a file stands in its way.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
