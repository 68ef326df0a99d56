package slack

import (
	"context"
	"hash/fnv"

	"github.com/slack-go/slack"

	"github.com/understudy-dr/understudy/activities/chat"
)

// stripes is how many messages can be edited at once.
const stripes = 64

// edits lets one edit of a message wait for another: an edit that is made from
// what a message showed would else write over newer news.
type edits [stripes]chan struct{}

func newEdits() *edits {
	var e edits
	for i := range e {
		e[i] = make(chan struct{}, 1)
	}
	return &e
}

// begin waits for the edits of this message that were begun before.
func (e *edits) begin(ctx context.Context, ref chat.Ref) (end func(), err error) {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(ref.ID))
	stripe := e[hash.Sum32()%stripes]
	select {
	case stripe <- struct{}{}:
		return func() { <-stripe }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Decided shows in a message that a choice was made: its buttons, and those that
// it settles, vanish, and one line tells who and when. The message is read first,
// so that news which came meanwhile stay. Where Slack does not let us read, the
// line stands in the thread, and the buttons go with the next news.
func (m *Messenger) Decided(ctx context.Context, ref chat.Ref, done chat.Choice, line string) error {
	end, err := m.edits.begin(ctx, ref)
	if err != nil {
		return m.wrap("edit a message", err)
	}
	defer end()
	shown, err := m.read(ctx, ref)
	if err != nil {
		if err := m.unlessBlind("read a message", err); err != nil {
			return err
		}
		_, err := m.send(ctx, "reply in a thread", ref.Channel, append(renderedLog([]string{line}), slack.MsgOptionTS(ref.ID))...)
		return err
	}
	blocks, attachments := settle(shown.Blocks.BlockSet, done), []slack.Attachment{}
	for _, a := range shown.Attachments {
		a.Blocks.BlockSet = settle(a.Blocks.BlockSet, done)
		if len(a.Blocks.BlockSet) > 0 {
			attachments = append(attachments, a)
		}
	}
	said := slack.NewContextBlock("", plain(cut(orDash(line), maxCell)))
	if last := len(attachments) - 1; last >= 0 {
		attachments[last].Blocks.BlockSet = append(attachments[last].Blocks.BlockSet, said)
	} else {
		attachments = append(attachments, slack.Attachment{Fallback: escape(line), Blocks: slack.Blocks{BlockSet: []slack.Block{said}}})
	}
	_, _, _, err = m.api.UpdateMessageContext(ctx, ref.Channel, ref.ID,
		slack.MsgOptionText(shown.Text, false), slack.MsgOptionBlocks(blocks...), slack.MsgOptionAttachments(attachments...))
	return m.wrap("edit a message", err)
}

// Whisper tells something to one person in a channel; nobody else sees it.
func (m *Messenger) Whisper(ctx context.Context, channel, user, text string) error {
	_, err := m.api.PostEphemeralContext(ctx, channel, user, slack.MsgOptionText(escape(cut(orDash(text), maxSection)), false))
	return m.wrap("answer a click", err)
}

// read finds a message as it stands now.
func (m *Messenger) read(ctx context.Context, ref chat.Ref) (slack.Message, error) {
	answer, err := m.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
		ChannelID: ref.Channel, Latest: ref.ID, Oldest: ref.ID, Inclusive: true, Limit: 1,
	})
	switch {
	case err != nil:
		return slack.Message{}, err
	case !answer.Ok:
		return slack.Message{}, errNonsense
	case len(answer.Messages) == 0 || answer.Messages[0].Timestamp != ref.ID:
		return slack.Message{}, slack.SlackErrorResponse{Err: "message_not_found"}
	}
	return answer.Messages[0], nil
}

// settle leaves out the buttons that a choice has settled.
func settle(blocks []slack.Block, done chat.Choice) []slack.Block {
	kept := []slack.Block{}
	for _, block := range blocks {
		row, ok := block.(*slack.ActionBlock)
		if !ok || row.Elements == nil {
			kept = append(kept, block)
			continue
		}
		var left []slack.BlockElement
		for _, element := range row.Elements.ElementSet {
			if button, ok := element.(*slack.ButtonBlockElement); ok && !settles(done, button.Value) {
				left = append(left, element)
			}
		}
		if len(left) > 0 {
			kept = append(kept, slack.NewActionBlock(row.BlockID, left...))
		}
	}
	return kept
}

// settles reports whether a choice leaves nothing to decide for another button.
// An abort ends everything; everything else leaves the abort.
func settles(done chat.Choice, value string) bool {
	other, err := chat.ParseChoice(value)
	switch {
	case err != nil || done.Verb == chat.Abort:
		return true
	case other.Verb == chat.Abort:
		return false
	case done.Verb == chat.Answer && other.Verb == chat.Answer:
		return done.Question == other.Question
	default:
		return done.Verb != chat.Answer && other.Verb != chat.Answer
	}
}
