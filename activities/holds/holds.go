// Package holds remembers, on this host, which key brought something to a path:
// a mount, a copy of a model, a restored database.
//
// Whoever brings something to a path first writes a hold for it, and drops the
// hold last, after everything is gone again. A crash between the two leaves the
// hold, so that the next try with the same key finds what is there, and an undo
// knows what to take away. A path has at most one hold; its lock keeps two
// processes from working on one path at the same time, and ends with them.
//
// A hold also owns a private directory, for credentials, logs and caches.
package holds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/understudy-dr/understudy/activities/atomicfile"
)

const (
	// lockPoll is how often a lock that somebody else has is tried again.
	lockPoll = 20 * time.Millisecond
	// maxBase is how much of a path's last part appears in the names of its files, for people who look there.
	maxBase = 40
)

// ErrHeld means that another key holds the path. What it brought is in use; a retry does not help.
var ErrHeld = errors.New("path is held by another key")

// Hold says what was brought to a path, and by whom.
type Hold struct {
	// Path it is about; absolute, without symbolic links above its last part.
	Path string `json:"path"`
	// Key that brought it.
	Key string `json:"key"`
	// How it came, such as s3fs or litestream.
	How string `json:"how"`
	// Order is what was asked for. The same key never stands for two orders.
	Order string `json:"order"`
	// Ready is false until everything is in place and proven. What is not ready is of use to nobody.
	Ready bool `json:"ready"`
	// Made are the directories that were made on the way to the path, the outermost first.
	Made []string `json:"made,omitempty"`
	// Temp is where it is put together, before it is renamed to the path.
	Temp string `json:"temp,omitempty"`
	// Identity of what was renamed to the path; see [Identify].
	Identity string `json:"identity,omitempty"`
	// Process serves what is at the path; zero where none does.
	Process Process `json:"process,omitzero"`
	// Since is when it became ready.
	Since time.Time `json:"since,omitzero"`
	// Boot is the start of the machine in which it became ready; see [Boot].
	Boot string `json:"boot,omitempty"`
	// Result is what the caller was told.
	Result json.RawMessage `json:"result,omitempty"`
}

// Book keeps the holds of a host in a directory.
type Book struct{ dir string }

// New returns the book in a directory, which must be private to Understudy and
// outlive it. It is made when it is needed. Whoever may bring something to the
// same paths uses the same one.
func New(dir string) *Book {
	// Programs that are started for a hold get paths in it, and run elsewhere.
	if absolute, err := filepath.Abs(dir); err == nil {
		dir = absolute
	}
	return &Book{dir: dir}
}

// Lease is the right to work on one path. Release it.
type Lease struct {
	// Hold is the hold of the path, nil where there is none.
	Hold *Hold
	name string // of the files, without extension
	lock *flock.Flock
}

// Take waits for the lock of a path, until the context ends, and reads its hold.
func (b *Book) Take(ctx context.Context, path string) (*Lease, error) {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fmt.Errorf("hold %s: %w", path, err)
	}
	l := &Lease{name: filepath.Join(b.dir, fileName(path))}
	l.lock = flock.New(l.name+".lock", flock.SetPermissions(0o600))
	if _, err := l.lock.TryLockContext(ctx, lockPoll); err != nil {
		return nil, fmt.Errorf("wait for whoever works on %s: %w", path, err)
	}
	if err := l.read(path); err != nil {
		l.Release()
		return nil, fmt.Errorf("hold %s: %w", path, err)
	}
	return l, nil
}

// Release lets others work on the path.
func (l *Lease) Release() { _ = l.lock.Close() }

// Keep writes the hold of the path; when it returns nil, that survives a crash.
func (l *Lease) Keep(h Hold) error {
	content, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return fmt.Errorf("hold %s: %w", h.Path, err)
	}
	if err := atomicfile.Write(l.name+".json", append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("hold %s: %w", h.Path, err)
	}
	l.Hold = &h
	return nil
}

// Private makes the private directory of the hold, and returns it.
func (l *Lease) Private() (string, error) {
	if err := os.Mkdir(l.name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return l.name, nil
}

// PrivatePath is where the private directory is, or would be.
func (l *Lease) PrivatePath() string { return l.name }

// Beside is a hidden name beside the path, on the same file system, where things can be put together before they
// are renamed to it.
func (l *Lease) Beside(path string) string {
	return filepath.Join(filepath.Dir(path), ".understudy-"+filepath.Base(l.name))
}

// Drop forgets the hold, after what it is about was taken away: the private
// directory, the directories that were made, where they are empty, and last the
// hold itself. It is idempotent.
func (l *Lease) Drop() error {
	if l.Hold == nil {
		return nil
	}
	if err := os.RemoveAll(l.name); err != nil {
		return fmt.Errorf("drop the hold of %s: %w", l.Hold.Path, err)
	}
	for i := len(l.Hold.Made) - 1; i >= 0; i-- {
		// Not os.Remove: a file that somebody put in the place of a directory is not ours.
		if err := syscall.Rmdir(l.Hold.Made[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			break // nor is a directory into which somebody put something
		}
	}
	if err := os.Remove(l.name + ".json"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("drop the hold of %s: %w", l.Hold.Path, err)
	}
	l.Hold = nil
	return nil
}

func (l *Lease) read(path string) error {
	content, err := os.ReadFile(l.name + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var h Hold
	if err := json.Unmarshal(content, &h); err != nil || h.Path != path || h.Key == "" {
		return fmt.Errorf("%s.json is damaged; look at what is at the path, take it away by hand, then remove this file", l.name)
	}
	l.Hold = &h
	return nil
}

// fileName is unique to a path, and tells people which path it is about.
func fileName(path string) string {
	sum := sha256.Sum256([]byte(path))
	base := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, filepath.Base(path))
	return base[:min(len(base), maxBase)] + "-" + hex.EncodeToString(sum[:8])
}
