package slack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/understudy-dr/understudy/activities/chat"
)

const (
	// maxAnswer bounds an answer of Slack's; a page of messages is far smaller.
	maxAnswer = 16 << 20
	// usualPause is waited where Slack asks for a pause without saying how long.
	usualPause = 30 * time.Second
	maxPause   = time.Hour
)

var errNonsense = errors.New("its answer makes no sense; it may not be Slack that answers")

// hints say what to do about the words with which Slack refuses for good.
var hints = map[string]string{
	"not_authed":                     "no token arrived; check chat.slack.token",
	"invalid_auth":                   "check chat.slack.token, a bot token (xoxb-...)",
	"token_revoked":                  "the token was revoked; install the app again and replace chat.slack.token",
	"token_expired":                  "the token has expired; install the app again and replace chat.slack.token",
	"account_inactive":               "the bot's account was removed; install the app again",
	"not_allowed_token_type":         "chat.slack.token must be a bot token (xoxb-...)",
	"access_denied":                  "the workspace denies the app access; ask its administrator",
	"no_permission":                  "the app may not do this; give it the scope chat:write and install it again",
	"missing_scope":                  "give the app the missing scope and install it again",
	"ekm_access_denied":              "the workspace's administrators suspended posting",
	"restricted_action":              "the channel lets only some people post; allow the app",
	"channel_not_found":              "no such channel that the bot can see; check notify.channel and invite the bot to it",
	"not_in_channel":                 "invite the bot to the channel",
	"is_archived":                    "the channel is archived; choose another in notify.channel",
	"cant_update_message":            "the message was posted by somebody else",
	"edit_window_closed":             "the workspace forbids edits after some time",
	"message_not_found":              "the message was deleted",
	"thread_not_found":               "the message above was deleted",
	"team_access_not_granted":        "install the app in this workspace",
	"accesslimited":                  "the workspace's plan or network rules keep the app out",
	"invalid_blocks":                 "Slack does not take the form of this message; please report it",
	"invalid_blocks_format":          "Slack does not take the form of this message; please report it",
	"invalid_attachments":            "Slack does not take the form of this message; please report it",
	"msg_blocks_too_long":            "Slack does not take the length of this message; please report it",
	"msg_too_long":                   "Slack does not take the length of this message; please report it",
	"no_text":                        "Slack does not take an empty message; please report it",
	"metadata_too_large":             "Slack does not take the key of this message; please report it",
	"invalid_metadata_format":        "Slack does not take the key of this message; please report it",
	"metadata_must_be_sent_from_app": "chat.slack.token must be an app's bot token (xoxb-...)",
}

// understand turns an error of the client into a kind of ours, and its reason.
func understand(err error) (kind error, why string) {
	var said slack.SlackErrorResponse
	var network net.Error
	switch {
	case errors.As(err, &said):
		word := printable(said.Err)
		if hint, ok := hints[word]; ok {
			if said.Needed != "" {
				word += " " + printable(said.Needed)
			}
			return chat.ErrRefused, fmt.Sprintf("%s: %s", word, hint)
		}
		return chat.ErrUnavailable, "Slack says " + word
	case errors.Is(err, context.Canceled):
		return chat.ErrUnavailable, "broken off"
	case errors.As(err, &network) && network.Timeout():
		return chat.ErrUnavailable, "no answer in time"
	default:
		return chat.ErrUnavailable, printable(err.Error())
	}
}

// limitedClient sends requests for the Slack library, which reads answers whole,
// however long they are, and knows only pauses that Slack words well.
type limitedClient struct{ http *http.Client }

func (c *limitedClient) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		resp.Body.Close()
		return nil, &chat.RateLimitError{After: pause(resp.Header.Get("Retry-After"))}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

func pause(text string) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || seconds < 0 {
		return usualPause
	}
	return min(max(time.Duration(min(seconds, 1<<20))*time.Second, time.Second), maxPause)
}
