package slack_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/chat/chattest"
	"github.com/understudy-dr/understudy/activities/chat/slack"
	"github.com/understudy-dr/understudy/tests/fakeslack"
)

const strange = "xoxb-somebody-elses"

func TestConformance(t *testing.T) {
	for _, channel := range []string{"#asr-oncall", "asr-oncall", "C00000001"} {
		t.Run(channel, func(t *testing.T) {
			chattest.Run(t, func(t *testing.T) chattest.Fixture {
				server := start(t)
				return chattest.Fixture{
					Messenger: connect(t, server, fakeslack.Token),
					Again:     func() chat.Messenger { return connect(t, server, fakeslack.Token) },
					Stranger:  connect(t, server, strange),
					Secrets:   []string{fakeslack.Token, strange},
					Channel:   channel,
					Chat:      breakable{server},
					Updates:   true, Threads: true, Finds: true, Buttons: true,
				}
			})
		})
	}
}

// breakable breaks the fake as the suite asks.
type breakable struct{ *fakeslack.Running }

func (b breakable) Buttons() []string {
	var values []string
	for _, button := range b.Running.Buttons() {
		values = append(values, button.Value)
	}
	return values
}

func (b breakable) Break(f chattest.Fault) {
	b.Inject(map[chattest.Fault]fakeslack.Fault{
		chattest.Limited:  {RetryAfter: 7 * time.Second},
		chattest.Hanging:  {Hang: time.Hour},
		chattest.Failing:  {Status: 500},
		chattest.Nonsense: {Body: "<html>wrong door</html>"},
		chattest.Empty:    {Body: "{}"},
		chattest.Dropping: {Drop: true},
		chattest.Losing:   {Drop: true, Arrives: true, Times: 1},
	}[f])
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	server := start(t)
	m := connect(t, server, fakeslack.Token)
	for word, hint := range map[string]string{
		"invalid_auth":      "chat.slack.token",
		"channel_not_found": "notify.channel",
		"not_in_channel":    "invite the bot",
		"missing_scope":     "scope",
		"is_archived":       "archived",
	} {
		server.Inject(fakeslack.Fault{Method: "chat.postMessage", Error: word, Times: 1})
		_, err := m.Post(t.Context(), "#asr-oncall", chat.Message{Headline: "x"}, "k", false)
		if !errors.Is(err, chat.ErrRefused) || !strings.Contains(err.Error(), hint) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
	for _, word := range []string{"internal_error", "fatal_error", "a word from next year\n\x1b"} {
		server.Inject(fakeslack.Fault{Method: "chat.postMessage", Error: word, Times: 1})
		_, err := m.Post(t.Context(), "#asr-oncall", chat.Message{Headline: "x"}, "k", false)
		if !errors.Is(err, chat.ErrUnavailable) || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %v", word, err)
		}
	}
	if _, err := m.Post(t.Context(), "#nowhere", chat.Message{Headline: "x"}, "k", true); !errors.Is(err, chat.ErrRefused) {
		t.Errorf("a channel that is not there: %v", err)
	}
	if err := m.Update(t.Context(), chat.Ref{Channel: "C00000001", ID: "1.2"}, chat.Message{Headline: "x"}); !errors.Is(err, chat.ErrRefused) {
		t.Errorf("a message that was deleted: %v", err)
	}
}

// A chat that repeats the token to us must not put it into a history.
func TestTheTokenIsNeverRepeated(t *testing.T) {
	server := start(t)
	m := connect(t, server, fakeslack.Token)
	server.Inject(fakeslack.Fault{Error: "bad token " + fakeslack.Token})
	if _, err := m.Post(t.Context(), "#asr-oncall", chat.Message{Headline: "x"}, "k", false); err == nil || strings.Contains(err.Error(), fakeslack.Token) {
		t.Errorf("post: %v", err)
	}
}

func TestCheck(t *testing.T) {
	server := start(t)
	if err := connect(t, server, fakeslack.Token).Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := connect(t, server, strange).Check(t.Context()); !errors.Is(err, chat.ErrRefused) {
		t.Errorf("a strange token: %v", err)
	}
}

