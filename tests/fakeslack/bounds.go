package fakeslack

import (
	"net/url"
	"regexp"
	"unicode/utf16"

	"github.com/slack-go/slack"
)

// Slack's bounds, from its reference of methods and blocks. Characters are
// counted as its clients count them, in UTF-16.
const (
	maxText        = 40_000
	maxBlocks      = 50
	maxHeader      = 150
	maxSection     = 3000
	maxFields      = 10
	maxField       = 2000
	maxElements    = 10
	maxButtons     = 25
	maxButton      = 75
	maxValue       = 2000
	maxActionID    = 255
	maxTitle       = 100
	maxConfirm     = 300
	maxYes         = 30
	maxBlocksText  = 12_000 // over all blocks: not in the reference, but what its staff say of msg_blocks_too_long
	maxAttachments = 100
)

var eventType = regexp.MustCompile(`^[A-Za-z0-9_]{1,255}$`)

// tooBig holds a message against the bounds.
func tooBig(m *slack.Message) refusal {
	if units(m.Text) > maxText {
		return "msg_too_long"
	}
	if len(m.Attachments) > maxAttachments {
		return "too_many_attachments"
	}
	blocks := m.Blocks.BlockSet
	for _, a := range m.Attachments {
		blocks = append(blocks[:len(blocks):len(blocks)], a.Blocks.BlockSet...)
	}
	if len(blocks) > maxBlocks {
		return "invalid_blocks"
	}
	total := 0
	for _, b := range blocks {
		length, ok := sizeOf(b)
		if !ok {
			return "invalid_blocks"
		}
		total += length
	}
	if total > maxBlocksText {
		return "msg_blocks_too_long"
	}
	return ""
}

// sizeOf counts a block's text; false where the block itself is not allowed.
func sizeOf(b slack.Block) (int, bool) {
	switch b := b.(type) {
	case *slack.HeaderBlock:
		return sizeOfText(b.Text, maxHeader, false)
	case *slack.DividerBlock:
		return 0, true
	case *slack.ContextBlock:
		if n := len(b.ContextElements.Elements); n == 0 || n > maxElements {
			return 0, false
		}
		total := 0
		for _, e := range b.ContextElements.Elements {
			text, ok := e.(*slack.TextBlockObject)
			length, fits := sizeOfText(text, maxSection, true)
			if !ok || !fits {
				return 0, false
			}
			total += length
		}
		return total, true
	case *slack.SectionBlock:
		if b.Text == nil && len(b.Fields) == 0 || len(b.Fields) > maxFields {
			return 0, false
		}
		total := 0
		if b.Text != nil {
			length, ok := sizeOfText(b.Text, maxSection, true)
			if !ok {
				return 0, false
			}
			total = length
		}
		for _, f := range b.Fields {
			length, ok := sizeOfText(f, maxField, true)
			if !ok {
				return 0, false
			}
			total += length
		}
		return total, true
	case *slack.ActionBlock:
		return 0, fits(b)
	default:
		return 0, false
	}
}

// fits holds a row of buttons against the bounds.
func fits(row *slack.ActionBlock) bool {
	if row.Elements == nil || len(row.Elements.ElementSet) == 0 || len(row.Elements.ElementSet) > maxButtons {
		return false
	}
	plain := func(t *slack.TextBlockObject, limit int) bool {
		_, ok := sizeOfText(t, limit, false)
		return ok
	}
	seen := map[string]bool{}
	for _, e := range row.Elements.ElementSet {
		b, ok := e.(*slack.ButtonBlockElement)
		if !ok || !plain(b.Text, maxButton) || units(b.Value) > maxValue || units(b.ActionID) > maxActionID || seen[b.ActionID] {
			return false
		}
		if b.Style != "" && b.Style != slack.StylePrimary && b.Style != slack.StyleDanger {
			return false
		}
		if c := b.Confirm; c != nil && !(plain(c.Title, maxTitle) && plain(c.Text, maxConfirm) && plain(c.Confirm, maxYes) && plain(c.Deny, maxYes)) {
			return false
		}
		seen[b.ActionID] = b.ActionID != ""
	}
	return true
}

func sizeOfText(t *slack.TextBlockObject, limit int, markup bool) (int, bool) {
	if t == nil || t.Text == "" || t.Type != slack.PlainTextType && !(markup && t.Type == slack.MarkdownType) {
		return 0, false
	}
	length := units(t.Text)
	return length, length <= limit
}

func units(text string) int { return len(utf16.Encode([]rune(text))) }

// isLink reports whether Slack makes a link of it.
func isLink(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "mailto")
}
