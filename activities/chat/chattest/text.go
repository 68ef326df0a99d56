package chattest

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/understudy-dr/understudy/activities/chat"
)

// hostile sends what somebody may put into a label or a machine into its output.
func hostile(t *testing.T, f Fixture) {
	const innocent = "@all sorts of news"
	for i, evil := range []string{
		"<!channel> <!here> <!everyone> <@U00000001> <#C00000001>",
		"<https://evil.example|https://console.example>",
		"&lt;!channel&gt; &amp;lt;!here&amp;gt;",
		"*bold* _italic_ ~gone~ `code` > quote",
		"[label](https://evil.example) <font color=\"info\">done</font> <@all>",
		"first\napproved by: everybody\r\nthird\u2028fourth\x00\x1b[31m",
		"\u202egnihton\u202c right to left",
		"\xff\xfe not UTF-8",
		innocent,
	} {
		m := chat.Message{
			Color: chat.Bad, Headline: evil,
			Fields:  []chat.Field{{Name: evil, Value: evil}},
			Lines:   []string{evil},
			Actions: []chat.Action{{ID: evil, Text: evil, Value: "v", Leaves: evil}, {ID: evil, Text: evil, Value: "w"}},
			Links:   []chat.Link{{Text: evil, URL: "https://console.example/"}, {Text: "script", URL: "javascript:alert(1)"}, {Text: "app", URL: "slack://open"}, {Text: "odd", URL: "https://console.example/<!channel>|x>y"}},
		}
		ref := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, m, fmt.Sprintf("key-%d", i), false))
		if err := f.Messenger.Update(t.Context(), ref, m); err != nil {
			t.Errorf("update to %q: %v", evil, err)
		}
		if err := f.Messenger.Reply(t.Context(), ref, []string{evil}, fmt.Sprintf("log-%d", i), false); err != nil {
			t.Errorf("reply %q: %v", evil, err)
		}
	}
	seen := f.Chat.Transcript()
	if pings := f.Chat.Pings(); len(pings) > 0 {
		t.Errorf("text has called %q:\n%s", pings, seen)
	}
	if !strings.Contains(seen, innocent) {
		t.Errorf("people do not see %q:\n%s", innocent, seen)
	}
	for line := range strings.Lines(seen) {
		if strings.HasPrefix(strings.TrimLeft(line, " >"), "approved by") {
			t.Errorf("a line break in a text made a line of its own:\n%s", seen)
		}
	}
	if strings.Contains(seen, "https://console.example (https://evil.example)") {
		t.Errorf("a text made a link that looks like another:\n%s", seen)
	}
	if strings.ContainsAny(seen, "\u202e\x1b\x00") || !utf8.ValidString(seen) {
		t.Errorf("control characters reach people: %q", seen)
	}
	if strings.Contains(seen, "javascript:") || strings.Contains(seen, "slack://") {
		t.Errorf("a link leads to what is no page:\n%s", seen)
	}
}

func tooMuch(t *testing.T, f Fixture) {
	long := strings.Repeat("语音", 1<<18)
	m := chat.Message{Color: chat.Bad, Headline: "begins so " + long}
	for i := range 300 {
		m.Fields = append(m.Fields, chat.Field{Name: fmt.Sprintf("Field %d", i), Value: "value"})
		m.Links = append(m.Links, chat.Link{Text: "Link", URL: fmt.Sprintf("https://console.example/%d", i)})
	}
	for i := range 30 {
		m.Actions = append(m.Actions, chat.Action{ID: fmt.Sprint(i), Text: long, Value: fmt.Sprint(i), Leaves: long})
	}
	for i := range 5000 {
		m.Lines = append(m.Lines, fmt.Sprintf("line %d", i))
	}
	ref := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, m, "key-1", false))
	inOrder(t, f.Chat.Transcript(), []string{"begins so 语音", "Field 0", "line 0"})

	m = chat.Message{Headline: strings.Repeat("🎙", 200), Fields: []chat.Field{{Name: long, Value: long}, {Name: long, Value: long}, {Name: "after", Value: "it"}}, Lines: []string{long, "after it"}}
	if err := f.Messenger.Update(t.Context(), ref, m); err != nil {
		t.Errorf("update: %v", err)
	}
	if err := f.Messenger.Reply(t.Context(), ref, []string{long, long, long, long, "after it"}, "log-1", false); err != nil {
		t.Errorf("reply: %v", err)
	}
	if !utf8.ValidString(f.Chat.Transcript()) {
		t.Error("a character was cut in two")
	}
}

func nearlyNothing(t *testing.T, f Fixture) {
	ref := must(t, f)(f.Messenger.Post(t.Context(), f.Channel, chat.Message{}, "key-1", false))
	m := chat.Message{Headline: "\n", Fields: []chat.Field{{}}, Lines: []string{"", " "}, Links: []chat.Link{{}}, Actions: []chat.Action{{}}}
	if err := f.Messenger.Update(t.Context(), ref, m); err != nil {
		t.Errorf("update: %v", err)
	}
	if err := f.Messenger.Reply(t.Context(), ref, []string{""}, "log-1", false); err != nil {
		t.Errorf("reply: %v", err)
	}
}
