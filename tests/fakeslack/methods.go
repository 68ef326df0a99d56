package fakeslack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/slack-go/slack"
)

func (s *Server) authTest(*http.Request) (any, refusal) {
	return slack.AuthTestResponse{URL: "https://fake.slack.com/", Team: "Fake", User: "understudy", TeamID: "T00000001", UserID: "U00000001", BotID: "B00000001"}, ""
}

// userConversations lists the channels that the bot is a member of.
func (s *Server) userConversations(r *http.Request) (any, refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, to, next := page(r, len(s.channels), 100)
	var list []map[string]any
	for _, c := range s.channels[from:to] {
		list = append(list, map[string]any{"id": c.id, "name": c.name, "is_channel": true, "is_member": true})
	}
	return map[string]any{"channels": list, "response_metadata": map[string]any{"next_cursor": next}}, ""
}

func (s *Server) postMessage(r *http.Request) (any, refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Only this method takes a channel by its name.
	c := s.channelNamed(r.FormValue("channel"))
	if c == nil {
		return nil, "channel_not_found"
	}
	m := &slack.Message{Msg: slack.Msg{Type: "message", SubType: slack.MsgSubTypeBotMessage, BotID: "B00000001"}}
	if why := fill(m, r); why != "" {
		return nil, why
	}
	s.nameBlocks(m)
	if m.Text == "" && len(m.Blocks.BlockSet) == 0 && len(m.Attachments) == 0 {
		return nil, "no_text"
	}
	s.last = max(s.last+1, s.options.Now().UnixMicro())
	m.Timestamp = fmt.Sprintf("%d.%06d", s.last/1e6, s.last%1e6)
	what := "posted"
	// Slack posts a reply beside the thread where its parent is gone.
	if parent := c.message(r.FormValue("thread_ts")); parent != nil {
		what, m.ThreadTimestamp, parent.ThreadTimestamp = "replied", parent.Timestamp, parent.Timestamp
		parent.ReplyCount++
	}
	c.messages = append(c.messages, m)
	s.changed(Change{What: what, Channel: c.name, Text: s.read(m)})
	return map[string]any{"channel": c.id, "ts": m.Timestamp, "message": m}, ""
}

func (s *Server) update(r *http.Request) (any, refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channelWithID(r.FormValue("channel"))
	if c == nil {
		return nil, "channel_not_found"
	}
	m := c.message(r.FormValue("ts"))
	if m == nil {
		return nil, "message_not_found"
	}
	edited := *m
	if why := fill(&edited, r); why != "" {
		return nil, why
	}
	before := s.read(m)
	s.nameBlocks(&edited)
	*m = edited
	m.Edited = &slack.Edited{User: "B00000001", Timestamp: m.Timestamp}
	s.changed(Change{What: "edited", Channel: c.name, Text: s.read(m), Before: before})
	return map[string]any{"channel": c.id, "ts": m.Timestamp, "text": m.Text, "message": m}, ""
}

// history lists the messages of a channel, the newest first, without replies.
func (s *Server) history(r *http.Request) (any, refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channelWithID(r.FormValue("channel"))
	if c == nil {
		return nil, "channel_not_found"
	}
	var list []*slack.Message
	for _, m := range slices.Backward(c.messages) {
		if (m.ThreadTimestamp == "" || m.ThreadTimestamp == m.Timestamp) && within(r, m.Timestamp) {
			list = append(list, m)
		}
	}
	return listed(r, list)
}

// within reports whether a time lies between those that a caller has named;
// both ends count only where they are asked for. All times have as many digits.
func within(r *http.Request, ts string) bool {
	oldest, latest := r.FormValue("oldest"), r.FormValue("latest")
	if inclusive := r.FormValue("inclusive"); (inclusive == "1" || inclusive == "true") && (ts == oldest || ts == latest) {
		return true
	}
	return (oldest == "" || oldest == "0" || ts > oldest) && (latest == "" || ts < latest)
}

