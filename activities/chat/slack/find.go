package slack

import (
	"context"
	"errors"
	"strings"

	"github.com/slack-go/slack"

	"github.com/understudy-dr/understudy/activities/chat"
)

const (
	// eventType marks the metadata of our messages.
	eventType = "understudy"
	// keyField holds a message's key in its metadata.
	keyField = "key"
	// An earlier try is minutes old; so far back it is found, even in a busy channel.
	pageSize, maxPages = 200, 5
	// maxChannelPages bounds the search for a channel's id, at 1,000 channels each.
	maxChannelPages = 10
)

// blindWords are those with which Slack keeps us from looking, though we may be
// allowed to post.
var blindWords = map[string]bool{
	"missing_scope": true, "not_in_channel": true, "channel_not_found": true, "method_not_supported_for_channel_type": true,
	"not_allowed_token_type": true, "no_permission": true, "thread_not_found": true, "message_not_found": true,
}

// keyed gives a message the key by which it is found again.
func keyed(key string) slack.MsgOption {
	return slack.MsgOptionMetadata(slack.SlackMetadata{EventType: eventType, EventPayload: map[string]any{keyField: key}})
}

func carries(m slack.Message, key string) bool {
	return m.Metadata.EventType == eventType && m.Metadata.EventPayload[keyField] == key
}

// findMessage looks for an earlier try's message in a channel.
func (m *Messenger) findMessage(ctx context.Context, channel, key string) (chat.Ref, bool, error) {
	id, err := m.channelID(ctx, channel)
	if err != nil || id == "" {
		return chat.Ref{}, false, m.unlessBlind("look for an earlier message", err)
	}
	ask := slack.GetConversationHistoryParameters{ChannelID: id, Limit: pageSize, IncludeAllMetadata: true}
	for range maxPages {
		answer, err := m.api.GetConversationHistoryContext(ctx, &ask)
		if err == nil && !answer.Ok {
			err = errNonsense
		}
		if err != nil {
			return chat.Ref{}, false, m.unlessBlind("look for an earlier message", err)
		}
		for _, message := range answer.Messages {
			if carries(message, key) {
				return chat.Ref{Channel: id, ID: message.Timestamp}, true, nil
			}
		}
		ask.Cursor = answer.ResponseMetaData.NextCursor
		if ask.Cursor == "" {
			break
		}
	}
	return chat.Ref{}, false, nil
}

// findReply looks for an earlier try's lines in a thread. Slack lists a thread
// from its beginning, and ours are short.
func (m *Messenger) findReply(ctx context.Context, ref chat.Ref, key string) (bool, error) {
	ask := slack.GetConversationRepliesParameters{ChannelID: ref.Channel, Timestamp: ref.ID, Limit: pageSize, IncludeAllMetadata: true}
	for range maxPages {
		messages, _, next, err := m.api.GetConversationRepliesContext(ctx, &ask)
		if err == nil && len(messages) == 0 {
			err = errNonsense // a thread has at least its parent
		}
		if err != nil {
			return false, m.unlessBlind("look for an earlier reply", err)
		}
		for _, message := range messages {
			if carries(message, key) {
				return true, nil
			}
		}
		ask.Cursor = next
		if next == "" {
			break
		}
	}
	return false, nil
}

// channelID finds the id of a channel: only posting takes a name. It is empty
// where the bot is in no such channel.
func (m *Messenger) channelID(ctx context.Context, channel string) (string, error) {
	name, isName := strings.CutPrefix(channel, "#")
	if id := m.known(channel); id != "" {
		return id, nil
	}
	if !isName && isID(channel) {
		return channel, nil
	}
	ask := slack.GetConversationsForUserParameters{Types: []string{"public_channel", "private_channel"}, Limit: 1000, ExcludeArchived: true}
	for range maxChannelPages {
		list, next, err := m.api.GetConversationsForUserContext(ctx, &ask)
		if err != nil {
			return "", err
		}
		for _, c := range list {
			if c.Name == name {
				m.remember(channel, c.ID)
				return c.ID, nil
			}
		}
		ask.Cursor = next
		if next == "" {
			break
		}
	}
	return "", nil
}

// isID reports whether a channel is named by its id: C, G or D and capital
// letters and digits. Names of channels have no capital letters.
func isID(channel string) bool {
	return len(channel) >= 8 && strings.ContainsRune("CGD", rune(channel[0])) &&
		!strings.ContainsFunc(channel, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') })
}

// unlessBlind lets a message be sent where Slack does not let us look for an
// earlier one. Where Slack does not answer, nothing is sent: it may be there.
func (m *Messenger) unlessBlind(doing string, err error) error {
	var said slack.SlackErrorResponse
	if errors.As(err, &said) && blindWords[said.Err] {
		return nil
	}
	return m.wrap(doing, err)
}
