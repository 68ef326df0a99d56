package asr

import (
	"fmt"
	"path/filepath"
	"testing"
)

func TestHistoryShowsTheLastHundred(t *testing.T) {
	t.Chdir(t.TempDir())
	const file = "a name with %20 & ?.db"
	history, err := OpenHistory(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 105 {
		if err := history.Add(t.Context(), Entry{Filename: fmt.Sprint(i), RawText: `"; drop table history`}); err != nil {
			t.Fatal(err)
		}
	}
	if err := history.Close(); err != nil {
		t.Fatal(err)
	}
	if history, err = OpenHistory(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	defer history.Close()
	var mode string
	if err := history.db.QueryRowContext(t.Context(), "pragma journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal mode %q, %v", mode, err)
	}
	rows, err := history.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != listed || rows[0].Filename != "104" || rows[99].Filename != "5" || rows[0].ID != 105 {
		t.Errorf("%d rows from %+v to %+v", len(rows), rows[0], rows[len(rows)-1])
	}
	if files, err := filepath.Glob("*.db"); err != nil || len(files) != 1 || files[0] != file {
		t.Errorf("files %q, %v", files, err)
	}
}
