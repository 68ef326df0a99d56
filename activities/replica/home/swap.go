package home

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/replica"
)

// swap sets the old data aside and puts the new in its place. The service is
// stopped. Interrupted anywhere, the next try goes on.
func (h *Host) swap(ctx context.Context, s *state, i int) error {
	p := &s.Pieces[i]
	if !p.Weighed {
		if exists(p.Path) {
			p.Aside = fmt.Sprintf("%s.before-epoch-%d", p.Path, s.Epoch)
			p.Tail = tailOf(ctx, p.Path, p.Staged, p.Aside+".tail.jsonl")
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		p.Weighed = true
		if err := h.save(s, moving); err != nil {
			return err
		}
	}
	if exists(p.Staged) {
		if p.Aside != "" {
			if err := move(p.Path, p.Aside); err != nil {
				return err
			}
		}
		if err := holds.Place(p.Staged, p.Path); errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %s came while the service was stopped; see who wrote it, and move it away", replica.ErrExists, p.Path)
		} else if err != nil {
			return err
		}
	}
	p.Restored.Path = p.Path
	d := h.Data[i]
	d.Path = p.Staged
	return h.Replicas[d.Kind].Remove(ctx, h.key(s.Epoch, i), d) // the note of it; the data itself has moved on
}

// unswap brings the old data back to its place, and keeps what was there meanwhile.
func unswap(p piece, epoch int64) error {
	after := fmt.Sprintf("%s.after-epoch-%d", p.Path, epoch)
	swapped := p.Weighed && !exists(p.Staged)
	back := p.Aside != "" && !exists(p.Aside) || p.Aside == "" && exists(after) // an earlier try came as far
	if swapped && !back {
		if err := move(p.Path, after); err != nil {
			return err
		}
	}
	if p.Aside == "" {
		return nil
	}
	return move(p.Aside, p.Path)
}

// move renames data with all that belongs to it, the data itself first: what
// remains of a move that was interrupted follows in the next try.
func move(from, to string) error {
	if !exists(from) && !exists(to) {
		return nil
	}
	pairs, target := [][2]string{{from, to}}, replica.BesideDatabase(to)
	for i, beside := range replica.BesideDatabase(from) {
		pairs = append(pairs, [2]string{beside, target[i]})
	}
	for i, pair := range pairs {
		if !exists(pair[0]) || i > 0 && !exists(to) {
			continue
		}
		if exists(pair[1]) {
			return fmt.Errorf("%w: %s is in the way of %s; move it away", replica.ErrExists, pair[1], pair[0])
		}
		if err := os.Rename(pair[0], pair[1]); err != nil {
			return err
		}
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// likeTheOld gives restored data the owner and the permissions of the data that
// it will replace, or of the directory where there is none: the service's user
// is not the one who restores.
func likeTheOld(old, restored string) error {
	like, err := os.Stat(old)
	if err != nil {
		if like, err = os.Stat(filepath.Dir(old)); err != nil {
			return err
		}
	} else if err := os.Chmod(restored, like.Mode().Perm()); err != nil {
		return err
	}
	owner, ok := like.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return filepath.WalkDir(restored, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}
