package fakeslack_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/understudy-dr/understudy/tests/fakeslack"
)

func button(id, text, value string) *slack.ButtonBlockElement {
	return slack.NewButtonBlockElement(id, value, plain(text))
}

// What Slack's library takes for a genuine click must come out of the fake, and nothing else.
func TestClicksAreSigned(t *testing.T) {
	server, api := start(t, fakeslack.Options{})
	clicks := make(chan slack.InteractionCallback, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		verifier, err := slack.NewSecretsVerifier(r.Header, fakeslack.SigningSecret)
		if err == nil {
			_, _ = verifier.Write(body)
			err = verifier.Ensure()
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		click, parsed := slack.InteractionCallbackParse(r)
		if err := errors.Join(err, parsed); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		clicks <- click
	}))
	defer app.Close()
	id, ts, err := api.PostMessage("#asr-oncall", slack.MsgOptionText("?", false), slack.MsgOptionBlocks(
		slack.NewActionBlock("", button("a", "First", "1"))), slack.MsgOptionAttachments(slack.Attachment{Color: "#fff",
		Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewActionBlock("mine", button("a", "Second", "2"))}}}))
	if err != nil {
		t.Fatal(err)
	}
	if all := server.Buttons(); len(all) != 2 || all[0].Message != ts || all[0].BlockID == "" || all[1].BlockID != "mine" || all[1].Attachment != 1 {
		t.Fatalf("buttons: %+v", all)
	}
	second, err := server.Button("Second")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Click(t.Context(), "U1", second); err == nil || !strings.Contains(err.Error(), "neither a socket nor a URL") {
		t.Errorf("a click that nobody hears: %v", err)
	}
	server.Interact(app.URL)
	if err := server.Click(t.Context(), "U1", second); err != nil {
		t.Fatal(err)
	}
	click := <-clicks
	if a := click.ActionCallback.BlockActions[0]; click.Type != slack.InteractionTypeBlockActions || click.User.ID != "U1" || click.Channel.ID != id ||
		click.Container.MessageTs != ts || click.Message.Timestamp != ts || a.Value != "2" || a.ActionID != "a" || a.ActionTs == "" {
		t.Errorf("the app hears of %+v", click)
	}
	payload, err := server.Payload("U1", second)
	if err != nil {
		t.Fatal(err)
	}
	tampered := server.Signed(app.URL, "payload="+payload, time.Now())
	tampered.Body = io.NopCloser(strings.NewReader("payload=" + strings.Replace(payload, `"2"`, `"3"`, 1)))
	tampered.ContentLength = -1
	for name, r := range map[string]*http.Request{
		"tampered": tampered,
		"old":      server.Signed(app.URL, "payload="+payload, time.Now().Add(-6*time.Minute)),
	} {
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	server.Interact(app.URL + "/%zz")
	gone := second
	gone.Message = "1.2"
	if err := server.Click(t.Context(), "U1", gone); err == nil {
		t.Error("a button of no message was pressed")
	}
}

func TestClicksMustBeAcknowledged(t *testing.T) {
	server, api := start(t, fakeslack.Options{})
	app := httptest.NewServer(http.NotFoundHandler())
	defer app.Close()
	server.Interact(app.URL)
	if _, _, err := api.PostMessage("#asr-oncall", slack.MsgOptionBlocks(slack.NewActionBlock("", button("a", "Go", "1")))); err != nil {
		t.Fatal(err)
	}
	b, err := server.Button("Go")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Click(t.Context(), "U1", b); err == nil || !strings.Contains(err.Error(), "not acknowledged: 404") {
		t.Errorf("an app that refuses: %v", err)
	}
}

