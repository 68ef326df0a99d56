package activities

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/activity"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/runbooks"
)

// AnnounceInput is news of one recovery, or of a guard.
type AnnounceInput struct {
	Service string `json:"service"`
	// Story groups news into one message: a recovery's epoch, or a name of the guard's own.
	Story string `json:"story"`
	// Seq numbers the news of a story from 1; what arrives twice or late is dropped.
	Seq     int64             `json:"seq"`
	Notify  []runbooks.Notify `json:"notify"`
	Message chat.Message      `json:"message"`
	// Log lines go to the message's thread.
	Log []string `json:"log,omitempty"`
	// Final says that no more news follow.
	Final bool `json:"final,omitempty"`
}

// Announce hands news over to the announcement of its story, a workflow of its
// own: a chat that hangs or fails delays nobody.
func (a *Activities) Announce(ctx context.Context, in AnnounceInput) error {
	return classify(a.Guards.Announce(ctx, in))
}

// PostNewsInput brings one place up to date.
type PostNewsInput struct {
	To runbooks.Notify `json:"to"`
	// Ref is the message posted before; nil posts a new one.
	Ref     *chat.Ref    `json:"ref,omitempty"`
	Key     string       `json:"key"`
	Message chat.Message `json:"message"`
	// Log lines are added to the thread under LogKey.
	Log    []string `json:"log,omitempty"`
	LogKey string   `json:"log_key,omitempty"`
	// Edit says that the message changed since it was posted.
	Edit bool `json:"edit,omitempty"`
	// Retry says that an earlier try may have arrived.
	Retry bool `json:"retry,omitempty"`
}

// PostNewsResult finds the message again.
type PostNewsResult struct {
	Ref chat.Ref `json:"ref"`
}

// PostNews posts or edits one message and adds to its thread. It is idempotent
// by its keys, as far as the chat allows.
func (a *Activities) PostNews(ctx context.Context, in PostNewsInput) (PostNewsResult, error) {
	messenger, ok := a.Chats[in.To.Kind]
	if !ok {
		return PostNewsResult{}, classify(fmt.Errorf("%w: the site file has no chat of kind %s", chat.ErrRefused, in.To.Kind))
	}
	defer heartbeat(ctx)()
	retry := in.Retry || activity.GetInfo(ctx).Attempt > 1
	var out PostNewsResult
	var err error
	switch {
	case !messenger.CanEdit() && (in.Ref == nil || in.Edit):
		// One message for the state and its log: this chat would show them one after the other.
		out.Ref, err = messenger.Post(ctx, in.To.Channel, in.Message.WithLog(in.Log), in.Key, retry)
		return out, classify(err)
	case in.Ref == nil:
		out.Ref, err = messenger.Post(ctx, in.To.Channel, in.Message, in.Key, retry)
		if err == nil && retry {
			// The message may be an earlier try's, and show what was known then.
			err = messenger.Update(ctx, out.Ref, in.Message)
		}
	case in.Edit:
		out.Ref, err = *in.Ref, messenger.Update(ctx, *in.Ref, in.Message)
	default:
		out.Ref = *in.Ref
	}
	if err == nil && len(in.Log) > 0 {
		err = messenger.Reply(ctx, out.Ref, in.Log, in.LogKey, retry)
	}
	return out, classify(err)
}
