package chat

import (
	"strings"
	"unicode"
)

// OneLine keeps a text from looking like several lines, or like another one: line
// breaks and control characters become blanks, and what turns the direction of
// writing is left out.
func OneLine(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		case unicode.IsControl(r), unicode.IsSpace(r), r == '\u2028', r == '\u2029':
			return ' '
		default:
			return r
		}
	}, text))
}