// Slack's own library speaks Socket Mode with the fake, also after it was asked to come again.
func TestSockets(t *testing.T) {
	server, api := start(t, fakeslack.Options{})
	if _, _, err := api.PostMessage("#asr-oncall", slack.MsgOptionBlocks(slack.NewActionBlock("", button("a", "Go", "1")))); err != nil {
		t.Fatal(err)
	}
	b, err := server.Button("Go")
	if err != nil {
		t.Fatal(err)
	}
	client := socketmode.New(slack.New(fakeslack.Token, slack.OptionAPIURL(server.URL), slack.OptionAppLevelToken(fakeslack.AppToken)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- client.RunContext(ctx) }()
	hellos, values := make(chan bool, 10), make(chan string, 10)
	go func() {
		for {
			select {
			case e := <-client.Events:
				switch e.Type {
				case socketmode.EventTypeHello:
					hellos <- true
				case socketmode.EventTypeInteractive:
					values <- e.Data.(slack.InteractionCallback).ActionCallback.BlockActions[0].Value
					_ = client.Ack(*e.Request)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	for range 2 {
		<-hellos
		if err := server.Click(t.Context(), "U1", b); err != nil {
			t.Fatal(err)
		}
		if v := <-values; v != "1" {
			t.Errorf("the app hears of %q", v)
		}
		server.Disconnect()
	}
	<-hellos
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the client ends with %v", err)
	}
	for name, token := range map[string]string{"not_allowed_token_type": fakeslack.Token, "invalid_auth": "xapp-other"} {
		stranger := slack.New(fakeslack.Token, slack.OptionAPIURL(server.URL), slack.OptionAppLevelToken(token))
		if _, _, err := stranger.StartSocketModeContext(t.Context()); err == nil || err.Error() != name {
			t.Errorf("%s: %v", token, err)
		}
	}
	app := slack.New(fakeslack.AppToken, slack.OptionAPIURL(server.URL))
	if _, err := app.AuthTest(); err == nil || err.Error() != "not_allowed_token_type" {
		t.Errorf("the app's token at another method: %v", err)
	}
}

func TestButtonsHaveBounds(t *testing.T) {
	_, api := start(t, fakeslack.Options{})
	many := make([]slack.BlockElement, 26)
	for i := range many {
		many[i] = button(strings.Repeat("x", i), "x", "x")
	}
	red := button("a", "x", "x")
	red.Style = "red"
	asks := button("a", "x", "x")
	asks.Confirm = slack.NewConfirmationBlockObject(plain("?"), plain(strings.Repeat("x", 301)), plain("Yes"), plain("No"))
	for name, row := range map[string]*slack.ActionBlock{
		"no button":              slack.NewActionBlock(""),
		"too many":               slack.NewActionBlock("", many...),
		"too long":               slack.NewActionBlock("", button("a", strings.Repeat("x", 76), "x")),
		"no text":                slack.NewActionBlock("", button("a", "", "x")),
		"too much value":         slack.NewActionBlock("", button("a", "x", strings.Repeat("x", 2001))),
		"one id for two":         slack.NewActionBlock("", button("a", "x", "1"), button("a", "y", "2")),
		"a style of its own":     slack.NewActionBlock("", red),
		"too long a question":    slack.NewActionBlock("", asks),
		"an action id too long ": slack.NewActionBlock("", button(strings.Repeat("x", 256), "x", "x")),
	} {
		if _, _, err := api.PostMessage("#asr-oncall", slack.MsgOptionText("x", false), slack.MsgOptionBlocks(row)); err == nil || !strings.HasPrefix(err.Error(), "invalid_blocks") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhispersAndSingleMessages(t *testing.T) {
	server, api := start(t, fakeslack.Options{})
	var times []string
	for _, text := range []string{"one", "two", "three"} {
		_, ts, err := api.PostMessage("#asr-oncall", slack.MsgOptionText(text, false))
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, ts)
	}
	for name, tt := range map[string]struct {
		ask  slack.GetConversationHistoryParameters
		want string
	}{
		"one":                   {slack.GetConversationHistoryParameters{Oldest: times[1], Latest: times[1], Inclusive: true}, "two"},
		"between":               {slack.GetConversationHistoryParameters{Oldest: times[0], Latest: times[2]}, "two"},
		"between and both ends": {slack.GetConversationHistoryParameters{Oldest: times[0], Latest: times[2], Inclusive: true}, "three two one"},
		"since":                 {slack.GetConversationHistoryParameters{Oldest: times[1]}, "three"},
	} {
		tt.ask.ChannelID = "C00000001"
		answer, err := api.GetConversationHistory(&tt.ask)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range answer.Messages {
			got = append(got, m.Text)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if _, err := api.PostEphemeral("C00000001", "U1", slack.MsgOptionText("only <you>", false)); err != nil {
		t.Fatal(err)
	}
	if w := server.Whispers(); len(w) != 1 || w[0].User != "U1" || w[0].Text != "only <you>" || strings.Contains(server.Transcript(), "only") {
		text, _ := json.Marshal(w)
		t.Errorf("whispers: %s, and all see\n%s", text, server.Transcript())
	}
	if _, err := api.PostEphemeral("C99", "U1", slack.MsgOptionText("x", false)); err == nil || err.Error() != "channel_not_found" {
		t.Errorf("a whisper in no channel: %v", err)
	}
}
