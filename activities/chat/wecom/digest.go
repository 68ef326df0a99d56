package wecom

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/activities/chat"
)

// WeCom's bounds, in bytes of UTF-8.
const (
	maxText, maxMarkdown = 2048, 4096
	// Shares of one whole message: the rest is for its lines.
	headlineShare, fieldsShare, linksShare, decideShare = 240, 1200, 800, 300
	// maxField and maxLine keep one long text from taking the place of all others.
	maxField, maxLine = 400, 1000
	// minShare of a digest is what one story needs to say something.
	minShare = 256
	// reserve is kept for the words that tell how much was left out.
	reserve = 40
)

// colors are the three that WeCom's Markdown knows.
var colors = map[chat.Color]string{chat.Good: "info", chat.Bad: "warning", chat.Asking: "warning", chat.Working: "comment"}

// story is what is to be told of one story.
type story struct {
	name  string
	state *chat.Message
	log   []string
}

// compose makes one message of what waits, the oldest first, and says what it
// carries. Of each story the newest state is told.
func compose(waiting []*news) (body, []*news) {
	if waiting[0].alone {
		waiting = waiting[:1]
	}
	var carried []*news
	var stories []*story
	for _, n := range waiting {
		if n.alone && len(waiting) > 1 {
			continue
		}
		i := slices.IndexFunc(stories, func(s *story) bool { return s.name == n.story })
		if i < 0 {
			if len(stories) == maxMarkdown/minShare {
				continue
			}
			stories, i = append(stories, &story{name: n.story}), len(stories)
		}
		if n.state != nil {
			stories[i].state = n.state
		}
		stories[i].log = append(stories[i].log, n.log...)
		carried = append(carried, n)
	}
	switch first := stories[0]; {
	case len(stories) == 1 && first.state == nil:
		return body{MsgType: "text", Text: &content{logged(first)}}, carried
	case len(stories) == 1:
		return markdown(whole(first.state.WithLog(first.log))), carried
	}
	var parts []string
	for _, s := range stories {
		parts = append(parts, brief(s, (maxMarkdown-2*len(stories))/len(stories)))
	}
	return markdown(strings.Join(parts, "\n\n")), carried
}

func markdown(text string) body { return body{MsgType: "markdown", Markdown: &content{text}} }

// whole shows one state with all that there is room for.
func whole(m chat.Message) string {
	parts := []string{"### " + headline(m, headlineShare)}
	left := maxMarkdown - len(parts[0])
	links, decide := linked(m.Links, linksShare), decisions(m.Actions)
	fields := tabled(m.Fields)
	left -= len(links) + len(decide) + len(fields) + 4 // line breaks between the parts
	for _, part := range []string{fields, listed(m.Lines, left), decide, links} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "\n")
}

// brief shows a story within a share of a digest: its headline, what to decide,
// as many lines as fit, and where to read more.
func brief(s *story, share int) string {
	m := chat.Message{Headline: s.name}
	if s.state != nil {
		m = *s.state
	}
	m = m.WithLog(s.log)
	more := linked(m.Links[:min(len(m.Links), 1)], share/2)
	if len(m.Actions) > 0 {
		more = strings.TrimSpace("A person must decide. " + more)
	}
	text := "**" + headline(m, min(headlineShare, share-len(more)-len("****\n"))) + "**"
	if lines := listed(m.Lines, share-len(text)-len(more)-2); lines != "" {
		text += "\n" + lines
	}
	if more != "" {
		text += "\n" + more
	}
	return text
}

// logged shows lines of a log alone, as text: there nothing is markup but mentions.
func logged(s *story) string {
	text := plainText(s.name, maxLine)
	for i, line := range s.log {
		next := "\n" + plainText(line, maxLine)
		if len(text)+len(next) > maxText-reserve {
			return text + fmt.Sprintf("\n%s and %d more", ellipsis, len(s.log)-i)
		}
		text += next
	}
	return text
}

func headline(m chat.Message, limit int) string {
	color := colors[m.Color]
	if color == "" {
		return escape(m.Headline, limit)
	}
	open, shut := `<font color="`+color+`">`, "</font>"
	return open + escape(m.Headline, limit-len(open)-len(shut)) + shut
}

// tabled shows fields as a quotation, one row each.
func tabled(fields []chat.Field) string {
	var b strings.Builder
	for i, f := range fields {
		row := "> " + escape(f.Name, maxField) + ": " + escape(f.Value, maxField)
		if b.Len()+1+len(row) > fieldsShare-reserve {
			fmt.Fprintf(&b, "\n> %s and %d more", ellipsis, len(fields)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(row)
	}
	return b.String()
}

// listed shows lines below each other, as many as there is room for.
func listed(lines []string, left int) string {
	var b strings.Builder
	for i, line := range lines {
		room := left - b.Len() - reserve
		if room < reserve {
			if left-b.Len() >= reserve {
				fmt.Fprintf(&b, "\n%s and %d more", ellipsis, len(lines)-i)
			}
			break
		}
		if i > 0 {
			b.WriteByte('\n')
			room--
		}
		b.WriteString(escape(line, min(maxLine, room)))
	}
	return strings.TrimPrefix(b.String(), "\n")
}

// decisions names what people may decide; a robot has no buttons.
func decisions(actions []chat.Action) string {
	var names []string
	for _, a := range actions {
		names = append(names, escape(a.Text, decideShare/4))
	}
	if len(names) == 0 {
		return ""
	}
	text := "To be decided by a person: "
	return text + cut(strings.Join(names, ", "), decideShare-len(text))
}

// linked shows links, one a line. What is no web address is shown as text.
func linked(links []chat.Link, limit int) string {
	var b strings.Builder
	for _, l := range links {
		part := escape(l.Text, limit/2)
		if u, err := url.Parse(l.URL); err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") {
			part = "[" + part + "](" + address(u) + ")"
		}
		if b.Len()+1+len(part) > limit {
			break
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(part)
	}
	return b.String()
}

// address is a URL in which nothing ends the link, or begins markup.
func address(u *url.URL) string {
	return strings.NewReplacer("(", "%28", ")", "%29", "[", "%5B", "]", "%5D", "<", "%3C", ">", "%3E", "`", "%60", "*", "%2A", "|", "%7C").Replace(u.String())
}
