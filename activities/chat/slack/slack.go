// Package slack tells people in Slack what happens.
//
// A message is a header with a colored attachment below it: a table, a
// checklist, links, buttons. Its thread is the log. Whatever comes from alerts,
// machines or people is plain text: it calls nobody, hides no link and cannot
// pretend to be another line.
//
// The bot needs the scope chat:write. To find a message again after an answer
// was lost, and to take buttons away as soon as they are pressed, it also needs
// channels:history and, where runbooks name channels instead of their ids,
// channels:read (groups:... for private channels). Without these a message may
// be there twice, which is better than not at all, and buttons stay until the
// next news.
package slack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"github.com/understudy-dr/understudy/activities/chat"
)

// DefaultTimeout bounds one request to Slack.
const DefaultTimeout = 10 * time.Second

// Config says how Slack is reached.
type Config struct {
	// Token of the bot, xoxb-...
	Token string
	// APIURL is another API than Slack's own, for tests; it ends with a slash.
	APIURL string
	// Timeout bounds one request. Default DefaultTimeout.
	Timeout time.Duration
}

// Messenger is a bot in one workspace. It is safe for concurrent use.
type Messenger struct {
	api   *slack.Client
	token string
	edits *edits

	mu sync.Mutex
	// ids are those of channels by their names, as far as they are known.
	ids map[string]string
}

var (
	_ chat.Messenger = (*Messenger)(nil)
	_ chat.Checker   = (*Messenger)(nil)
)

// New makes a messenger. It sends nothing; a token that Slack refuses shows in
// the first message, or in Check.
func New(c Config) (*Messenger, error) {
	if c.Token == "" || strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' }) {
		return nil, errors.New("the Slack token is empty or contains blanks; it looks like xoxb-...")
	}
	if c.APIURL == "" {
		c.APIURL = slack.APIURL
	}
	if !strings.HasSuffix(c.APIURL, "/") {
		return nil, errors.New("the Slack API's URL must end with a slash")
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	client := &limitedClient{http: &http.Client{
		Timeout: c.Timeout,
		// A redirect would carry the token, which is in the body, to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	api := slack.New(c.Token, slack.OptionAPIURL(c.APIURL), slack.OptionHTTPClient(client))
	return &Messenger{api: api, token: c.Token, edits: newEdits(), ids: map[string]string{}}, nil
}

// Check asks Slack whether it takes the token. It sends no message.
func (m *Messenger) Check(ctx context.Context) error {
	_, err := m.api.AuthTestContext(ctx)
	return m.wrap("check the token", err)
}

// CanEdit is true: a message stays the newest state.
func (m *Messenger) CanEdit() bool { return true }

// Post sends a message. Where it is a retry, the newest messages of the channel
// are searched for the key first.
func (m *Messenger) Post(ctx context.Context, channel string, msg chat.Message, key string, retry bool) (chat.Ref, error) {
	if retry {
		ref, found, err := m.findMessage(ctx, channel, key)
		if err != nil || found {
			return ref, err
		}
	}
	return m.send(ctx, "post to "+printable(channel), channel, append(rendered(msg), keyed(key))...)
}

// Update replaces a message. Its key stays with it.
func (m *Messenger) Update(ctx context.Context, ref chat.Ref, msg chat.Message) error {
	end, err := m.edits.begin(ctx, ref)
	if err != nil {
		return m.wrap("edit a message", err)
	}
	defer end()
	_, ts, _, err := m.api.UpdateMessageContext(ctx, ref.Channel, ref.ID, rendered(msg)...)
	if err == nil && ts == "" {
		err = errNonsense
	}
	return m.wrap("edit a message", err)
}

// Reply adds one message to a thread. Where it is a retry, the thread is searched
// for the key first. No lines are no message.
func (m *Messenger) Reply(ctx context.Context, ref chat.Ref, lines []string, key string, retry bool) error {
	if len(lines) == 0 {
		return nil
	}
	if retry {
		found, err := m.findReply(ctx, ref, key)
		if err != nil || found {
			return err
		}
	}
	_, err := m.send(ctx, "reply in a thread", ref.Channel, append(renderedLog(lines), slack.MsgOptionTS(ref.ID), keyed(key))...)
	return err
}

func (m *Messenger) send(ctx context.Context, doing, channel string, options ...slack.MsgOption) (chat.Ref, error) {
	id, ts, err := m.api.PostMessageContext(ctx, channel, options...)
	if err == nil && (id == "" || ts == "") {
		err = errNonsense
	}
	if err != nil {
		return chat.Ref{}, m.wrap(doing, err)
	}
	m.remember(channel, id)
	return chat.Ref{Channel: id, ID: ts}, nil
}

func (m *Messenger) remember(name, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ids[name] = id
}

func (m *Messenger) known(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ids[name]
}

// wrap names what failed, and keeps the token out of it whatever Slack said.
func (m *Messenger) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	var limited *chat.RateLimitError
	if errors.As(err, &limited) {
		return limited
	}
	kind, why := understand(err)
	return fmt.Errorf("%w: %s: %s", kind, doing, strings.ReplaceAll(why, m.token, "(the token)"))
}
