package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// row is a transcription of the history, as far as it tells it from others.
type row struct {
	id        int64
	timestamp string
}

// readRows reads the history's rows, in the order in which they were written.
func readRows(ctx context.Context, file string) ([]row, error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: "mode=ro&_pragma=busy_timeout(5000)"}).String())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	defer db.Close()
	found, err := db.QueryContext(ctx, "select id, timestamp from history order by id")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	defer found.Close()
	var rows []row
	for found.Next() {
		var r row
		if err := found.Scan(&r.id, &r.timestamp); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		rows = append(rows, r)
	}
	return rows, found.Err()
}

// moved is what became of the history when the service moved.
type moved struct {
	// written is how many rows there were before the kill, added how many the standby has written since.
	written, added int
	// lost are the rows that did not arrive, oldest age before the kill.
	lost   int
	oldest time.Duration
}

// compare holds the history of the standby against the one that it was restored from.
func compare(before, after []row, kill time.Time) moved {
	m := moved{written: len(before)}
	arrived := map[row]bool{}
	for _, r := range after {
		arrived[r] = true
	}
	for _, r := range before {
		if arrived[r] {
			continue
		}
		m.lost++
		if at, err := time.Parse(time.RFC3339Nano, r.timestamp); err == nil {
			m.oldest = max(m.oldest, kill.Sub(at))
		}
	}
	m.added = len(after) - (m.written - m.lost)
	return m
}
