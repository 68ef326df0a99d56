package wecom

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/understudy-dr/understudy/activities/chat"
)

// ellipsis marks what was cut.
const ellipsis = "…"

// WeCom's Markdown knows no escape, so what would be markup becomes its
// full-width twin: people read the same, and it means nothing.
var (
	twins  = strings.NewReplacer("<", "＜", ">", "＞", "[", "［", "]", "］", "*", "＊", "`", "｀")
	entity = regexp.MustCompile(`&(#?[0-9A-Za-z]+;)`)
)

// escape makes one line of Markdown of a text, at most so many bytes, in which nothing is markup.
func escape(text string, limit int) string {
	text = orDash(head(text, limit))
	text = entity.ReplaceAllString(twins.Replace(text), "＆$1")
	if strings.HasPrefix(text, "#") {
		text = "＃" + text[1:]
	}
	return cut(text, limit)
}

// plainText makes one line of a text message of a text; only mentions mean something there.
func plainText(text string, limit int) string {
	return cut(strings.ReplaceAll(orDash(head(text, limit)), "<@", "＜@"), limit)
}

func orDash(text string) string {
	if text = chat.OneLine(text); text == "" {
		return "-"
	}
	return text
}

// head takes the beginning of a text that may be very long; it is cut to its length later.
func head(text string, limit int) string {
	limit = 8 * max(limit, reserve)
	if len(text) <= limit {
		return text
	}
	return text[:boundary(text, limit)]
}

// cut shortens a text to a number of bytes, between two characters, and marks that.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return text[:boundary(text, max(limit-len(ellipsis), 0))] + ellipsis
}

// boundary is the last place between two characters, at or before an index.
func boundary(text string, at int) int {
	for at > 0 && !utf8.RuneStart(text[at]) {
		at--
	}
	return at
}
