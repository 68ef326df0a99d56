// Package chattest is what every messenger must do, shown on a chat that is
// busy, broken and lied to. Chats differ in what they can: a suite is told, and
// leaves out what it cannot ask for.
package chattest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/chat"
)

// Fault is a way in which the chat goes wrong for every request, until Heal.
type Fault string

// The faults.
const (
	Limited  Fault = "asks for a pause of 7 seconds"
	Hanging  Fault = "never answers"
	Failing  Fault = "answers HTTP 500"
	Nonsense Fault = "answers what is not its format"
	Empty    Fault = "answers an empty object"
	Dropping Fault = "closes connections without an answer"
	// Losing lets messages arrive, and loses its answer to the next one alone.
	Losing Fault = "loses its answer once"
)

// Chat is the other side.
type Chat interface {
	// Transcript is what people see now, with one line of text for each line that they see.
	Transcript() string
	// Pings are the people and channels that messages have called.
	Pings() []string
	// Buttons are the values of the buttons that people see, in order.
	Buttons() []string
	Break(Fault)
	// Heal ends the fault, and every pause that the chat has asked for.
	Heal()
}

// Fixture is a messenger with its chat.
type Fixture struct {
	Messenger chat.Messenger
	// Again makes a messenger as a new process would have it, with no memory.
	Again func() chat.Messenger
	// Stranger is a messenger whose secret the chat does not know.
	Stranger chat.Messenger
	// Secrets must be in no error.
	Secrets []string
	Channel string
	Chat    Chat
	// Updates says that the chat can edit a message, Threads that it has threads, Finds that it finds a message by its
	// key, and Buttons that it has buttons.
	Updates, Threads, Finds, Buttons bool
	// Pause is what the chat asks for where it is Limited. Default 7 s.
	Pause time.Duration
}

var message = chat.Message{
	Color:    chat.Working,
	Headline: "fun-asr: recovering to hot",
	Fields:   []chat.Field{{Name: "Service", Value: "fun-asr"}, {Name: "Verdict", Value: "Dead"}},
	Lines:    []string{"done: diagnose", "now: cut over"},
	Links:    []chat.Link{{Text: "Timeline", URL: "https://console.example/recoveries/1?a=1&b=2"}},
}

// Run holds a messenger against the contract.
func Run(t *testing.T, newFixture func(t *testing.T) Fixture) {
	for _, test := range []struct {
		name string
		do   func(*testing.T, Fixture)
	}{
		{"post", post},
		{"update", update},
		{"the last state arrives", lastState},
		{"decisions", decisions},
		{"replies stand in order", replies},
		{"a repeated post finds the first", repeatedPost},
		{"a repeated reply finds the first", repeatedReply},
		{"an answer that was lost", lostAnswers},
		{"faults", faults},
		{"a refused secret", refused},
		{"hostile text", hostile},
		{"too much text", tooMuch},
		{"nearly nothing", nearlyNothing},
	} {
		t.Run(test.name, func(t *testing.T) { test.do(t, newFixture(t)) })
	}
}

func post(t *testing.T, f Fixture) {
	must(t, f)(f.Messenger.Post(t.Context(), f.Channel, message, "key-1", false))
	for _, want := range []string{message.Headline, "Service", "fun-asr", "Verdict", "Dead", "done: diagnose", "now: cut over", "Timeline", message.Links[0].URL} {
		if !strings.Contains(f.Chat.Transcript(), want) {
			t.Errorf("people do not see %q:\n%s", want, f.Chat.Transcript())
		}
	}
}

func update(t *testing.T, f Fixture) {
	ref := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, message, "key-1", false))
	done := chat.Message{Color: chat.Good, Headline: "fun-asr: recovered", Lines: []string{"done: verify"}}
	for range 2 { // repeating it is harmless
		if err := f.Messenger.Update(t.Context(), ref, done); err != nil {
			t.Fatal(err)
		}
	}
	if f.Messenger.CanEdit() != f.Updates {
		t.Errorf("the messenger says %v to whether it can edit", f.Messenger.CanEdit())
	}
	if !f.Updates {
		return
	}
	seen := f.Chat.Transcript()
	if strings.Count(seen, done.Headline) != 1 || !strings.Contains(seen, "done: verify") || strings.Contains(seen, "recovering") || strings.Contains(seen, "Verdict") {
		t.Errorf("people see:\n%s", seen)
	}
	short := chat.Message{Headline: "fun-asr: all is well"}
	if err := f.Messenger.Update(t.Context(), ref, short); err != nil {
		t.Fatal(err)
	}
	if seen := f.Chat.Transcript(); !strings.Contains(seen, short.Headline) || strings.Contains(seen, "done: verify") {
		t.Errorf("after a shorter text people see:\n%s", seen)
	}
	if f.Finds {
		if again := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, message, "key-1", true)); again != ref {
			t.Errorf("an edited message is not found by its key: %v, want %v", again, ref)
		}
	}
}

