package home

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver
)

const (
	// tailWithin bounds the comparison: people wait, and the old data is kept whole in any case.
	tailWithin = time.Minute
	// tailMost is how many entries are listed.
	tailMost = 10_000
)

// Tail is what the old data holds and the new does not: what was written before
// the disaster and never replicated.
type Tail struct {
	// Rows of a database, or Files of a directory.
	Rows  int `json:"rows,omitempty"`
	Files int `json:"files,omitempty"`
	// List is the file that lists them, as JSON lines; empty where there are none.
	List string `json:"list,omitempty"`
	// Unknown says why they could not be told.
	Unknown string `json:"unknown,omitempty"`
}

// String says of the old data what of it was never replicated.
func (t Tail) String() string {
	switch {
	case t.Unknown != "":
		return "and what of it was never replicated could not be told: " + t.Unknown
	case t.Files > 0:
		return fmt.Sprintf("%d of its files were never replicated: %s", t.Files, t.List)
	case t.Rows > 0:
		return fmt.Sprintf("%d of its rows were never replicated: %s", t.Rows, t.List)
	default:
		return "and nothing of it was lost"
	}
}

// tailOf compares old data with new, and lists what only the old has. It never
// stands in the way: the old data is kept, whether it can be read or not.
func tailOf(ctx context.Context, old, restored, list string) (t Tail) {
	ctx, cancel := context.WithTimeout(ctx, tailWithin)
	defer cancel()
	info, err := os.Stat(old)
	if err == nil {
		err = writeList(list, func(entry func(any) error) error {
			if info.IsDir() {
				return fileTail(ctx, old, restored, func(name string, size int64) error {
					t.Files++
					return entry(map[string]any{"file": name, "bytes": size})
				})
			}
			return rowTail(ctx, old, restored, func(table string, row map[string]any) error {
				t.Rows++
				return entry(map[string]any{"table": table, "row": row})
			})
		})
	}
	if err != nil {
		return Tail{Unknown: err.Error()}
	}
	if t.Rows+t.Files > 0 {
		t.List = list
	} else {
		_ = os.Remove(list)
	}
	return t
}

// writeList writes entries until there are too many of them.
func writeList(list string, fill func(entry func(any) error) error) error {
	file, err := os.OpenFile(list, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	encoder, written := json.NewEncoder(out), 0
	err = fill(func(entry any) error {
		if written++; written > tailMost {
			return nil // it is counted
		}
		return encoder.Encode(entry)
	})
	return errors.Join(err, out.Flush(), file.Sync(), file.Close())
}

// rowTail finds the rows of each table that the restored database does not
// have, by the columns that both know.
func rowTail(ctx context.Context, old, restored string, found func(table string, row map[string]any) error) error {
	// The old one is opened for writing: it may have been killed, and its journal is then part of it.
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: old, RawQuery: "_pragma=busy_timeout(2000)"}).String())
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // what is attached belongs to a connection
	if _, err := db.ExecContext(ctx, "ATTACH ? AS restored", (&url.URL{Scheme: "file", Path: restored, RawQuery: "mode=ro&immutable=1"}).String()); err != nil {
		return err
	}
	tables, err := texts(ctx, db, `SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
		AND name NOT LIKE '\_litestream\_%' ESCAPE '\' AND sql NOT LIKE 'CREATE VIRTUAL%'`)
	if err != nil {
		return err
	}
	for _, table := range tables {
		there, err := texts(ctx, db, "SELECT name FROM restored.sqlite_schema WHERE type = 'table' AND name = ?", table)
		if err != nil {
			return err
		}
		query := "SELECT * FROM main." + quoted(table)
		if len(there) > 0 {
			columns, err := texts(ctx, db, "SELECT o.name FROM pragma_table_info(?, 'main') o JOIN pragma_table_info(?, 'restored') n ON n.name = o.name", table, table)
			if err != nil {
				return err
			}
			for i := range columns {
				columns[i] = quoted(columns[i])
			}
			both := strings.Join(columns, ", ")
			query = fmt.Sprintf("SELECT %s FROM main.%s EXCEPT SELECT %s FROM restored.%s", both, quoted(table), both, quoted(table))
		}
		if err := rowsOf(ctx, db, query, func(row map[string]any) error { return found(table, row) }); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	return nil
}

func rowsOf(ctx context.Context, db *sql.DB, query string, found func(map[string]any) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values, targets := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		row := map[string]any{}
		for i, name := range columns {
			row[name] = values[i]
		}
		if err := found(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// texts reads the first column of an answer.
func texts(ctx context.Context, db *sql.DB, query string, args ...any) ([]string, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}

// quoted is a name as SQL has it.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// fileTail finds the files that the restored directory does not have, or has with another size or other content.
func fileTail(ctx context.Context, old, restored string, found func(name string, size int64) error) error {
	return filepath.WalkDir(old, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return errors.Join(err, ctx.Err())
		}
		name, err := filepath.Rel(old, path)
		if err != nil || strings.HasPrefix(entry.Name(), ".") {
			return err // what begins with a dot is never replicated
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		same, err := sameContent(ctx, path, filepath.Join(restored, name), info.Size())
		if err != nil || same {
			return err
		}
		return found(name, info.Size())
	})
}

func sameContent(ctx context.Context, one, other string, size int64) (bool, error) {
	info, err := os.Stat(other)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (info.Size() != size || !info.Mode().IsRegular()) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	a, err := os.Open(one)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := os.Open(other)
	if err != nil {
		return false, err
	}
	defer b.Close()
	return sameStreams(ctx, a, b)
}

func sameStreams(ctx context.Context, a, b io.Reader) (bool, error) {
	one, other := make([]byte, 256<<10), make([]byte, 256<<10)
	for ctx.Err() == nil {
		n, err := io.ReadFull(a, one)
		m, _ := io.ReadFull(b, other)
		if n != m || string(one[:n]) != string(other[:m]) {
			return false, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, ctx.Err()
}
