package slackin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

const (
	// openWithin bounds the request for a socket's address.
	openWithin = 10 * time.Second
	// openAgain is the first pause after a socket could not be kept, openMost the longest.
	openAgain, openMost = time.Second, 5 * time.Minute
)

// SocketConfig says how a socket is opened.
type SocketConfig struct {
	// AppToken (xapp-...) with the scope connections:write.
	AppToken string
	// APIURL is another API than Slack's own, for tests; it ends with a slash.
	APIURL string
}

// Listen takes clicks over a socket that is opened from here (Socket Mode), and
// opens it again whenever it breaks, until the context ends.
func (k *Clicks) Listen(ctx context.Context, c SocketConfig) {
	defer k.socket.Set(0)
	pause := openAgain
	for ctx.Err() == nil {
		began := time.Now()
		err := k.connect(ctx, c)
		k.socket.Set(0)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > openMost {
			pause = openAgain
		}
		k.Log.Error("clicks in Slack do not arrive: the socket could not be kept", "error", strings.ReplaceAll(err.Error(), c.AppToken, "(the token)"),
			"hint", "check chat.slack.app_token (xapp-..., scope connections:write) and that Socket Mode is on", "again_in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, openMost)
	}
}

// connect keeps one socket after the other, as Slack asks for new ones, until it
// fails for good.
func (k *Clicks) connect(ctx context.Context, c SocketConfig) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	options := []slack.Option{slack.OptionAppLevelToken(c.AppToken), slack.OptionHTTPClient(&http.Client{
		Timeout: openWithin,
		// A redirect would carry the token to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})}
	if c.APIURL != "" {
		options = append(options, slack.OptionAPIURL(c.APIURL))
	}
	client := socketmode.New(slack.New("", options...))
	ended := make(chan error, 1)
	go func() { ended <- client.RunContext(ctx) }()
	for {
		select {
		case e := <-client.Events:
			k.hear(ctx, client, e)
		case err := <-ended:
			return err
		}
	}
}

// hear deals with one event of a socket. A click is put in line before it is
// acknowledged: what is not acknowledged, Slack tells people.
func (k *Clicks) hear(ctx context.Context, client *socketmode.Client, e socketmode.Event) {
	switch e.Type {
	case socketmode.EventTypeHello:
		k.socket.Set(1)
		k.Log.Info("clicks in Slack arrive over a socket")
	case socketmode.EventTypeConnecting:
		k.socket.Set(0)
	case socketmode.EventTypeConnectionError:
		k.Log.Warn("Slack does not open a socket; it is tried again")
	case socketmode.EventTypeInteractive:
		if e.Request == nil {
			return
		}
		c, err := parse(e.Request.Payload)
		if err != nil {
			k.results.WithLabelValues("foreign").Inc()
		} else if k.take(c) == crowded {
			return
		}
		if err := client.AckCtx(ctx, e.Request.EnvelopeID, nil); err != nil {
			k.Log.Warn("a click in Slack could not be acknowledged", "error", err)
		}
	}
}
