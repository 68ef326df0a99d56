package slack_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/chat/slack"
	"github.com/understudy-dr/understudy/tests/fakeslack"
)

var (
	approve  = chat.Choice{Verb: chat.Answer, Recovery: "fun-asr-7", Question: "q1", Plan: "abc", Answer: "approve"}
	reject   = chat.Choice{Verb: chat.Answer, Recovery: "fun-asr-7", Question: "q1", Plan: "abc", Answer: "reject"}
	other    = chat.Choice{Verb: chat.Answer, Recovery: "fun-asr-7", Question: "q2", Answer: "stay"}
	commit   = chat.Choice{Verb: chat.Commit, Recovery: "fun-asr-7"}
	rollback = chat.Choice{Verb: chat.Rollback, Recovery: "fun-asr-7"}
	abort    = chat.Choice{Verb: chat.Abort, Recovery: "fun-asr-7"}
)

func asking(choices ...chat.Choice) chat.Message {
	m := chat.Message{Color: chat.Asking, Headline: "fun-asr: may a machine be made?", Lines: []string{"cold: 2 minutes"}}
	for _, c := range choices {
		m.Actions = append(m.Actions, chat.Action{Text: string(c.Verb) + c.Answer, Value: c.Value()})
	}
	return m
}

func TestWhatADecisionSettles(t *testing.T) {
	for name, tt := range map[string]struct {
		shown []chat.Choice
		done  chat.Choice
		left  []chat.Choice
	}{
		"an answer settles its question": {[]chat.Choice{approve, reject, abort}, approve, []chat.Choice{abort}},
		"and no other":                   {[]chat.Choice{approve, other, abort}, approve, []chat.Choice{other, abort}},
		"a commit settles the rollback":  {[]chat.Choice{commit, rollback}, commit, nil},
		"an answer leaves the commit":    {[]chat.Choice{approve, commit}, approve, []chat.Choice{commit}},
		"an abort ends everything":       {[]chat.Choice{approve, reject, commit, abort}, abort, nil},
	} {
		server := start(t)
		m := connect(t, server, fakeslack.Token)
		ref, err := m.Post(t.Context(), "#asr-oncall", asking(tt.shown...), "k", false)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Decided(t.Context(), ref, tt.done, "mia (approver), 03:12:05 UTC <!channel>"); err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, c := range tt.left {
			left = append(left, c.Value())
		}
		if got := (breakable{server}).Buttons(); !slices.Equal(got, left) {
			t.Errorf("%s: left are %q, want %q", name, got, left)
		}
		seen := server.Transcript()
		for _, want := range []string{"may a machine be made?", "cold: 2 minutes", "mia (approver), 03:12:05 UTC"} {
			if strings.Count(seen, want) != 1 {
				t.Errorf("%s: people do not read %q:\n%s", name, want, seen)
			}
		}
		if len(server.Pings()) > 0 {
			t.Errorf("%s: somebody was called", name)
		}
	}
}

