package runbooks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a file: where it is, what is wrong, what is allowed.
type Problem struct {
	File string `json:"file"`
	Line int    `json:"line"`
	// Column counts from 1.
	Column int `json:"column"`
	// Key is the path of the value within the file, such as tiers[1].provision.kind.
	Key string `json:"key,omitempty"`
	// Text says what is wrong and what is allowed.
	Text string `json:"text"`
	// Notice marks what does not stop the file from being used.
	Notice bool `json:"notice,omitempty"`
}

// String is the problem as compilers print it: file:line:column: key: text.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Notice {
		b.WriteString("notice: ")
	}
	if p.Key != "" {
		fmt.Fprintf(&b, "%s: ", p.Key)
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is all that was found in one or more files, in the order of lines.
type Problems []Problem

// Err is nil where nothing but notices was found.
func (ps Problems) Err() error {
	if len(ps.Errors()) == 0 {
		return nil
	}
	return ps
}

// Error lists every problem that stops a file from being used, a line each.
func (ps Problems) Error() string {
	lines := make([]string, 0, len(ps))
	for _, p := range ps.Errors() {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// Errors leaves out the notices.
func (ps Problems) Errors() Problems {
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return p.Notice })
}

// Notices leaves out the errors.
func (ps Problems) Notices() Problems {
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return !p.Notice })
}

func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return ps
}
