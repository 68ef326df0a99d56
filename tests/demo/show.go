package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

const (
	// widest is how long a line may get: longer ones are hard to read.
	widest = 110
	// narrowest is what a wrapped text still needs.
	narrowest = 60
	margin    = "  "
	clearLine = "\r\x1b[2K"
)

// style is how a text looks on a terminal, as the parameters of an escape code.
type style string

const (
	normal style = ""
	bold   style = "1"
	dim    style = "2"
	good   style = "32"
	bad    style = "1;31"
	asking style = "33"
	chat   style = "36"
)

// cell is one column of a row. The last one of a row is wrapped, and needs no width.
type cell struct {
	text  string
	width int
	style style
}

// show writes the story. On a terminal it has colours and, below the story, one
// line that is rewritten; elsewhere it writes plain lines only. It is safe for
// concurrent use.
type show struct {
	mu    sync.Mutex
	out   io.Writer
	live  bool // a terminal, where a line can be rewritten
	color bool
	width int
	// status is the line below the story, empty where there is none.
	status string
	// alone is called once nobody can read what is written; it may be nil.
	alone func()
}

func newShow(out *os.File) *show {
	s := &show{out: out, width: widest}
	if term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb" {
		s.live = true
		s.color = os.Getenv("NO_COLOR") == ""
		if width, _, err := term.GetSize(int(out.Fd())); err == nil && width > 0 {
			s.width = max(min(width, widest), narrowest)
		}
	}
	return s
}

// section begins a part of the story.
func (s *show) section(title string) {
	s.print("\n" + s.paint(title, bold) + "\n")
}

// text writes a paragraph.
func (s *show) text(style style, format string, args ...any) {
	s.row(cell{text: fmt.Sprintf(format, args...), style: style})
}

// line writes one line, whatever its length.
func (s *show) line(style style, format string, args ...any) {
	s.print(margin + s.paint(fmt.Sprintf(format, args...), style) + "\n")
}

// row writes columns beside each other; what does not fit into the last one goes on below it.
func (s *show) row(cells ...cell) {
	var b strings.Builder
	b.WriteString(margin)
	indent := len(margin)
	last := len(cells) - 1
	for _, c := range cells[:last] {
		b.WriteString(s.paint(c.text, c.style))
		b.WriteString(strings.Repeat(" ", max(c.width-utf8.RuneCountInString(c.text), 1)))
		indent += max(c.width, utf8.RuneCountInString(c.text)+1)
	}
	for i, line := range wrap(cells[last].text, s.width-indent) {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", indent))
		}
		b.WriteString(s.paint(line, cells[last].style) + "\n")
	}
	s.print(b.String())
}

// quote writes a text behind a bar, also where it is wrapped.
func (s *show) quote(mark, text string, style style) {
	const gutter = 2
	width := utf8.RuneCountInString(mark)
	for _, line := range wrap(text, s.width-len(margin)-gutter-width) {
		s.row(cell{"│", gutter, chat}, cell{text: mark + line, style: style})
		mark = strings.Repeat(" ", width)
	}
}

// blank writes an empty line.
func (s *show) blank() { s.print("\n") }

// progress rewrites the line below the story; an empty one removes it.
func (s *show) progress(format string, args ...any) {
	if !s.live {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = fmt.Sprintf(format, args...)
	s.write(clearLine + s.below())
}

// print writes whole lines above the line of progress.
func (s *show) print(lines string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != "" {
		lines = clearLine + lines + s.below()
	}
	s.write(lines)
}

func (s *show) write(text string) {
	if _, err := io.WriteString(s.out, text); err != nil && s.alone != nil {
		s.alone()
	}
}

// below is the line of progress, cut so that it never wraps: a wrapped one cannot be rewritten.
func (s *show) below() string {
	if s.status == "" {
		return ""
	}
	runes := []rune(margin + s.status)
	return s.paint(string(runes[:min(len(runes), s.width-1)]), dim)
}

func (s *show) paint(text string, style style) string {
	if !s.color || style == normal || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

// wrap breaks a text at its spaces into lines of a width. Its own line breaks and indents stay.
func wrap(text string, width int) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := paragraph[:len(paragraph)-len(strings.TrimLeft(paragraph, " "))]
		for _, word := range strings.Fields(paragraph) {
			if strings.TrimSpace(line) != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
				lines = append(lines, line)
				line = ""
			}
			if strings.TrimSpace(line) != "" {
				line += " "
			}
			line += word
		}
		lines = append(lines, line)
	}
	return lines
}
