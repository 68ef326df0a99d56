package main

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
)

func TestRowsAreWrappedBelowTheirLastColumn(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cells []cell
		want  string
	}{
		{"one column", []cell{{text: "one two three four"}}, "  one two three\n  four\n"},
		{"an aligned column", []cell{{"a", 4, normal}, {text: "one two three"}}, "  a   one two\n      three\n"},
		{"a column that is too narrow", []cell{{"abcdef", 4, normal}, {text: "one"}}, "  abcdef one\n"},
		{"a word that is too long", []cell{{text: "12345678901234567890 x"}}, "  12345678901234567890\n  x\n"},
		{"lines of its own", []cell{{text: "one\ntwo"}}, "  one\n  two\n"},
		{"no text", []cell{{text: ""}}, "  \n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			s := &show{out: &out, width: 15}
			s.row(tt.cells...)
			if out.String() != tt.want {
				t.Errorf("%q, want %q", out.String(), tt.want)
			}
		})
	}
}

func TestTheLineOfProgressStaysBelow(t *testing.T) {
	var out bytes.Buffer
	s := &show{out: &out, width: 20, live: true}
	s.progress("counting: %d", 1)
	s.text(normal, "news")
	s.progress("")
	want := clearLine + "  counting: 1" + clearLine + "  news\n" + "  counting: 1" + clearLine
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	s.progress("%s", strings.Repeat("x", 100))
	if shown := strings.TrimPrefix(out.String(), clearLine); len(shown) >= s.width {
		t.Errorf("a line of progress that wraps cannot be rewritten: %q", shown)
	}
}

func TestAPipeGetsPlainLines(t *testing.T) {
	var out bytes.Buffer
	s := &show{out: &out, width: 80}
	s.section("A title")
	s.progress("counting")
	s.quote("- ", "text", bad)
	if want := "\nA title\n  │ - text\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

type nobody struct{}

func (nobody) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestTheReaderLeaves(t *testing.T) {
	left := 0
	s := &show{out: nobody{}, width: 80, alone: func() { left++ }}
	s.text(normal, "one")
	if left != 1 {
		t.Errorf("noticed %d times", left)
	}
	(&show{out: nobody{}, width: 80}).text(normal, "one") // nobody asked
}

func TestBarsStandWhereTheirTimeIs(t *testing.T) {
	for _, tt := range []struct {
		from, length float64
		want         string
	}{
		{0, 1, strings.Repeat("█", barWidth)},
		{0.5, 0.5, strings.Repeat(" ", barWidth/2) + strings.Repeat("█", barWidth/2)},
		{0.5, 0.001, strings.Repeat(" ", barWidth/2) + "▏"},
		{1, 0, strings.Repeat(" ", barWidth-1) + "▏"},
		{-0.1, 2, strings.Repeat("█", barWidth)}, // clocks of two programs
	} {
		if got := bar(tt.from, tt.length); got != tt.want {
			t.Errorf("bar(%v, %v) = %q, want %q", tt.from, tt.length, got, tt.want)
		}
	}
}
