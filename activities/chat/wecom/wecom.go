// Package wecom tells people in a WeCom group what happens, through a group
// robot.
//
// A robot can neither edit nor hear, and takes 20 messages a minute. So every
// state is a message of its own, and where news come faster than they may be
// sent, those that wait are put together: one digest for all of them, of each
// story its newest state. Nothing is held back in memory only: whoever has handed
// over news waits until the robot has taken them, or is told when to try again
// with what is newest then. So the last state arrives, also after a crash.
//
// A robot has no buttons either: a message names what is to be decided, and its
// links lead to the console. Whatever comes from alerts, machines or people is
// plain text: characters that mean something in WeCom's Markdown are replaced by
// their full-width twins.
package wecom

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/chat"
)

const (
	// DefaultTimeout bounds one request to WeCom.
	DefaultTimeout = 5 * time.Second
	// DefaultAPIURL is WeCom's own.
	DefaultAPIURL = "https://qyapi.weixin.qq.com/"

	path = "cgi-bin/webhook/send"
	// patience is how long news wait for a digest before they are given back: with the request it is less than callers wait.
	patience = 8 * time.Second
)

// Config says which robot it is.
type Config struct {
	// Key of the robot: what follows key= in its address.
	Key string
	// APIURL is another API than WeCom's own, for tests.
	APIURL string
	// Timeout bounds one request. Default DefaultTimeout.
	Timeout time.Duration
	// Now and After are the clock that messages are paced by. Default that of package time.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Messenger is one robot in one group. It is safe for concurrent use.
type Messenger struct {
	config Config
	target string
	http   *http.Client

	mu      sync.Mutex
	waiting []*news
	// sending is true while somebody sends.
	sending bool
	pace    pace
}

// news is one piece of news that waits to be sent.
type news struct {
	// story groups what belongs together.
	story string
	// state is the newest state of the story; nil for log lines alone.
	state *chat.Message
	log   []string
	// alone keeps it out of digests: one was refused because of it, or of another.
	alone bool
	// gone is set when nobody waits for it any more.
	gone bool
	// leave ends the request that carries it, once all that it carries are gone.
	leave func()
	done  chan error
}

var _ chat.Messenger = (*Messenger)(nil)

// New makes a messenger. It sends nothing; a key that WeCom refuses shows in the
// first message.
func New(c Config) (*Messenger, error) {
	if c.Key == "" || strings.ContainsFunc(c.Key, func(r rune) bool { return r <= ' ' }) {
		return nil, errors.New("the robot's key is empty or contains blanks; it is what follows key= in the robot's address")
	}
	if c.APIURL == "" {
		c.APIURL = DefaultAPIURL
	}
	u, err := url.Parse(c.APIURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("the WeCom API's URL is not usable; it begins with https://")
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	u = u.JoinPath(path)
	u.RawQuery = url.Values{"key": {c.Key}}.Encode()
	return &Messenger{config: c, target: u.String(), http: &http.Client{
		Timeout: c.Timeout,
		// A redirect would take the key along, in the Referer.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// CanEdit is false: a robot's message stays as it was sent.
func (m *Messenger) CanEdit() bool { return false }

// Post sends a state, perhaps in a digest with others. The channel is not looked
// at: a robot knows one group. A robot finds nothing again, so a retry may be
// there twice, which is better than not at all.
func (m *Messenger) Post(ctx context.Context, _ string, msg chat.Message, key string, _ bool) (chat.Ref, error) {
	return chat.Ref{ID: key}, m.hand(ctx, &news{story: key, state: &msg})
}

// Update sends the new state as a message of its own.
func (m *Messenger) Update(ctx context.Context, ref chat.Ref, msg chat.Message) error {
	return m.hand(ctx, &news{story: ref.ID, state: &msg})
}

// Reply sends lines of a story's log. No lines are no message.
func (m *Messenger) Reply(ctx context.Context, ref chat.Ref, lines []string, _ string, _ bool) error {
	if len(lines) == 0 {
		return nil
	}
	return m.hand(ctx, &news{story: ref.ID, log: lines})
}

// body is a message in WeCom's form.
type body struct {
	MsgType  string   `json:"msgtype"`
	Text     *content `json:"text,omitempty"`
	Markdown *content `json:"markdown,omitempty"`
}

type content struct {
	Content string `json:"content"`
}

// send is one request. The key is in its address, so no error of the client may be passed on as it is.
func (m *Messenger) send(ctx context.Context, b body) error {
	text, err := json.Marshal(b)
	if err != nil {
		return m.failed(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.target, bytes.NewReader(text))
	if err != nil {
		return m.failed(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := m.http.Do(r)
	if err != nil {
		return m.failed(err)
	}
	defer resp.Body.Close()
	return m.understand(resp)
}
