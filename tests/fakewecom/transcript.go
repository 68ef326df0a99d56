package fakewecom

import (
	"html"
	"regexp"
	"slices"
	"strings"
)

// What WeCom's clients make of Markdown: headings, bold, links, inline code,
// quotes, three colors, and mentions.
var (
	mention = regexp.MustCompile(`<@([^<>\s]+)>`)
	font    = regexp.MustCompile(`</?font[^<>]*>`)
	link    = regexp.MustCompile(`\[([^\[\]]*)\]\(([^()\s]*)\)`)
	bold    = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	code    = regexp.MustCompile("`([^`]+)`")
	heading = regexp.MustCompile(`(?m)^ *#{1,6} +`)
)

// Messages returns what arrived, oldest first.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Transcript is what people in the group see, message by message.
func (s *Server) Transcript() string {
	var b strings.Builder
	for _, m := range s.Messages() {
		b.WriteString("robot\n")
		for line := range strings.Lines(read(m) + "\n") {
			b.WriteString("  " + line)
		}
	}
	return b.String()
}

// Pings returns whom messages have called, such as @all.
func (s *Server) Pings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pings)
}

// read renders a message as people read it.
func read(m Message) string {
	if m.Type == "text" {
		return m.Content
	}
	text := heading.ReplaceAllString(m.Content, "")
	text = font.ReplaceAllString(text, "")
	text = link.ReplaceAllString(text, "$1 ($2)")
	text = bold.ReplaceAllString(text, "$1")
	text = code.ReplaceAllString(text, "$1")
	text = mention.ReplaceAllString(text, "@$1")
	return html.UnescapeString(text)
}

// mentions finds whom a content calls. An entity may be decoded before it is
// looked at, so that counts as well.
func mentions(content string) []string {
	var all []string
	for _, found := range mention.FindAllStringSubmatch(html.UnescapeString(content), -1) {
		all = append(all, found[1])
	}
	return all
}
