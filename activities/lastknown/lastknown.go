// Package lastknown keeps the last good copy of what comes from elsewhere.
//
// Config centers and object stores tend to be away in the very disaster in
// which they are needed. What was read from them in good times is put on a
// [Shelf], in memory and on disk, and is there after a restart as well. A copy
// that was damaged on disk counts as none.
package lastknown

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/atomicfile"
)

// header begins each file; the checksum of the content follows, and a newline.
const header = "understudy last-known 1 sha256:"

// Copy is something that was read, and when. Content is shared: nobody may change it.
type Copy struct {
	Content []byte
	At      time.Time
}

// Shelf keeps copies by name. It is safe for concurrent use; several processes
// may share a directory.
type Shelf struct {
	dir   string
	mu    sync.Mutex
	slots map[string]*slot
}

type slot struct {
	mu      sync.Mutex
	copy    Copy
	holds   bool
	fresh   bool // put by this process, not found on disk
	written bool // the content is on disk
}

// New returns a shelf in a directory, which is made when it is needed. Without
// one, copies are kept in memory only.
func New(dir string) *Shelf { return &Shelf{dir: dir, slots: map[string]*slot{}} }

// Put keeps a copy. One that was read before the copy that is there is left
// out: answers may overtake each other. An error means that the copy is kept in
// memory and not on disk.
func (s *Shelf) Put(name string, c Copy) error {
	slot := s.slot(name)
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if !slot.holds {
		s.find(name, slot)
	}
	if slot.fresh && c.At.Before(slot.copy.At) {
		return nil
	}
	same := slot.holds && bytes.Equal(slot.copy.Content, c.Content)
	slot.written = slot.written && same
	slot.copy, slot.holds, slot.fresh = c, true, true
	if s.dir == "" {
		return nil
	}
	path := s.path(name)
	// The time of the copy is that of the file, so that what does not change is not written again and again.
	if slot.written && os.Chtimes(path, c.At, c.At) == nil {
		return nil
	}
	sum := sha256.Sum256(c.Content)
	content := append([]byte(header+hex.EncodeToString(sum[:])+"\n"), c.Content...)
	err := atomicfile.Write(path, content, 0o600)
	if err == nil {
		err = os.Chtimes(path, c.At, c.At)
	}
	if err != nil {
		return fmt.Errorf("keep a copy for bad times: %w", err)
	}
	slot.written = true
	return nil
}

// Get returns the copy that is kept.
func (s *Shelf) Get(name string) (Copy, bool) {
	slot := s.slot(name)
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if !slot.holds {
		s.find(name, slot)
	}
	return slot.copy, slot.holds
}

func (s *Shelf) slot(name string) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots[name] == nil {
		s.slots[name] = &slot{}
	}
	return s.slots[name]
}

// find looks for a copy that an earlier process left.
func (s *Shelf) find(name string, slot *slot) {
	if s.dir == "" {
		return
	}
	path := s.path(name)
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	head, content, _ := bytes.Cut(text, []byte("\n"))
	sum := sha256.Sum256(content)
	if string(head) != header+hex.EncodeToString(sum[:]) {
		return
	}
	slot.copy, slot.holds, slot.written = Copy{Content: content, At: info.ModTime()}, true, true
}

// path is a file's name: a hash, because names hold slashes and may hold what
// nobody should read in a directory.
func (s *Shelf) path(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:]))
}
