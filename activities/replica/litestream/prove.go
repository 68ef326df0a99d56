package litestream

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	_ "modernc.org/sqlite" // the driver

	"github.com/understudy-dr/understudy/activities/replica"
)

const (
	// maxAnswer is how much of a check's answer is kept, in bytes.
	maxAnswer = 200
	// sound is what SQLite says about a database that is whole.
	sound = "ok"
)

// prove checks the structure of a restored database, and asks it the runbook's
// query, which must answer a row. It cannot change the database.
func prove(ctx context.Context, path, query string) (answer string, err error) {
	// Nobody else has it open, so no locks and no journals are needed.
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro&immutable=1&_pragma=query_only(1)"}).String())
	if err != nil {
		return "", err
	}
	defer db.Close()
	verdict, err := firstRow(ctx, db, "PRAGMA integrity_check")
	if err == nil && verdict != sound {
		err = errors.New(verdict)
	}
	if err != nil {
		return "", damaged(ctx, "integrity_check", err)
	}
	if query == "" {
		return "", nil
	}
	if answer, err = firstRow(ctx, db, query); err != nil {
		return "", damaged(ctx, "check", err)
	}
	return answer, nil
}

func damaged(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil { // it says nothing about the database
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	return fmt.Errorf("%w: %s: %w", replica.ErrDamaged, what, err)
}

// firstRow returns the first row of an answer, in one line.
func firstRow(ctx context.Context, db *sql.DB, query string) (string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	if !rows.Next() {
		return "", errors.Join(rows.Err(), fmt.Errorf("%.80q has no answer", query))
	}
	values, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	if err := rows.Scan(targets...); err != nil {
		return "", err
	}
	told := make([]string, len(values))
	for i, v := range values {
		told[i] = v.String
	}
	line := strings.Join(strings.Fields(strings.Join(told, ", ")), " ")
	return strings.ToValidUTF8(line[:min(len(line), maxAnswer)], ""), errors.Join(rows.Err(), rows.Close())
}
