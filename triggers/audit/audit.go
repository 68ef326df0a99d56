// Package audit keeps what people decided: who, from where, what, and what
// came of it.
//
// Each decision is one line of JSON in one file, on the disk before its answer
// goes out, and one line of the log. Refused ones are kept as well. The file
// only ever grows; the workflows' histories tell the same story, and this file
// tells it without them.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Results of a decision.
const (
	Done    = "done"    // it was carried out
	Refused = "refused" // it was not: the person may not, or the state does not allow it
	Unsure  = "unsure"  // the engine did not answer in time; it may have been carried out
)

// Entry is one decision.
type Entry struct {
	At   time.Time `json:"at"`
	Who  string    `json:"who"`
	Role string    `json:"role"`
	// From is the address that it came from.
	From string `json:"from"`
	// Did is the verb, such as approve; On is what it was about: a service, or a recovery's id.
	Did string `json:"did"`
	On  string `json:"on"`
	// Reason is the person's.
	Reason string `json:"reason,omitempty"`
	// Plan is the hash of the plan that the person saw, Question and Answer what was asked and answered.
	Plan     string `json:"plan,omitempty"`
	Question string `json:"question,omitempty"`
	Answer   string `json:"answer,omitempty"`
	// Details are other things that were ordered, such as force.
	Details string `json:"details,omitempty"`
	// Key is the request's Idempotency-Key: a repeated request has the same one.
	Key string `json:"key,omitempty"`
	// Result is one of the constants, Text what was answered.
	Result string `json:"result"`
	Text   string `json:"text"`
}

// Log is an audit log. It is safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	file *os.File
	log  *slog.Logger
}

// Open opens the file, or makes it, readable by its owner only. A line that a
// crash cut off is left as it is; the next one begins on its own.
func Open(path string, log *slog.Logger) (*Log, error) {
	fail := func(err error) (*Log, error) { return nil, fmt.Errorf("open the audit log: %w", err) }
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fail(err)
	}
	torn, err := cutOff(file)
	if err == nil && torn {
		_, err = file.WriteString("\n")
	}
	if err != nil {
		return fail(errors.Join(err, file.Close()))
	}
	return &Log{file: file, log: log}, nil
}

// cutOff reports whether the last line has no end.
func cutOff(file *os.File) (bool, error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	_, err = file.ReadAt(last, info.Size()-1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return last[0] != '\n', err
}

// Record keeps a decision. When it returns nil, the line survives a power cut.
// The log has it in any case.
func (l *Log) Record(e Entry) error {
	if e.At.IsZero() {
		e.At = time.Now().UTC()
	}
	l.log.Info("decision", "who", e.Who, "role", e.Role, "from", e.From, "did", e.Did, "on", e.On, "reason", e.Reason, "plan", e.Plan,
		"question", e.Question, "answer", e.Answer, "details", e.Details, "key", e.Key, "result", e.Result, "text", e.Text)
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// One write: a line is never mixed with another one.
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }
