package fakeslack_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"github.com/understudy-dr/understudy/tests/fakeslack"
)

// The fake must refuse what Slack refuses, or what passes here fails there.
func TestRefusals(t *testing.T) {
	server, api := start(t, fakeslack.Options{})
	section := func(text string) slack.MsgOption {
		return slack.MsgOptionBlocks(slack.NewSectionBlock(plain(text), nil, nil))
	}
	many := make([]slack.Block, 51)
	for i := range many {
		many[i] = slack.NewDividerBlock()
	}
	for _, tt := range []struct {
		name, channel string
		option        slack.MsgOption
		want          string
	}{
		{"nothing to say", "#asr-oncall", slack.MsgOptionText("", false), "no_text"},
		{"no such channel", "#nowhere", slack.MsgOptionText("x", false), "channel_not_found"},
		{"header too long", "#asr-oncall", slack.MsgOptionBlocks(slack.NewHeaderBlock(plain(strings.Repeat("x", 151)))), "invalid_blocks"},
		{"header with markup", "#asr-oncall", slack.MsgOptionBlocks(slack.NewHeaderBlock(&slack.TextBlockObject{Type: "mrkdwn", Text: "x"})), "invalid_blocks"},
		{"section too long", "#asr-oncall", section(strings.Repeat("x", 3001)), "invalid_blocks"},
		{"section too long in UTF-16", "#asr-oncall", section(strings.Repeat("🎙", 1501)), "invalid_blocks"},
		{"empty section", "#asr-oncall", section(""), "invalid_blocks"},
		{"too many blocks", "#asr-oncall", slack.MsgOptionBlocks(many...), "invalid_blocks"},
		{"too many fields", "#asr-oncall", slack.MsgOptionBlocks(slack.NewSectionBlock(nil, []*slack.TextBlockObject{
			plain("1"), plain("2"), plain("3"), plain("4"), plain("5"), plain("6"), plain("7"), plain("8"), plain("9"), plain("10"), plain("11")}, nil)), "invalid_blocks"},
		{"text too long", "#asr-oncall", slack.MsgOptionText(strings.Repeat("x", 40_001), false), "msg_too_long"},
		{"event type with a dash", "#asr-oncall", slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "a-b"}), "invalid_metadata_format"},
	} {
		if _, _, err := api.PostMessage(tt.channel, tt.option); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	var all []slack.Block
	for range 5 {
		all = append(all, slack.NewSectionBlock(plain(strings.Repeat("x", 3000)), nil, nil))
	}
	if _, _, err := api.PostMessage("#asr-oncall", slack.MsgOptionBlocks(all...)); err == nil || err.Error() != "msg_blocks_too_long" {
		t.Errorf("all blocks together: %v", err)
	}
	if _, _, _, err := api.UpdateMessage("asr-oncall", "1.2", slack.MsgOptionText("x", false)); err == nil || err.Error() != "channel_not_found" {
		t.Errorf("edit by the channel's name: %v", err)
	}
	stranger := slack.New("xoxb-other", slack.OptionAPIURL(server.URL))
	if _, err := stranger.AuthTest(); err == nil || err.Error() != "invalid_auth" {
		t.Errorf("strange token: %v", err)
	}
}

func TestWhatPeopleSee(t *testing.T) {
	var changes []string
	server, api := start(t, fakeslack.Options{Channels: []string{"#asr-oncall", "quiet"}, OnChange: func(c fakeslack.Change) {
		changes = append(changes, c.What+": "+c.Text)
	}})
	meta := slack.SlackMetadata{EventType: "understudy", EventPayload: map[string]any{"key": "k"}}
	id, ts, err := api.PostMessage("#asr-oncall", slack.MsgOptionText("fallback", false), slack.MsgOptionMetadata(meta), slack.MsgOptionBlocks(
		slack.NewHeaderBlock(plain("Head <!here>")),
		slack.NewSectionBlock(nil, []*slack.TextBlockObject{{Type: "mrkdwn", Text: "*Name*"}, plain("Value")}, nil)),
		slack.MsgOptionAttachments(slack.Attachment{Color: "#fff", Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewSectionBlock(plain("body"), nil, nil)}}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"one", "two"} {
		if _, _, err := api.PostMessage(id, slack.MsgOptionText(line, false), slack.MsgOptionTS(ts)); err != nil {
			t.Fatal(err)
		}
	}
	if want := "#asr-oncall\n  Head <!here>\n  Name: Value\n  body\n    > one\n    > two\n"; server.Transcript() != want {
		t.Errorf("people see:\n%swant:\n%s", server.Transcript(), want)
	}
	// An edit that leaves blocks out replaces them by its text; attachments and metadata stay.
	if _, _, _, err := api.UpdateMessage(id, ts, slack.MsgOptionText("see <https://x.example|here> &lt;b&gt;", false)); err != nil {
		t.Fatal(err)
	}
	if want := "#asr-oncall\n  see here (https://x.example) <b>\n  body\n    > one\n    > two\n"; server.Transcript() != want {
		t.Errorf("after an edit people see:\n%swant:\n%s", server.Transcript(), want)
	}
	if len(changes) != 4 || changes[0] != "posted: Head <!here>\nName: Value\nbody" || changes[1] != "replied: one" || !strings.HasPrefix(changes[3], "edited: see") {
		t.Errorf("changes: %q", changes)
	}
	history, err := api.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: id, IncludeAllMetadata: true})
	if err != nil || len(history.Messages) != 1 || history.Messages[0].Metadata.EventPayload["key"] != "k" || history.Messages[0].ReplyCount != 2 {
		t.Errorf("history: %+v, %v", history, err)
	}
	history, err = api.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: id})
	if err != nil || history.Messages[0].Metadata.EventType != "" {
		t.Errorf("metadata that nobody asked for: %v", err)
	}
	thread, _, _, err := api.GetConversationReplies(&slack.GetConversationRepliesParameters{ChannelID: id, Timestamp: ts})
	if err != nil || len(thread) != 3 || thread[1].Text != "one" {
		t.Errorf("thread: %v, %v", thread, err)
	}
	if len(server.Pings()) > 0 {
		t.Errorf("plain text has called %q", server.Pings())
	}
}

