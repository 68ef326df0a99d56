// Package chat tells people what happens: one message per recovery that edits
// itself, its thread as the log, and buttons for what only a person may decide.
//
// The implementations are slack and wecom, which differ in what they can: a
// WeCom robot neither edits nor hears, so it posts digests, and leads to the
// console for decisions. Whoever calls must be ready for a chat that hangs:
// nothing that matters waits for it.
package chat

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrRefused means that the chat will not take this message or this token, and that a retry would not help.
	ErrRefused = errors.New("chat refused the message")
	// ErrUnavailable means that the chat did not answer or failed; the message may or may not have arrived.
	ErrUnavailable = errors.New("chat unavailable")
)

// RateLimitError means that the chat wants fewer messages; try again after the pause.
type RateLimitError struct{ After time.Duration }

func (e *RateLimitError) Error() string {
	return fmt.Sprintf("chat rate limit: try again after %s", e.After)
}

// Color marks how a message is meant.
type Color string

// The colors.
const (
	Working Color = "working" // something is being done
	Good    Color = "good"    // it is well again
	Bad     Color = "bad"     // it failed
	Asking  Color = "asking"  // a person must decide
)

// Message is what people read. All text is plain: whatever it contains is
// shown, never interpreted as markup, mention or link.
type Message struct {
	Color Color `json:"color"`
	// Headline is one line.
	Headline string `json:"headline"`
	// Fields are shown as a table of names and values.
	Fields []Field `json:"fields,omitempty"`
	// Lines are shown below, one each, such as a checklist.
	Lines []string `json:"lines,omitempty"`
	Links []Link   `json:"links,omitempty"`
	// Actions are what people may decide now; a chat without buttons names them and leads to the links.
	Actions []Action `json:"actions,omitempty"`
}

// WithLog is the message with the lines of a log below its own, for chats that
// cannot edit and have no threads: there one post tells everything.
func (m Message) WithLog(log []string) Message {
	m.Lines = append(m.Lines[:len(m.Lines):len(m.Lines)], log...)
	return m
}

// Field is one row of a message's table.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Link is a page that the message leads to.
type Link struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

// Ref finds a posted message again.
type Ref struct {
	Channel string `json:"channel"`
	ID      string `json:"id"`
}

// Checker is a chat that can be asked beforehand whether it would take messages.
type Checker interface {
	// Check asks without sending anything. ErrRefused means that the chat does not know us, ErrUnavailable that it
	// did not answer.
	Check(ctx context.Context) error
}

// Messenger is one chat.
type Messenger interface {
	// CanEdit tells whether Update changes what was posted. Where it cannot, Update posts the new state as a message of
	// its own and Reply stands beside it; whoever wants one message instead of two updates to a Message WithLog.
	CanEdit() bool
	// Post sends a new message to a channel. key makes it idempotent: a second Post with the same key to the same
	// channel finds the first message, where the chat allows that, and returns its Ref; retry says that an earlier
	// try with this key may have arrived, so that it must be looked for.
	Post(ctx context.Context, channel string, m Message, key string, retry bool) (Ref, error)
	// Update replaces a posted message. Repeating it is harmless.
	Update(ctx context.Context, ref Ref, m Message) error
	// Reply adds lines to the thread below a message, idempotent by key as Post is.
	Reply(ctx context.Context, ref Ref, lines []string, key string, retry bool) error
}
