package probe

import (
	"strings"
	"unicode"
)

// QuoteLimit is how many characters of a foreign text a detail may quote.
const QuoteLimit = 200

// Printable makes a foreign text fit for a line that people read: control,
// formatting and invalid characters become dots, runs of white space one space,
// and what is longer than limit characters is cut and marked.
func Printable(text string, limit int) string {
	var b strings.Builder
	length, space := 0, false
	for _, r := range text {
		if unicode.IsSpace(r) {
			space = b.Len() > 0
			continue
		}
		if length >= limit {
			b.WriteString("...")
			break
		}
		if space {
			b.WriteByte(' ')
			length, space = length+1, false
		}
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			r = '.'
		}
		b.WriteRune(r)
		length++
	}
	return b.String()
}
