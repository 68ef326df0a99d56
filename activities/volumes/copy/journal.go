package copy

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// journalFile has a line for each range that arrived.
const journalFile = "arrived"

// journal remembers over a crash which ranges arrived.
type journal struct {
	mu   sync.Mutex
	seen map[string]bool
	f    *os.File
}

func openJournal(dir string) (*journal, error) {
	name := filepath.Join(dir, journalFile)
	j := &journal{seen: map[string]bool{}}
	content, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	lines := bufio.NewScanner(strings.NewReader(string(content[:strings.LastIndexByte(string(content), '\n')+1]))) // without a torn last line
	for lines.Scan() {
		j.seen[lines.Text()] = true
	}
	j.f, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil && len(content) > 0 && content[len(content)-1] != '\n' {
		_, err = j.f.WriteString("\n")
	}
	return j, err
}

func (j *journal) has(p part, size int64) bool { return j.seen[line(p, size)] }

func (j *journal) add(p part, size int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := j.f.WriteString(line(p, size) + "\n")
	return err
}

func (j *journal) close() { j.f.Close() }

// line is unique to a range of one version of an object. Its path has no line breaks.
func line(p part, size int64) string {
	return fmt.Sprintf("%d %d %s %s", p.index, size, p.object.ETag, p.object.Path)
}
