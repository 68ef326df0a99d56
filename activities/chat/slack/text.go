package slack

import (
	"strings"

	"github.com/understudy-dr/understudy/activities/chat"
)

// ellipsis marks what was cut.
const ellipsis = "…"

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape keeps Slack from finding mentions and links in a text that it interprets.
func escape(text string) string { return escaper.Replace(text) }

// printable makes a foreign text fit for an error.
func printable(text string) string { return cut(chat.OneLine(text), 200) }

// orDash makes one line of a text; Slack takes no empty ones.
func orDash(text string) string {
	if text = chat.OneLine(text); text == "" {
		return "-"
	}
	return text
}

// length counts characters as Slack's clients do: one beyond the basic plane,
// such as an emoji, counts twice.
func length(text string) int {
	n := 0
	for _, r := range text {
		n += width(r)
	}
	return n
}

func width(r rune) int {
	if r > 0xFFFF {
		return 2
	}
	return 1
}

// cut shortens a text to a length, between two characters, and marks that.
func cut(text string, limit int) string {
	if length(text) <= limit {
		return text
	}
	n := length(ellipsis)
	for i, r := range text {
		if n += width(r); n > limit {
			return text[:i] + ellipsis
		}
	}
	return text
}

// room is what is left of a message's length.
type room int

// reserve is kept for the words that tell how much was left out.
const reserve = 100

func (r room) empty() bool { return r <= reserve }

// take makes one line of a text, as long as the limit and what is left allow.
func (r *room) take(text string, limit int) string {
	text = cut(orDash(text), max(reserve, min(limit, int(*r))))
	*r -= room(length(text))
	return text
}
