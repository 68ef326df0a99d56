package reports

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// lookBack is over how many of the latest links a repeated Keep looks for its own.
	lookBack = 64
	// keepTries bounds how often a link is added anew because others were faster.
	keepTries = 20
)

// Link says that a report was written, and which: one small file for each, in
// the order of writing. The chain's head is the link with the highest number.
// Links are made before their reports, and only once, so that two that end at
// the same moment stand one after the other, and one whose report is not there
// shows that it is missing.
type Link struct {
	Number int64 `json:"number"`
	// Report is its name without an extension, such as fun-asr/00000000000000000007.
	Report string `json:"report"`
	SHA256 string `json:"sha256"`
	// Before is the report of the link before, and BeforeSHA256 its hash.
	Before       string    `json:"before,omitempty"`
	BeforeSHA256 string    `json:"before_sha256,omitempty"`
	At           time.Time `json:"at"`
}

// Bundle is one report with all its files.
type Bundle struct {
	// Name is that of the report without an extension; what stands before its slash is the service.
	Name string
	// JSON is the report itself, which gets the seal.
	JSON []byte
	// Files are the others, by extension (.md, .html).
	Files map[string][]byte
	// Again says that it may have been tried before: then a link of an earlier try is looked for.
	Again bool
	// Now is the time of the link.
	Now time.Time
}

// Keep writes a report into a store, sealed and chained to the one before it of
// the same service. It is idempotent: repeated with Again and the same content,
// it finds the link of the earlier try and writes the same bytes. A report that
// cannot be chained is kept without a seal, and the error says so.
func Keep(ctx context.Context, store Store, b Bundle) error {
	sealed, err := chain(ctx, store, b)
	if err != nil {
		sealed, err = b.JSON, fmt.Errorf("report %s is not in the chain: %w", b.Name, err)
	}
	failed := []error{err}
	for ext, content := range b.Files {
		failed = append(failed, store.Write(ctx, b.Name+ext, content))
	}
	failed = append(failed, store.Write(ctx, b.Name+".json", sealed)) // the last: with it the report is there
	return errors.Join(failed...)
}

// chain finds or makes the link of a report, and seals it for that place.
func chain(ctx context.Context, store Store, b Bundle) ([]byte, error) {
	for range keepTries {
		names, err := links(ctx, store, b.Name)
		if err != nil {
			return nil, err
		}
		if b.Again {
			if sealed, err := earlier(ctx, store, names, b); sealed != nil || err != nil {
				return sealed, err
			}
		}
		head, err := headOf(ctx, store, names)
		if err != nil {
			return nil, err
		}
		link := Link{Number: head.Number + 1, Report: b.Name, Before: head.Report, BeforeSHA256: head.SHA256, At: b.Now.UTC()}
		sealed, err := link.seal(b)
		if err != nil {
			return nil, err
		}
		text, err := json.MarshalIndent(link, "", "  ")
		if err != nil {
			return nil, err
		}
		err = store.Create(ctx, linkName(b.Name, link.Number), append(text, '\n'))
		if !errors.Is(err, ErrExists) {
			return sealed, err
		}
		b.Again = true // another report was faster, or the answer to an own try was lost
	}
	return nil, errors.New("others were faster again and again")
}

// seal seals a report for the place of a link, and notes its hash there.
func (l *Link) seal(b Bundle) ([]byte, error) {
	s := Seal{Number: l.Number, Before: l.Before, BeforeSHA256: l.BeforeSHA256, Files: map[string]string{}}
	for ext, content := range b.Files {
		s.Files[ext] = sum(content)
	}
	sealed, err := s.close(b.JSON)
	l.SHA256 = s.SHA256
	return sealed, err
}

// earlier finds the link that an earlier try has made for the same content.
func earlier(ctx context.Context, store Store, names []string, b Bundle) ([]byte, error) {
	for i := len(names) - 1; i >= max(0, len(names)-lookBack); i-- {
		known, err := readLink(ctx, store, names[i])
		if err != nil {
			return nil, err
		}
		if known.Report != b.Name {
			continue
		}
		mine := known
		if sealed, err := mine.seal(b); err != nil || mine.SHA256 == known.SHA256 {
			return sealed, err
		}
		return nil, nil // it says something else by now, and gets a link of its own
	}
	return nil, nil
}

// headOf is the newest link; the zero link where there is none.
func headOf(ctx context.Context, store Store, names []string) (Link, error) {
	if len(names) == 0 {
		return Link{}, nil
	}
	return readLink(ctx, store, names[len(names)-1])
}

// readLink reads a link. One that says nothing still has its place.
func readLink(ctx context.Context, store Store, name string) (Link, error) {
	content, err := store.Read(ctx, name)
	if err != nil && !errors.Is(err, ErrNone) {
		return Link{}, err
	}
	var l Link
	if json.Unmarshal(content, &l) != nil || l.Number != numberOf(name) {
		return Link{Number: numberOf(name)}, nil
	}
	return l, nil
}

// links lists the names of a service's links, the oldest first.
func links(ctx context.Context, store Store, report string) ([]string, error) {
	names, err := store.List(ctx, path.Dir(report)+"/chain/")
	return slices.DeleteFunc(names, func(name string) bool { return numberOf(name) == 0 }), err
}

func linkName(report string, number int64) string {
	return fmt.Sprintf("%s/chain/%020d.txt", path.Dir(report), number)
}

// numberOf is the number in the name of a link; 0 where it is none.
func numberOf(name string) int64 {
	text, ok := strings.CutSuffix(path.Base(name), ".txt")
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || len(text) != 20 || n < 1 {
		return 0
	}
	return n
}
