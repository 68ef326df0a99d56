package jobs

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// files are the final files of a job while they are made, on disk.
type files struct {
	dir    string
	marked bool // whether each line names its model revision
	output, failed,
	quarantined *file
}

// file is one of them.
type file struct {
	name         string
	file         *os.File
	text         *bufio.Writer
	sum          hash.Hash
	lines, bytes int64
}

func newFiles(marked bool) (*files, error) {
	dir, err := os.MkdirTemp("", "understudy-batch-")
	if err != nil {
		return nil, fmt.Errorf("make the output: %w", err)
	}
	f := &files{dir: dir, marked: marked}
	for name, into := range map[string]**file{OutputFile: &f.output, FailedFile: &f.failed, QuarantinedFile: &f.quarantined} {
		made, err := os.Create(dir + "/" + name)
		if err != nil {
			f.remove()
			return nil, fmt.Errorf("make the output: %w", err)
		}
		*into = &file{name: name, file: made, text: bufio.NewWriterSize(made, 1<<16), sum: sha256.New()}
	}
	return f, nil
}

func (f *files) all() []*file { return []*file{f.output, f.failed, f.quarantined} }

// remove takes them off the disk.
func (f *files) remove() {
	for _, one := range f.all() {
		if one != nil {
			one.file.Close()
		}
	}
	os.RemoveAll(f.dir)
}

// add writes the line of an item into the file of its outcome.
func (f *files) add(item Item, r Result) error {
	into := f.output
	var fields []field
	switch r.settled() {
	case succeeded:
		fields = []field{{"pred_text", *r.Response.Body.Text}}
		if f.marked {
			fields = append(fields, field{"model_revision", r.Revision})
		}
	case quarantined:
		into, fields = f.quarantined, []field{{"error_code", r.Error.Code}, {"error", r.Error.Message}}
	default:
		into, fields = f.failed, []field{{"error_code", r.Error.Code}, {"error", r.Error.Message}}
	}
	line, err := withFields(item.Line, fields)
	if err != nil {
		// A line that is no JSON object has failed, and is quoted instead.
		line, _ = withFields(encode(map[string]any{"item": item.Index, "line": string(item.Line)}), fields)
	}
	return into.write(line)
}

func (f *file) write(line []byte) error {
	f.lines++
	f.bytes += int64(len(line))
	_, _ = f.sum.Write(line)
	if _, err := f.text.Write(line); err != nil {
		return fmt.Errorf("make %s: %w", f.name, err)
	}
	return nil
}

// rewound is the file, whole, from its beginning.
func (f *file) rewound() (io.ReadSeeker, error) {
	if err := f.text.Flush(); err != nil {
		return nil, fmt.Errorf("make %s: %w", f.name, err)
	}
	_, err := f.file.Seek(0, io.SeekStart)
	return f.file, err
}

func (f *file) reported(key string) ReportedFile {
	return ReportedFile{Name: f.name, Key: key, Lines: f.lines, Bytes: f.bytes, SHA256: fmt.Sprintf("%x", f.sum.Sum(nil))}
}

// field is a field that is added to a line.
type field struct{ name, value string }

// withFields writes a JSON object again, in one line, with some fields added, or
// replaced where it had them. The others keep their order and their spelling.
func withFields(object []byte, fields []field) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	line := []byte{'{'}
	add := func(name string, value []byte) {
		if len(line) > 1 {
			line = append(line, ", "...)
		}
		line = append(append(append(line, encoded(name)...), ": "...), value...)
	}
next:
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		name, _ := token.(string)
		for _, f := range fields {
			if f.name == name {
				continue next
			}
		}
		add(name, value)
	}
	for _, f := range fields {
		add(f.name, encoded(f.value))
	}
	return append(line, "}\n"...), nil
}

func encoded(text string) []byte { return bytes.TrimSuffix(encode(text), []byte("\n")) }