// Where Slack forbids the look for an earlier message, people hear twice rather than never.
func TestBlindRetriesPost(t *testing.T) {
	for _, method := range []string{"conversations.history", "users.conversations"} {
		server := start(t)
		m := connect(t, server, fakeslack.Token)
		server.Inject(fakeslack.Fault{Method: method, Error: "missing_scope"})
		if _, err := m.Post(t.Context(), "#asr-oncall", chat.Message{Headline: "news"}, "k", true); err != nil {
			t.Errorf("%s: %v", method, err)
		}
		if n := len(server.Messages("asr-oncall")); n != 1 {
			t.Errorf("%s: people see %d messages", method, n)
		}
	}
}

// Where Slack's answer about earlier messages makes no sense, nothing may be sent: it may be there.
func TestUnclearRetriesDoNotPost(t *testing.T) {
	server := start(t)
	m := connect(t, server, fakeslack.Token)
	ref, err := m.Post(t.Context(), "C00000001", chat.Message{Headline: "news"}, "k", false)
	if err != nil {
		t.Fatal(err)
	}
	server.Inject(fakeslack.Fault{Method: "conversations.history", Body: "{}"})
	server.Inject(fakeslack.Fault{Method: "conversations.replies", Body: "{}"})
	if _, err := m.Post(t.Context(), "C00000001", chat.Message{Headline: "news"}, "k", true); !errors.Is(err, chat.ErrUnavailable) {
		t.Errorf("post: %v", err)
	}
	if err := m.Reply(t.Context(), ref, []string{"a line"}, "l", true); !errors.Is(err, chat.ErrUnavailable) {
		t.Errorf("reply: %v", err)
	}
	if n := len(server.Messages("asr-oncall")); n != 1 {
		t.Errorf("people see %d messages, want 1", n)
	}
}

// The token is in the body of each request, so a redirect must not carry it elsewhere.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer elsewhere.Close()
	door := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer door.Close()
	m, err := slack.New(slack.Config{Token: fakeslack.Token, APIURL: door.URL + "/"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Check(t.Context()); !errors.Is(err, chat.ErrUnavailable) {
		t.Error(err)
	}
}

// The earlier message must be found below everything that was said since.
func TestRetryFindsAMessageFarBack(t *testing.T) {
	server := start(t)
	m := connect(t, server, fakeslack.Token)
	first, err := m.Post(t.Context(), "#asr-oncall", chat.Message{Headline: "first"}, "first", false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 450 {
		if _, err := m.Post(t.Context(), "#asr-oncall", chat.Message{Headline: "later"}, fmt.Sprint(i), false); err != nil {
			t.Fatal(err)
		}
	}
	again, err := connect(t, server, fakeslack.Token).Post(t.Context(), "#asr-oncall", chat.Message{Headline: "first"}, "first", true)
	if err != nil || again != first {
		t.Errorf("found %v (%v), want %v", again, err, first)
	}
}

func TestPauses(t *testing.T) {
	server := start(t)
	m := connect(t, server, fakeslack.Token)
	server.Limit("chat.postMessage", time.Minute)
	if _, err := m.Post(t.Context(), "#asr-oncall", chat.Message{Headline: "x"}, "1", false); err != nil {
		t.Fatal(err)
	}
	var limited *chat.RateLimitError
	if _, err := m.Post(t.Context(), "#asr-oncall", chat.Message{Headline: "x"}, "2", false); !errors.As(err, &limited) || limited.After > time.Minute || limited.After < time.Second {
		t.Errorf("a second message at once: %v", err)
	}
	server.Heal()
	server.Inject(fakeslack.Fault{Status: 429, Times: 1})
	if _, err := m.Post(t.Context(), "#asr-oncall", chat.Message{Headline: "x"}, "3", false); !errors.As(err, &limited) || limited.After != 30*time.Second {
		t.Errorf("429 without a pause: %v", err)
	}
}

func TestNewRefusesUnusableConfigurations(t *testing.T) {
	for name, c := range map[string]slack.Config{
		"no token":         {},
		"a line break":     {Token: "xoxb-1\n"},
		"URL of no folder": {Token: "xoxb-1", APIURL: "http://127.0.0.1/api"},
	} {
		if _, err := slack.New(c); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func start(t *testing.T) *fakeslack.Running {
	t.Helper()
	server, err := fakeslack.Start("127.0.0.1:0", fakeslack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

func connect(t *testing.T, server *fakeslack.Running, token string) *slack.Messenger {
	t.Helper()
	m, err := slack.New(slack.Config{Token: token, APIURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
