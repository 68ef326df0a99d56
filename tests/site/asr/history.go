package asr

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// listed is how many transcriptions the history shows.
const listed = 100

const schema = `
create table if not exists history (
	id        integer primary key autoincrement,
	timestamp text not null,
	filename  text not null,
	path      text not null,
	raw_text  text not null,
	itn_text  text not null,
	language  text not null
)`

// Entry is a row of the history.
type Entry struct {
	ID int64 `json:"id"`
	// Timestamp is in UTC, as in RFC 3339.
	Timestamp string `json:"timestamp"`
	// Filename is the client's name of the audio; Path is where it lay while it was transcribed.
	Filename string `json:"filename"`
	Path     string `json:"path"`
	// RawText is what was heard, ITNText the same with figures for words.
	RawText  string `json:"raw_text"`
	ITNText  string `json:"itn_text"`
	Language string `json:"language"`
}

// History is the SQLite database of all transcriptions.
type History struct {
	db *sql.DB
}

// OpenHistory opens the database or makes it. It is in WAL mode, so that
// Litestream can follow it.
func OpenHistory(ctx context.Context, file string) (*History, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	pragmas := url.Values{"_pragma": {"journal_mode(wal)", "synchronous(normal)", "busy_timeout(5000)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: pragmas.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		db.Close()
		return nil, fmt.Errorf("open history %s: %w", file, err)
	}
	return &History{db: db}, nil
}

// Add appends a row. When it returns, the row outlives the process.
func (h *History) Add(ctx context.Context, e Entry) error {
	_, err := h.db.ExecContext(ctx,
		`insert into history (timestamp, filename, path, raw_text, itn_text, language) values (?, ?, ?, ?, ?, ?)`,
		e.Timestamp, e.Filename, e.Path, e.RawText, e.ITNText, e.Language)
	if err != nil {
		return fmt.Errorf("add to history: %w", err)
	}
	return nil
}

// Last returns the last rows, the newest first.
func (h *History) Last(ctx context.Context) ([]Entry, error) {
	rows, err := h.db.QueryContext(ctx,
		`select id, timestamp, filename, path, raw_text, itn_text, language from history order by id desc limit ?`, listed)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	defer rows.Close()
	entries := []Entry{}
	for rows.Next() {
		var e Entry
		if err := rows.Scan(&e.ID, &e.Timestamp, &e.Filename, &e.Path, &e.RawText, &e.ITNText, &e.Language); err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// Close closes the database.
func (h *History) Close() error { return h.db.Close() }
