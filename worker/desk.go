package worker

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/slackin"
)

// lastClicks is how long clicks that Slack believes taken may still be carried out at the end.
const lastClicks = 5 * time.Second

// desk takes buttons that were pressed in Slack. Without a Slack app that can
// tell of them there is none, and its methods do nothing.
type desk struct {
	clicks    *slackin.Clicks
	signed    bool
	stop      context.CancelFunc
	listening sync.WaitGroup
}

// openDesk opens the desk, where the site file has a signing secret or an app
// token. With an app token it opens a socket of its own (Socket Mode).
func openDesk(ctx context.Context, site runbooks.Site, decider slackin.Decider, chats map[string]chat.Messenger, log *slog.Logger, metrics prometheus.Registerer) (*desk, error) {
	c := site.Chat.Slack
	if c == nil || c.SigningSecret.IsZero() && c.AppToken.IsZero() {
		return &desk{}, nil
	}
	resolve := func(name string, s runbooks.Secret) (string, error) {
		if s.IsZero() {
			return "", nil
		}
		text, err := secrets.Resolve(s)
		if err != nil {
			return "", fmt.Errorf("chat.slack.%s: %w", name, err)
		}
		return text, nil
	}
	signing, err := resolve("signing_secret", c.SigningSecret)
	if err != nil {
		return nil, err
	}
	token, err := resolve("app_token", c.AppToken)
	if err != nil {
		return nil, err
	}
	showing, ok := chats["slack"].(slackin.Chat)
	if !ok {
		return nil, fmt.Errorf("chat.slack: this messenger cannot show what became of a click")
	}
	d := &desk{signed: signing != ""}
	if d.clicks, err = slackin.New(slackin.Config{Decider: decider, Chat: showing, Users: site.Users, SigningSecret: signing, Log: log, Metrics: metrics}); err != nil {
		return nil, err
	}
	ctx, d.stop = context.WithCancel(ctx)
	if token != "" {
		d.listening.Go(func() { d.clicks.Listen(ctx, slackin.SocketConfig{AppToken: token, APIURL: c.APIURL}) })
	}
	return d, nil
}

// handler takes requests that Slack has signed; nil where there is no secret to
// prove them.
func (d *desk) handler() http.Handler {
	if !d.signed {
		return nil
	}
	return d.clicks
}

// close takes no more clicks, and carries out those that were acknowledged.
func (d *desk) close() {
	if d.clicks == nil {
		return
	}
	d.stop()
	d.listening.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), lastClicks)
	defer cancel()
	d.clicks.Close(ctx)
}
