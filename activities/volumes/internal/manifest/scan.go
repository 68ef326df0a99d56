package manifest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/activities/volumes"
)

// Scan lists the regular files below a directory with their sizes, sorted, but
// for the manifest itself. Links that stay in the directory count as what they
// lead to. Whatever else is there (a link that leads out, a pipe, a device, a
// name that a manifest cannot hold) is volumes.ErrWrong: such a directory cannot
// be proven. Nothing is opened.
func Scan(ctx context.Context, root *os.Root, manifest string) ([]Entry, error) {
	var entries []Entry
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() || name == manifest:
			return nil
		}
		entry, err := scanFile(root, name)
		if err == nil {
			entries = append(entries, entry)
		}
		return err
	})
	slices.SortFunc(entries, byPath)
	return entries, err
}

func scanFile(root *os.Root, name string) (Entry, error) {
	if err := CheckPath(name); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", volumes.ErrWrong, err)
	}
	info, err := root.Stat(name) // follows links, and refuses those that lead out
	if err != nil {
		if leads, lerr := root.Lstat(name); lerr == nil && leads.Mode()&fs.ModeSymlink != 0 {
			return Entry{}, fmt.Errorf("%w: %s is a link that leads nowhere or out of the directory; copy with links followed (cp -L)", volumes.ErrWrong, name)
		}
		return Entry{}, err
	}
	if !info.Mode().IsRegular() {
		return Entry{}, fmt.Errorf("%w: %s is no regular file (%s)", volumes.ErrWrong, name, info.Mode().Type())
	}
	return Entry{Path: name, Size: info.Size()}, nil
}

// maxTold is how many faults an error lists.
const maxTold = 10

// Compare finds what is missing, extra or of another size in a listing of files,
// both sorted by path. Where extra is true, files that the manifest does not
// know are fine. The error is volumes.ErrWrong and names the files.
func (m Manifest) Compare(listing []Entry, extra bool) error {
	var faults []string
	i := 0
	for _, want := range m.Entries {
		for ; i < len(listing) && listing[i].Path < want.Path; i++ {
			faults = append(faults, unknown(listing[i], extra)...)
		}
		if i == len(listing) || listing[i].Path != want.Path {
			faults = append(faults, fmt.Sprintf("%s is missing", want.Path))
			continue
		}
		if got := listing[i].Size; want.Size >= 0 && got >= 0 && got != want.Size {
			faults = append(faults, fmt.Sprintf("%s has %d bytes, its manifest says %d", want.Path, got, want.Size))
		}
		if want.Path == VersionFile && listing[i].Size == 0 {
			faults = append(faults, VersionFile+" is empty")
		}
		i++
	}
	for ; i < len(listing); i++ {
		faults = append(faults, unknown(listing[i], extra)...)
	}
	return wrong(faults)
}

func unknown(e Entry, extra bool) []string {
	if extra {
		return nil
	}
	return []string{fmt.Sprintf("%s is not in the manifest", e.Path)}
}

func wrong(faults []string) error {
	if len(faults) == 0 {
		return nil
	}
	told := strings.Join(faults[:min(len(faults), maxTold)], "; ")
	if more := len(faults) - maxTold; more > 0 {
		told = fmt.Sprintf("%s; and %d more", told, more)
	}
	return fmt.Errorf("%w: %s", volumes.ErrWrong, told)
}

// openDir opens a directory as the root of what may be read.
func openDir(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the directory %s is missing", volumes.ErrWrong, dir)
	}
	return root, err
}
