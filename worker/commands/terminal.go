package commands

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/term"
)

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// print writes an answer as JSON, or as the table that show writes.
func (g *Globals) print(answer any, show func(w io.Writer)) error {
	if g.Output == "json" {
		encoder := json.NewEncoder(g.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(answer)
	}
	w := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
	show(w)
	return w.Flush()
}

// confirm asks a person; anything but yes is a no.
func (g *Globals) confirm(question string) error {
	fmt.Fprintf(g.err, "%s [y/N] ", question)
	line, err := g.in.ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer == "y" || answer == "yes" {
		return nil
	}
	if err != nil {
		fmt.Fprintln(g.err)
	}
	return exit{ExitFailed, errors.New("nothing was done")}
}

// because is the reason of a decision; a person who named none is asked.
func (g *Globals) because(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	if g.terminal {
		fmt.Fprint(g.err, "Why? ")
		line, _ := g.in.ReadString('\n')
		if given = strings.TrimSpace(line); given != "" {
			return given, nil
		}
	}
	return "", exit{ExitUsage, errors.New("say why with --reason: somebody will ask")}
}

func row(w io.Writer, cells ...any) {
	text := make([]string, len(cells))
	for i, cell := range cells {
		text[i] = oneLine(fmt.Sprint(cell))
		if text[i] == "" {
			text[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(text, "\t"))
}

// oneLine keeps other people's text from moving the cursor or starting a row.
func oneLine(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case !unicode.IsPrint(c):
			return -1
		default:
			return c
		}
	}, text)
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func seconds(s float64) string {
	if s == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f s", s)
}