// lastState holds for chats that cannot edit as well: whatever they leave out, people read the newest state.
func lastState(t *testing.T, f Fixture) {
	ref := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, message, "key-1", false))
	f.Chat.Break(Failing)
	check(t, f, "update", f.Messenger.Update(t.Context(), ref, chat.Message{Headline: "fun-asr: lost"}), chat.ErrUnavailable)
	f.Chat.Heal()
	for i := range 5 {
		if err := f.Messenger.Update(t.Context(), ref, chat.Message{Headline: fmt.Sprintf("fun-asr: state %d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	done := chat.Message{Color: chat.Good, Headline: "fun-asr: recovered", Links: message.Links}
	if err := f.Messenger.Update(t.Context(), ref, done.WithLog([]string{"log of the end"})); err != nil {
		t.Fatal(err)
	}
	inOrder(t, f.Chat.Transcript(), []string{done.Headline, "log of the end", message.Links[0].URL})
}

func decisions(t *testing.T, f Fixture) {
	choice := func(answer string) string {
		return chat.Choice{Verb: chat.Answer, Recovery: "fun-asr-7", Question: "q1", Plan: "0123456789abcdef", Answer: answer}.Value()
	}
	asking := message
	asking.Color = chat.Asking
	asking.Actions = []chat.Action{
		{ID: "yes", Text: "Approve", Style: chat.Primary, Value: choice("approve"), Leaves: "a machine is made"},
		{ID: "no", Text: "Reject", Value: choice("reject")},
		{ID: "abort", Text: "Abort", Style: chat.Danger, Value: chat.Choice{Verb: chat.Abort, Recovery: "fun-asr-7"}.Value(), Leaves: "what was done is undone"},
	}
	ref := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, asking, "key-1", false))
	inOrder(t, f.Chat.Transcript(), []string{"Approve", "Reject", "Abort"})
	if !f.Buttons {
		if !strings.Contains(f.Chat.Transcript(), message.Links[0].URL) {
			t.Errorf("nothing leads people to where they decide:\n%s", f.Chat.Transcript())
		}
		return
	}
	want := []string{asking.Actions[0].Value, asking.Actions[1].Value, asking.Actions[2].Value}
	if got := f.Chat.Buttons(); !slices.Equal(got, want) {
		t.Errorf("the buttons are worth %q, want %q", got, want)
	}
	asking.Actions = nil
	if err := f.Messenger.Update(t.Context(), ref, asking); err != nil {
		t.Fatal(err)
	}
	if got := f.Chat.Buttons(); len(got) > 0 || strings.Contains(f.Chat.Transcript(), "Approve") {
		t.Errorf("buttons stay when nothing is to be decided: %q", got)
	}
}

func replies(t *testing.T, f Fixture) {
	ref := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, message, "key-1", false))
	other := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, chat.Message{Headline: "sambert: recovering"}, "key-2", false))
	for i := range 3 {
		if err := f.Messenger.Reply(t.Context(), ref, []string{fmt.Sprintf("line %da", i), fmt.Sprintf("line %db", i)}, fmt.Sprintf("log-%d", i), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Messenger.Reply(t.Context(), other, nil, "log-0", false); err != nil {
		t.Errorf("no lines: %v", err)
	}
	if !f.Threads {
		return
	}
	order := []string{message.Headline, "line 0a", "line 0b", "line 1a", "line 1b", "line 2a", "line 2b", "sambert: recovering"}
	inOrder(t, f.Chat.Transcript(), order)
}

func repeatedPost(t *testing.T, f Fixture) {
	if !f.Finds {
		return
	}
	first := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, message, "key-1", false))
	must(t, f)(f.Messenger.Post(t.Context(), f.Channel, chat.Message{Headline: "another"}, "key-2", true))
	for name, messenger := range map[string]chat.Messenger{"the same process": f.Messenger, "a new process": f.Again()} {
		if again := must(t, f)(messenger.Post(t.Context(), f.Channel, message, "key-1", true)); again != first {
			t.Errorf("%s found %v, want %v", name, again, first)
		}
	}
	if n := strings.Count(f.Chat.Transcript(), message.Headline); n != 1 {
		t.Errorf("people see the message %d times", n)
	}
}

func repeatedReply(t *testing.T, f Fixture) {
	if !f.Finds || !f.Threads {
		return
	}
	ref := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, message, "key-1", false))
	for _, step := range []struct {
		line, key string
		retry     bool
	}{{"first line", "log-1", false}, {"second line", "log-2", false}, {"first line", "log-1", true}, {"third line", "log-3", true}} {
		if err := f.Again().Reply(t.Context(), ref, []string{step.line}, step.key, step.retry); err != nil {
			t.Fatal(err)
		}
	}
	seen := f.Chat.Transcript()
	inOrder(t, seen, []string{"first line", "second line", "third line"})
	if n := strings.Count(seen, "first line"); n != 1 {
		t.Errorf("people see the line %d times", n)
	}
}

func must(t *testing.T, f Fixture) func(chat.Ref, error) chat.Ref {
	return func(ref chat.Ref, err error) chat.Ref {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if f.Updates && (ref.Channel == "" || ref.ID == "") {
			t.Fatalf("the message cannot be found again: %+v", ref)
		}
		return ref
	}
}

// check holds an error against its kind and looks for secrets in it.
func check(t *testing.T, f Fixture, name string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want an error that is %q", name, err, want)
		return
	}
	for _, secret := range f.Secrets {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: a secret is in the error: %v", name, err)
		}
	}
}

func inOrder(t *testing.T, text string, parts []string) {
	t.Helper()
	at := 0
	for _, part := range parts {
		i := strings.Index(text[at:], part)
		if i < 0 {
			t.Fatalf("people do not see %q where it belongs:\n%s", part, text)
		}
		at += i + len(part)
	}
}