// News that came since the click must survive the edit that shows who has clicked.
func TestNewsAreNotWrittenOver(t *testing.T) {
	server := start(t)
	m := connect(t, server, fakeslack.Token)
	ref, err := m.Post(t.Context(), "#asr-oncall", asking(approve, reject), "k", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Update(t.Context(), ref, chat.Message{Color: chat.Good, Headline: "fun-asr: recovered"}); err != nil {
		t.Fatal(err)
	}
	if err := m.Decided(t.Context(), ref, approve, "mia, 03:12:05 UTC"); err != nil {
		t.Fatal(err)
	}
	if seen := server.Transcript(); !strings.Contains(seen, "recovered") || !strings.Contains(seen, "mia, 03:12:05 UTC") || strings.Contains(seen, "machine") {
		t.Errorf("people read:\n%s", seen)
	}
}

// An edit that was begun ends before the next one begins, so the newest news win.
func TestEditsOfOneMessageDoNotOverlap(t *testing.T) {
	server := start(t)
	m := connect(t, server, fakeslack.Token)
	ref, err := m.Post(t.Context(), "#asr-oncall", asking(approve), "k", false)
	if err != nil {
		t.Fatal(err)
	}
	server.Inject(fakeslack.Fault{Method: "conversations.history", Hang: 100 * time.Millisecond, Times: 1})
	var decided sync.WaitGroup
	decided.Go(func() {
		if err := m.Decided(t.Context(), ref, approve, "mia, 03:12:05 UTC"); err != nil {
			t.Error(err)
		}
	})
	for len(server.Calls("conversations.history")) == 0 { // Decided holds the message now
		time.Sleep(time.Millisecond)
	}
	if err := m.Update(t.Context(), ref, chat.Message{Headline: "fun-asr: recovered"}); err != nil {
		t.Fatal(err)
	}
	decided.Wait()
	if seen := server.Transcript(); !strings.Contains(seen, "recovered") || strings.Contains(seen, "machine") {
		t.Errorf("people read:\n%s", seen)
	}
	server.Inject(fakeslack.Fault{Method: "conversations.history", Hang: time.Minute})
	held, cancel := context.WithCancel(t.Context())
	decided.Go(func() { _ = m.Decided(held, ref, approve, "x") })
	for len(server.Calls("conversations.history")) == 1 {
		time.Sleep(time.Millisecond)
	}
	short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if err := m.Update(short, ref, chat.Message{Headline: "x"}); !errors.Is(err, chat.ErrUnavailable) {
		t.Errorf("an edit that waits for another: %v", err)
	}
	cancel()
	decided.Wait()
}

// A bot that may not read still tells who has decided.
func TestDecidedWithoutTheRightToRead(t *testing.T) {
	server := start(t)
	m := connect(t, server, fakeslack.Token)
	ref, err := m.Post(t.Context(), "#asr-oncall", asking(approve), "k", false)
	if err != nil {
		t.Fatal(err)
	}
	server.Inject(fakeslack.Fault{Method: "conversations.history", Error: "missing_scope"})
	if err := m.Decided(t.Context(), ref, approve, "mia, 03:12:05 UTC"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(server.Transcript(), "    > mia, 03:12:05 UTC") {
		t.Errorf("people read:\n%s", server.Transcript())
	}
}

func TestFaultsOfDecisions(t *testing.T) {
	server := start(t)
	m := connect(t, server, fakeslack.Token)
	ref, err := m.Post(t.Context(), "#asr-oncall", asking(approve), "k", false)
	if err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]fakeslack.Fault{
		"nothing": {Body: "{}"}, "nonsense": {Body: "<html>"}, "an error": {Status: 500}, "another word": {Error: "fatal_error"},
	} {
		for call, do := range map[string]func() error{
			"decided": func() error { return m.Decided(t.Context(), ref, approve, "x") },
			"whisper": func() error { return m.Whisper(t.Context(), ref.Channel, "U1", "x") },
		} {
			if name == "nothing" && call == "whisper" {
				continue // whether a whisper arrived is nobody's worry
			}
			server.Inject(fault)
			if err := do(); !errors.Is(err, chat.ErrUnavailable) || strings.Contains(err.Error(), fakeslack.Token) {
				t.Errorf("%s with %s: %v", call, name, err)
			}
			server.Heal()
		}
	}
	if err := m.Whisper(t.Context(), ref.Channel, "U1", "only\nyou <!channel>"); err != nil {
		t.Fatal(err)
	}
	if w := server.Whispers(); len(w) != 1 || w[0].User != "U1" || w[0].Text != "only you <!channel>" || len(server.Pings()) > 0 {
		t.Errorf("whispers: %+v, pings %v", w, server.Pings())
	}
}

var _ interface {
	Decided(context.Context, chat.Ref, chat.Choice, string) error
	Whisper(ctx context.Context, channel, user, text string) error
} = (*slack.Messenger)(nil)
