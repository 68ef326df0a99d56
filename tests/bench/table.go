package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// group is what one benchmark found: a part of the table with columns of its own.
type group struct {
	// title says what was done to whom.
	title string
	// columns name what is compared, Understudy first.
	columns []string
	rows    []row
	// method says how it was measured; groups that share one stand together.
	method []string
	// notes are about this group alone.
	notes []string
}

// row is one figure, for everybody who is compared.
type row struct {
	what  string
	cells []string
	// beat is the figure that Understudy is to beat; empty where there is none.
	beat string
}

const (
	// columnsOfTable are those beside the first, the last of which is the figure to beat.
	columnsOfTable = 4
	toBeat         = "to beat"
	// nothing stands where somebody has no such figure.
	nothing = "-"
	gap     = 2
)

// table aligns all groups with each other.
func table(groups []group) string {
	var lines [][]string
	for _, g := range groups {
		lines = append(lines, cells(strings.ToUpper(g.title), g.columns, toBeat))
		for _, r := range g.rows {
			lines = append(lines, cells("  "+r.what, r.cells, r.beat))
		}
		lines = append(lines, nil)
	}
	widths := make([]int, 1+columnsOfTable)
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	b.WriteString("\n")
	for _, line := range lines {
		var text strings.Builder
		for i, cell := range line {
			if i == 0 {
				fmt.Fprintf(&text, "%-*s", widths[i], cell)
			} else {
				fmt.Fprintf(&text, "%*s", widths[i]+gap, cell)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	return b.String()
}

// cells are the texts of one line; what nobody has is a dash, the figure to beat an empty cell.
func cells(what string, columns []string, beat string) []string {
	line := []string{what}
	for i := range columnsOfTable - 1 {
		cell := nothing
		if i < len(columns) && columns[i] != "" {
			cell = columns[i]
		}
		line = append(line, cell)
	}
	return append(line, beat)
}

// legend says how the groups were measured.
func legend(groups []group) string {
	var b strings.Builder
	for i, g := range groups {
		fmt.Fprintf(&b, "\n%s\n", g.title)
		method := g.method
		if i > 0 && slices.Equal(method, groups[i-1].method) {
			method = []string{"As above."}
		}
		for _, line := range slices.Concat(method, g.notes) {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	return b.String()
}