// replies lists a thread, its parent first.
func (s *Server) replies(r *http.Request) (any, refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channelWithID(r.FormValue("channel"))
	if c == nil {
		return nil, "channel_not_found"
	}
	ts := r.FormValue("ts")
	if c.message(ts) == nil {
		return nil, "thread_not_found"
	}
	var list []*slack.Message
	for _, m := range c.messages {
		if m.Timestamp == ts || m.ThreadTimestamp == ts {
			list = append(list, m)
		}
	}
	return listed(r, list)
}

// listed is one page of messages, with their metadata where the caller asks for it.
func listed(r *http.Request, list []*slack.Message) (any, refusal) {
	from, to, next := page(r, len(list), 100)
	messages := []slack.Message{}
	for _, m := range list[from:to] {
		shown := *m
		if all := r.FormValue("include_all_metadata"); all != "1" && all != "true" {
			shown.Metadata = slack.SlackMetadata{}
		}
		messages = append(messages, shown)
	}
	return map[string]any{"messages": messages, "has_more": next != "", "response_metadata": map[string]any{"next_cursor": next}}, ""
}

// page reads limit and cursor, which is the index where the page begins.
func page(r *http.Request, length, limit int) (from, to int, next string) {
	if n, err := strconv.Atoi(r.FormValue("limit")); err == nil && n > 0 {
		limit = min(n, 999)
	}
	from, _ = strconv.Atoi(r.FormValue("cursor"))
	from = min(max(from, 0), length)
	to = min(from+limit, length)
	if to < length {
		next = fmt.Sprint(to)
	}
	return from, to, next
}

// fill takes from a request what makes a message; what an edit leaves out, stays.
func fill(m *slack.Message, r *http.Request) refusal {
	form := r.Form
	if form.Has("text") {
		m.Text = form.Get("text")
		m.Blocks = slack.Blocks{}
	}
	if form.Has("blocks") {
		m.Blocks = slack.Blocks{}
		if json.Unmarshal([]byte(form.Get("blocks")), &m.Blocks) != nil {
			return "invalid_blocks_format"
		}
	}
	if form.Has("attachments") {
		m.Attachments = nil
		if json.Unmarshal([]byte(form.Get("attachments")), &m.Attachments) != nil {
			return "invalid_attachments"
		}
	}
	if form.Has("metadata") {
		m.Metadata = slack.SlackMetadata{}
		if json.Unmarshal([]byte(form.Get("metadata")), &m.Metadata) != nil || !eventType.MatchString(m.Metadata.EventType) {
			return "invalid_metadata_format"
		}
	}
	return tooBig(m)
}

// nameBlocks gives rows of buttons the ids that their sender left out.
func (s *Server) nameBlocks(m *slack.Message) {
	sets := [][]slack.Block{m.Blocks.BlockSet}
	for _, a := range m.Attachments {
		sets = append(sets, a.Blocks.BlockSet)
	}
	for _, blocks := range sets {
		for _, b := range blocks {
			if row, ok := b.(*slack.ActionBlock); ok && row.BlockID == "" {
				s.blocks++
				row.BlockID = fmt.Sprintf("b%d", s.blocks)
			}
		}
	}
}

func (s *Server) channelNamed(name string) *channel {
	for _, c := range s.channels {
		if c.id == name || c.name == strings.TrimPrefix(name, "#") {
			return c
		}
	}
	return nil
}

func (s *Server) channelWithID(id string) *channel {
	for _, c := range s.channels {
		if c.id == id {
			return c
		}
	}
	return nil
}

func (c *channel) message(ts string) *slack.Message {
	for _, m := range c.messages {
		if m.Timestamp == ts {
			return m
		}
	}
	return nil
}

func (s *Server) changed(c Change) {
	if s.options.OnChange != nil {
		s.options.OnChange(c)
	}
}
