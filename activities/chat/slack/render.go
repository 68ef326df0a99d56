package slack

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"github.com/understudy-dr/understudy/activities/chat"
)

// Slack's bounds, in characters as it counts them (see length).
const (
	maxHeader  = 150
	maxSection = 3000
	maxCell    = 2000
	// maxRows of two cells fit into a section, which has 10 fields.
	maxRows = 5
	// Buttons: how many of them, their text, and what Slack asks before a click counts.
	maxButtons, maxButton, maxTitle, maxConfirm = 25, 75, 100, 300
	// maxFields leaves half of the 50 blocks that a message may have to everything else.
	maxFields = 25 * maxRows
	// maxTotal bounds all text of a message. Slack refuses more than about 12,000 characters over all blocks, a bound
	// that its reference does not name and of which the blocks themselves take a part.
	maxTotal = 9000
)

// ActionPrefix begins the action ids of our buttons.
const ActionPrefix = "understudy-"

var colors = map[chat.Color]string{
	chat.Working: "#1d9bd1",
	chat.Good:    "#2eb67d",
	chat.Bad:     "#e01e5a",
	chat.Asking:  "#ecb22e",
}

// simpleName is what may stand between asterisks: nothing in it is markup.
var simpleName = regexp.MustCompile(`^[\pL\pN]([\pL\pN ,.()-]*[\pL\pN.)])?$`)

// rendered is a message in Slack's form. An edit replaces a part only where it is
// sent, so all parts are there always.
func rendered(m chat.Message) []slack.MsgOption {
	left := room(maxTotal)
	headline := left.take(m.Headline, maxHeader)
	// What is short takes its room first.
	table, links, buttons := tables(m.Fields, &left), linked(m.Links, &left), buttons(m.Actions)
	body := slices.Concat(table, sections(m.Lines, &left), links, buttons)
	attachments := []slack.Attachment{}
	if len(body) > 0 {
		attachments = append(attachments, slack.Attachment{Color: colors[m.Color], Fallback: escape(headline), Blocks: slack.Blocks{BlockSet: body}})
	}
	return []slack.MsgOption{
		// With blocks there, the text is for notifications and screen readers alone.
		slack.MsgOptionText(escape(headline), false),
		slack.MsgOptionBlocks(slack.NewHeaderBlock(plain(headline))),
		slack.MsgOptionAttachments(attachments...),
		slack.MsgOptionDisableLinkUnfurl(),
		slack.MsgOptionDisableMediaUnfurl(),
	}
}

// renderedLog is a reply in Slack's form.
func renderedLog(lines []string) []slack.MsgOption {
	left := room(maxTotal)
	return []slack.MsgOption{
		slack.MsgOptionText(escape(cut(orDash(lines[0]), maxHeader)), false),
		slack.MsgOptionBlocks(sections(lines, &left)...),
		slack.MsgOptionDisableLinkUnfurl(),
		slack.MsgOptionDisableMediaUnfurl(),
	}
}

// tables shows fields in two columns.
func tables(fields []chat.Field, left *room) []slack.Block {
	var cells []*slack.TextBlockObject
	for i, f := range fields {
		if left.empty() || i == maxFields-1 && len(fields) > maxFields {
			cells = append(cells, plain(ellipsis), plain(fmt.Sprintf("and %d more", len(fields)-i)))
			break
		}
		cells = append(cells, named(left.take(f.Name, maxCell)), plain(left.take(f.Value, maxCell)))
	}
	var blocks []slack.Block
	for rows := range slices.Chunk(cells, 2*maxRows) {
		blocks = append(blocks, slack.NewSectionBlock(nil, rows, nil))
	}
	return blocks
}

// linked shows links beside each other. What is no web address is shown as text.
func linked(links []chat.Link, left *room) []slack.Block {
	var text string
	for _, l := range links {
		part := escape(left.take(l.Text, maxHeader))
		if u, err := url.Parse(l.URL); err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") {
			part = "<" + escape(strings.ReplaceAll(u.String(), "|", "%7C")) + "|" + part + ">"
		}
		if text != "" {
			part = "   " + part
		}
		if length(text)+length(part) > maxSection || length(part) > int(*left) {
			break
		}
		text += part
		*left -= room(length(part))
	}
	if text == "" {
		return nil
	}
	return []slack.Block{slack.NewSectionBlock(&slack.TextBlockObject{Type: slack.MarkdownType, Text: text, Verbatim: true}, nil, nil)}
}

// buttons shows what may be decided. Slack asks once more before a click on one
// that says what it leaves.
func buttons(actions []chat.Action) []slack.Block {
	var row []slack.BlockElement
	for i, a := range actions[:min(len(actions), maxButtons)] {
		text := cut(orDash(a.Text), maxButton)
		b := slack.NewButtonBlockElement(fmt.Sprintf("%s%d", ActionPrefix, i), a.Value, plain(text))
		b.Style = slack.Style(a.Style) // the words are Slack's
		if a.Leaves != "" {
			b.Confirm = slack.NewConfirmationBlockObject(plain(cut(text+"?", maxTitle)), plain(cut(orDash(a.Leaves), maxConfirm)), plain("Yes"), plain("No"))
		}
		row = append(row, b)
	}
	if len(row) == 0 {
		return nil
	}
	return []slack.Block{slack.NewActionBlock("", row...)}
}

// sections shows lines below each other, as many as there is room for.
func sections(lines []string, left *room) []slack.Block {
	var blocks []slack.Block
	var text string
	for i, line := range lines {
		full := left.empty()
		if full {
			line = fmt.Sprintf("%s and %d more", ellipsis, len(lines)-i)
		}
		line = left.take(line, maxSection)
		switch {
		case text == "":
			text = line
		case length(text)+1+length(line) > maxSection:
			blocks = append(blocks, slack.NewSectionBlock(plain(text), nil, nil))
			text = line
		default:
			text += "\n" + line
		}
		if full {
			break
		}
	}
	if text != "" {
		blocks = append(blocks, slack.NewSectionBlock(plain(text), nil, nil))
	}
	return blocks
}

func plain(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, text, false, false)
}

// named is the name of a field: bold where its characters allow markup around them.
func named(text string) *slack.TextBlockObject {
	if length(text) > maxCell-2 || !simpleName.MatchString(text) {
		return plain(text)
	}
	return &slack.TextBlockObject{Type: slack.MarkdownType, Text: "*" + text + "*", Verbatim: true}
}
