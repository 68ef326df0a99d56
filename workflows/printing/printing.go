// Package printing makes the files that people read of a report: Markdown, and
// a page to print.
//
// Both are made of the report's JSON alone, as it is kept outside Temporal, so
// that the same report prints the same everywhere, years later, with no engine.
// The page needs no network, no script and no font of its own; everything that
// other people wrote (alerts, reasons, answers of servers) is escaped.
package printing

import (
	"encoding/json"
	"fmt"

	"github.com/understudy-dr/understudy/workflows"
)

// Extensions of the files.
const (
	MarkdownExt = ".md"
	PageExt     = ".html"
)

// Files prints a report, given as JSON; the files are named by extension.
func Files(report []byte) (map[string][]byte, error) {
	var r workflows.Report
	if err := json.Unmarshal(report, &r); err != nil {
		return nil, fmt.Errorf("it is no report: %w", err)
	}
	page, err := Page(r)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{MarkdownExt: []byte(Markdown(r)), PageExt: page}, nil
}
