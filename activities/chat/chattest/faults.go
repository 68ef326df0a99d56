package chattest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/chat"
)

func lostAnswers(t *testing.T, f Fixture) {
	if !f.Finds {
		return
	}
	f.Chat.Break(Losing)
	_, err := f.Messenger.Post(t.Context(), f.Channel, message, "key-1", false)
	check(t, f, "post", err, chat.ErrUnavailable)
	ref := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, message, "key-1", true))
	if n := strings.Count(f.Chat.Transcript(), message.Headline); n != 1 {
		t.Errorf("people see the message %d times", n)
	}
	if !f.Threads {
		return
	}
	f.Chat.Break(Losing)
	check(t, f, "reply", f.Messenger.Reply(t.Context(), ref, []string{"a line"}, "log-1", false), chat.ErrUnavailable)
	if err := f.Messenger.Reply(t.Context(), ref, []string{"a line"}, "log-1", true); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(f.Chat.Transcript(), "a line"); n != 1 {
		t.Errorf("people see the line %d times", n)
	}
}

func faults(t *testing.T, f Fixture) {
	ref := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, message, "key-1", false))
	calls := map[string]func(context.Context) error{
		"post": func(ctx context.Context) error {
			_, err := f.Messenger.Post(ctx, f.Channel, message, "key-2", false)
			return err
		},
		"update": func(ctx context.Context) error { return f.Messenger.Update(ctx, ref, message) },
		"reply": func(ctx context.Context) error {
			return f.Messenger.Reply(ctx, ref, []string{"a line"}, "log-1", false)
		},
	}
	if !f.Updates {
		delete(calls, "update")
	}
	if f.Finds {
		calls["look for an earlier post"] = func(ctx context.Context) error {
			_, err := f.Messenger.Post(ctx, f.Channel, message, "key-3", true)
			return err
		}
		calls["look for an earlier reply"] = func(ctx context.Context) error {
			return f.Messenger.Reply(ctx, ref, []string{"a line"}, "log-2", true)
		}
	}
	before := f.Chat.Transcript()
	for name, call := range calls {
		for _, fault := range []Fault{Hanging, Failing, Nonsense, Empty, Dropping} {
			f.Chat.Break(fault)
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if fault == Hanging {
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
			}
			check(t, f, fmt.Sprintf("%s where the chat %s", name, fault), call(ctx), chat.ErrUnavailable)
			cancel()
			f.Chat.Heal()
		}
		f.Chat.Break(Limited)
		var limited *chat.RateLimitError
		if err := call(t.Context()); !errors.As(err, &limited) || limited.After != f.pause() {
			t.Errorf("%s where the chat %s: %v", name, Limited, err)
		}
		f.Chat.Heal()
	}
	if after := f.Chat.Transcript(); after != before {
		t.Errorf("what failed is seen all the same:\n%s", after)
	}
	for name, call := range calls {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s after the chat is well again: %v", name, err)
		}
	}
}

func (f Fixture) pause() time.Duration {
	if f.Pause == 0 {
		return 7 * time.Second
	}
	return f.Pause
}

func refused(t *testing.T, f Fixture) {
	_, err := f.Stranger.Post(t.Context(), f.Channel, message, "key-1", false)
	check(t, f, "post", err, chat.ErrRefused)
	_, err = f.Stranger.Post(t.Context(), f.Channel, message, "key-1", true)
	check(t, f, "post again", err, chat.ErrRefused)
	ref := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, message, "key-1", false))
	if f.Updates {
		check(t, f, "update", f.Stranger.Update(t.Context(), ref, message), chat.ErrRefused)
	}
	check(t, f, "reply", f.Stranger.Reply(t.Context(), ref, []string{"a line"}, "log-1", false), chat.ErrRefused)
}