// The fake must notice a mention, or no test of a messenger means anything.
func TestPings(t *testing.T) {
	for name, option := range map[string]slack.MsgOption{
		"text":   slack.MsgOptionText("<!channel> look", false),
		"markup": slack.MsgOptionBlocks(slack.NewSectionBlock(&slack.TextBlockObject{Type: "mrkdwn", Text: "<!channel|x>"}, nil, nil)),
		"text beside blocks": slack.MsgOptionCompose(slack.MsgOptionText("<!channel>", false),
			slack.MsgOptionBlocks(slack.NewSectionBlock(plain("x"), nil, nil))),
		"attachment": slack.MsgOptionAttachments(slack.Attachment{Text: "<!channel>"}),
	} {
		server, api := start(t, fakeslack.Options{})
		if _, _, err := api.PostMessage("#asr-oncall", option); err != nil {
			t.Fatal(err)
		}
		if pings := server.Pings(); len(pings) != 1 || pings[0] != "@channel" {
			t.Errorf("%s: %q", name, pings)
		}
	}
}

func TestFaults(t *testing.T) {
	server, api := start(t, fakeslack.Options{})
	post := func() error {
		_, _, err := api.PostMessage("#asr-oncall", slack.MsgOptionText("x", false))
		return err
	}
	server.Inject(fakeslack.Fault{Method: "chat.update", Status: 500})
	server.Inject(fakeslack.Fault{Method: "chat.postMessage", Error: "fatal_error", Times: 1})
	server.Inject(fakeslack.Fault{Method: "chat.postMessage", RetryAfter: 3 * time.Second, Times: 1, Arrives: true})
	server.Inject(fakeslack.Fault{Method: "chat.postMessage", Hang: time.Millisecond, Times: 1})
	if err := post(); err == nil || err.Error() != "fatal_error" {
		t.Errorf("first: %v", err)
	}
	var limited *slack.RateLimitedError
	if err := post(); !errors.As(err, &limited) || limited.RetryAfter != 3*time.Second {
		t.Errorf("second: %v", err)
	}
	for _, which := range []string{"third, after its pause", "fourth"} {
		if err := post(); err != nil {
			t.Errorf("%s: %v", which, err)
		}
	}
	if n := len(server.Messages("asr-oncall")); n != 3 {
		t.Errorf("%d messages arrived, want 3", n)
	}
	if calls := server.Calls("chat.postMessage"); len(calls) != 4 || calls[0].Form.Has("token") {
		t.Errorf("calls: %v", calls)
	}
	server.Heal()
	var status slack.StatusCodeError
	if _, _, _, err := api.UpdateMessage("C00000001", "1", slack.MsgOptionText("x", false)); errors.As(err, &status) {
		t.Errorf("healed, but HTTP %d", status.Code)
	}
	server.Limit("chat.postMessage", time.Hour)
	if err := post(); err == nil { // it was called a moment ago
		t.Error("the limit let a message pass")
	}
}

func TestWhatItIsNot(t *testing.T) {
	server, _ := start(t, fakeslack.Options{})
	resp, err := http.PostForm(server.URL+"chat.delete", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown method: %s", resp.Status)
	}
}

func plain(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, text, false, false)
}

func start(t *testing.T, o fakeslack.Options) (*fakeslack.Running, *slack.Client) {
	t.Helper()
	server, err := fakeslack.Start("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server, slack.New(fakeslack.Token, slack.OptionAPIURL(server.URL))
}
