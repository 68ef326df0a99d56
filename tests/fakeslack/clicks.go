package fakeslack

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/slack-go/slack"
)

const (
	// SigningSecret signs clicks where a server's options name no other.
	SigningSecret = "fake-signing-secret-0123456789"
	// ackWithin is how soon an app must answer a click; after that Slack shows people a warning sign.
	ackWithin = 3 * time.Second
)

// Button is one that people see now.
type Button struct {
	// Channel and Message (its ts) are where it stands; Attachment is 1 for the first one, 0 for the message itself.
	Channel    string
	Message    string
	Attachment int
	ActionID   string
	BlockID    string
	Text       string
	Style      string
	Value      string
	// Confirm is what Slack asks before the click counts; empty where it asks nothing.
	Confirm string
}

// Whisper is a message that only one person sees.
type Whisper struct{ Channel, User, Text string }

// Buttons lists the buttons that people see now, oldest message first.
func (s *Server) Buttons() []Button {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Button
	for _, c := range s.channels {
		for _, m := range c.messages {
			all = append(all, buttonsOf(c, m, 0, m.Blocks.BlockSet)...)
			for i, a := range m.Attachments {
				all = append(all, buttonsOf(c, m, i+1, a.Blocks.BlockSet)...)
			}
		}
	}
	return all
}

func buttonsOf(c *channel, m *slack.Message, attachment int, blocks []slack.Block) []Button {
	var all []Button
	for _, b := range blocks {
		row, ok := b.(*slack.ActionBlock)
		if !ok {
			continue
		}
		for _, e := range row.Elements.ElementSet {
			if b, ok := e.(*slack.ButtonBlockElement); ok {
				button := Button{
					Channel: c.id, Message: m.Timestamp, Attachment: attachment, ActionID: b.ActionID, BlockID: row.BlockID,
					Text: b.Text.Text, Style: string(b.Style), Value: b.Value,
				}
				if b.Confirm != nil {
					button.Confirm = b.Confirm.Text.Text
				}
				all = append(all, button)
			}
		}
	}
	return all
}

// Button finds the newest one with a text.
func (s *Server) Button(text string) (Button, error) {
	for _, b := range slices.Backward(s.Buttons()) {
		if b.Text == text {
			return b, nil
		}
	}
	return Button{}, fmt.Errorf("people see no button %q", text)
}

// Whispers lists what single people were told.
func (s *Server) Whispers() []Whisper {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.whispers)
}

// Interact names the app's request URL for clicks.
func (s *Server) Interact(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interactivity = url
}

// Click presses a button as a person would, by their member id, and returns when
// the app has acknowledged: over its socket where one is open, else by a signed
// request to its URL. Where it does not in time, that is the error.
func (s *Server) Click(ctx context.Context, user string, b Button) error {
	payload, err := s.payload(user, b)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ackWithin)
	defer cancel()
	if sent, err := s.overSocket(ctx, payload); sent {
		return err
	}
	s.mu.Lock()
	target := s.interactivity
	s.mu.Unlock()
	if target == "" {
		return errors.New("the app has neither a socket nor a URL for clicks")
	}
	r := s.Signed(target, "payload="+url.QueryEscape(string(payload)), s.options.Now())
	resp, err := http.DefaultClient.Do(r.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("the click was not acknowledged: %w", err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the click was not acknowledged: %s: %s", resp.Status, said)
	}
	return nil
}

// Signed is a request as Slack signs it (version v0).
func (s *Server) Signed(target, body string, at time.Time) *http.Request {
	r, err := http.NewRequest(http.MethodPost, target, bytes.NewReader([]byte(body)))
	if err != nil {
		panic(err) // the caller's URL is no URL
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(s.options.SigningSecret))
	fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Slack-Request-Timestamp", stamp)
	r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	return r
}

// Payload is what Slack sends of a click.
func (s *Server) Payload(user string, b Button) (string, error) {
	text, err := s.payload(user, b)
	return string(text), err
}

func (s *Server) payload(user string, b Button) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channelWithID(b.Channel)
	if c == nil || c.message(b.Message) == nil {
		return nil, fmt.Errorf("there is no message %s in channel %s", b.Message, b.Channel)
	}
	s.clicks++
	container := map[string]any{"type": "message", "message_ts": b.Message, "channel_id": b.Channel, "is_ephemeral": false}
	if b.Attachment > 0 {
		container["type"], container["attachment_id"], container["is_app_unfurl"] = "message_attachment", b.Attachment, false
	}
	now := s.options.Now()
	return json.Marshal(map[string]any{
		"type":         "block_actions",
		"user":         map[string]any{"id": user, "username": "name-of-" + user, "name": "name-of-" + user, "team_id": "T00000001"},
		"api_app_id":   "A00000001",
		"token":        "retired",
		"container":    container,
		"trigger_id":   fmt.Sprintf("%d.1.fake", s.clicks),
		"team":         map[string]any{"id": "T00000001", "domain": "fake"},
		"enterprise":   nil,
		"channel":      map[string]any{"id": c.id, "name": c.name},
		"message":      c.message(b.Message),
		"response_url": "https://hooks.slack.example/actions/T00000001/1/secret",
		"actions": []any{map[string]any{
			"type": "button", "action_id": b.ActionID, "block_id": b.BlockID, "value": b.Value, "style": b.Style,
			"text":      map[string]any{"type": "plain_text", "text": b.Text, "emoji": false},
			"action_ts": fmt.Sprintf("%d.%06d", now.Unix(), s.clicks),
		}},
	})
}

// postEphemeral shows something to one person.
func (s *Server) postEphemeral(r *http.Request) (any, refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channelNamed(r.FormValue("channel"))
	switch {
	case c == nil:
		return nil, "channel_not_found"
	case r.FormValue("user") == "":
		return nil, "user_not_in_channel"
	case r.FormValue("text") == "":
		return nil, "no_text"
	}
	s.whispers = append(s.whispers, Whisper{Channel: c.id, User: r.FormValue("user"), Text: s.interpret(r.FormValue("text"))})
	return map[string]any{"message_ts": fmt.Sprintf("%d.%06d", s.options.Now().Unix(), len(s.whispers))}, ""
}
