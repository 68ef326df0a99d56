// Package fakewecom plays the group robots of WeCom, as far as Understudy uses
// them, to WeCom's documentation: a robot takes text and Markdown within byte
// limits, 20 messages a minute, and answers HTTP 200 whatever happens; errcode
// tells. It can neither edit nor hear.
//
// A test or a demo starts it, points a client at its URL, and reads what people
// in the group would see. Faults make it slow, busy, broken or lying, and can let
// a message arrive whose answer is lost. It knows nothing of package testing.
package fakewecom

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// Key is the robot that a server knows where its options name none.
	Key = "00000000-fake-4000-8000-0123456789ab"
	// WeCom's bounds, from its page on group robots (path 91770).
	maxText, maxMarkdown = 2048, 4096
	// PerMinute messages may be sent by each robot.
	PerMinute = 20
	maxBody   = 4 << 20
)

// WeCom's error codes, as its documentation and its answers name them.
const (
	ok           = 0
	badType      = 40008
	tooLong      = 40058
	badFormat    = 47001
	emptyContent = 44004
	tooMany      = 45009
	badKey       = 93000
)

// Options describe a robot.
type Options struct {
	// Key of the robot. Default Key.
	Key string
	// OnMessage is told what people read, message by message, before the robot's sender has its answer.
	OnMessage func(text string)
	// Now is the clock of the limit per minute. Default time.Now.
	Now func() time.Time
}

// Message is one that arrived.
type Message struct {
	// Type is text or markdown; Content is as it was sent.
	Type    string
	Content string
	At      time.Time
}

// Server is a group with one robot. It is safe for concurrent use.
type Server struct {
	options Options

	mu       sync.Mutex
	messages []Message
	faults   []Fault
	calls    int
	pings    []string
	// sent are the times of the last messages, those that were refused for their number left out.
	sent []time.Time
}

// New makes a group.
func New(o Options) *Server {
	if o.Key == "" {
		o.Key = Key
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Server{options: o}
}

// Running is a server that listens on loopback.
type Running struct {
	*Server
	// URL is what a client takes for the API's URL; it ends with a slash.
	URL  string
	http *http.Server
}

// Start makes a group and listens at the address, such as 127.0.0.1:0.
func Start(address string, o Options) (*Running, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("start the fake WeCom: %w", err)
	}
	s := New(o)
	running := &Running{Server: s, URL: "http://" + l.Addr().String() + "/", http: &http.Server{Handler: s}}
	go func() { _ = running.http.Serve(l) }()
	return running, nil
}

// Close ends the server and what it was answering.
func (r *Running) Close() { _ = r.http.Close() }

// ServeHTTP answers at /cgi-bin/webhook/send.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/cgi-bin/webhook/send" || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return
	}
	fault := s.admit()
	if !fault.Arrives && (!fault.hang(r) || fault.answers()) {
		fault.answer(w)
		return
	}
	code, why, seen := s.take(r.URL.Query().Get("key"), body)
	if code == ok && s.options.OnMessage != nil {
		s.options.OnMessage(read(seen))
	}
	if fault.Arrives && (!fault.hang(r) || fault.answers()) {
		fault.answer(w)
		return
	}
	write(w, code, why)
}

// send is the body of a request, as far as it is known here.
type send struct {
	MsgType  string   `json:"msgtype"`
	Text     *content `json:"text"`
	Markdown *content `json:"markdown"`
}

type content struct {
	Content             string   `json:"content"`
	MentionedList       []string `json:"mentioned_list"`
	MentionedMobileList []string `json:"mentioned_mobile_list"`
}

// take holds a message against the bounds, and shows it to the group.
func (s *Server) take(key string, body []byte) (code int, why string, seen Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key != s.options.Key {
		return badKey, "invalid webhook url", seen
	}
	var in send
	// Whether the bytes are UTF-8 must be seen before the decoder replaces those that are not.
	if !utf8.Valid(body) || json.Unmarshal(body, &in) != nil {
		return badFormat, "data format error", seen
	}
	now := s.options.Now()
	s.sent = slices.DeleteFunc(s.sent, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	if len(s.sent) >= PerMinute {
		return tooMany, "api freq out of limit", seen
	}
	var said *content
	limit := 0
	switch in.MsgType {
	case "text":
		said, limit = in.Text, maxText
	case "markdown":
		said, limit = in.Markdown, maxMarkdown
	default:
		return badType, "invalid message type", seen
	}
	switch {
	case said == nil || said.Content == "":
		return emptyContent, "empty content", seen
	case len(said.Content) > limit:
		return tooLong, fmt.Sprintf("%s.content exceed max length %d", in.MsgType, limit), seen
	}
	s.sent = append(s.sent, now)
	seen = Message{Type: in.MsgType, Content: said.Content, At: now}
	s.messages = append(s.messages, seen)
	for _, whom := range slices.Concat(said.MentionedList, said.MentionedMobileList, mentions(said.Content)) {
		s.pings = append(s.pings, "@"+strings.TrimPrefix(whom, "@"))
	}
	return ok, "ok", seen
}

// write answers with HTTP 200 always, as WeCom does; errcode tells.
func write(w http.ResponseWriter, code int, why string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	if code != ok {
		why += ", hint: [1774000000000000], from ip: 127.0.0.1, more info at https://open.work.weixin.qq.com/devtool/query?e=" + fmt.Sprint(code)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"errcode": code, "errmsg": why})
}
