package fakeslack

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/slack-go/slack"
)

// markup is what Slack takes for a mention or a link in text that it interprets.
var markup = regexp.MustCompile(`<([^<>]+)>`)

// Transcript is what people see now: each channel with its messages after their
// edits, each with its thread below it.
func (s *Server) Transcript() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, c := range s.channels {
		if len(c.messages) == 0 {
			continue
		}
		fmt.Fprintf(&b, "#%s\n", c.name)
		for _, m := range c.messages {
			if m.ThreadTimestamp != "" && m.ThreadTimestamp != m.Timestamp {
				continue
			}
			indent(&b, "  ", s.read(m))
			for _, reply := range c.messages {
				if reply.ThreadTimestamp == m.Timestamp && reply != m {
					indent(&b, "    > ", s.read(reply))
				}
			}
		}
	}
	return b.String()
}

// Messages returns the messages of a channel as Slack keeps them, oldest first, replies too.
func (s *Server) Messages(channel string) []slack.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []slack.Message
	if c := s.channelNamed(channel); c != nil {
		for _, m := range c.messages {
			list = append(list, *m)
		}
	}
	return list
}

// Pings returns whom messages have called by mentions, such as @channel.
func (s *Server) Pings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pings)
}

// read renders a message as people read it. Where it has blocks, its text is
// shown in notifications alone, and may call people all the same.
func (s *Server) read(m *slack.Message) string {
	var lines []string
	text := s.interpret(m.Text)
	if len(m.Blocks.BlockSet) == 0 && text != "" {
		lines = append(lines, text)
	}
	lines = append(lines, s.readBlocks(m.Blocks.BlockSet)...)
	for _, a := range m.Attachments {
		lines = append(lines, s.readBlocks(a.Blocks.BlockSet)...)
		if a.Text != "" {
			lines = append(lines, s.interpret(a.Text))
		}
	}
	return strings.Join(lines, "\n")
}

func (s *Server) readBlocks(blocks []slack.Block) []string {
	var lines []string
	for _, b := range blocks {
		switch b := b.(type) {
		case *slack.HeaderBlock:
			lines = append(lines, s.readText(b.Text))
		case *slack.SectionBlock:
			if b.Text != nil {
				lines = append(lines, s.readText(b.Text))
			}
			for pair := range slices.Chunk(b.Fields, 2) { // two columns
				var row []string
				for _, f := range pair {
					row = append(row, s.readText(f))
				}
				lines = append(lines, strings.Join(row, ": "))
			}
		case *slack.ContextBlock:
			var parts []string
			for _, e := range b.ContextElements.Elements {
				if t, ok := e.(*slack.TextBlockObject); ok {
					parts = append(parts, s.readText(t))
				}
			}
			lines = append(lines, strings.Join(parts, "  "))
		case *slack.ActionBlock:
			var buttons []string
			for _, e := range b.Elements.ElementSet {
				if button, ok := e.(*slack.ButtonBlockElement); ok {
					buttons = append(buttons, "["+s.readText(button.Text)+"]")
				}
			}
			lines = append(lines, strings.Join(buttons, " "))
		}
	}
	return lines
}

func (s *Server) readText(t *slack.TextBlockObject) string {
	if t.Type == slack.MarkdownType {
		return strings.ReplaceAll(s.interpret(t.Text), "*", "")
	}
	return t.Text
}

// interpret does with markup what Slack does, and remembers who was called.
func (s *Server) interpret(text string) string {
	shown := markup.ReplaceAllStringFunc(text, func(found string) string {
		inner := found[1 : len(found)-1]
		target, label, _ := strings.Cut(inner, "|")
		switch {
		case strings.HasPrefix(target, "!"), strings.HasPrefix(target, "@"):
			ping := "@" + target[1:]
			if !slices.Contains(s.pings, ping) {
				s.pings = append(s.pings, ping)
			}
			return ping
		case isLink(target) && label != "":
			return label + " (" + target + ")"
		case isLink(target):
			return target
		default:
			return found
		}
	})
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(shown)
}

func indent(b *strings.Builder, prefix, text string) {
	for line := range strings.Lines(text + "\n") {
		b.WriteString(prefix + line)
	}
}
