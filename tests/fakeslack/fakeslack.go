// Package fakeslack plays Slack's Web API, as far as Understudy uses it, to
// Slack's documentation: what Slack refuses, it refuses, with Slack's words.
//
// A test or a demo starts it, points a client at its URL, and reads what people
// would see: messages after their edits, with their threads and buttons. It can
// press a button as a person would: the app hears of it by a signed request, or
// over a socket where it has opened one (Socket Mode). Faults make the server
// slow, busy, broken or lying, and can let a message arrive whose answer is lost.
// It knows nothing of package testing.
package fakeslack

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"
)

// Token is the bot token that a server knows where its options name none.
const Token = "xoxb-fake-0123456789"

// Options describe a workspace.
type Options struct {
	// Token of the bot. Default Token.
	Token string
	// AppToken opens sockets. Default AppToken.
	AppToken string
	// SigningSecret signs clicks. Default SigningSecret.
	SigningSecret string
	// Channels that the bot is a member of, without their hash sign. Default: asr-oncall.
	Channels []string
	// OnChange is told of everything that people see change, in order. It must not call the server.
	OnChange func(Change)
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Change is one thing that people see happen.
type Change struct {
	// What is posted, edited or replied.
	What string
	// Channel is its name, without the hash sign.
	Channel string
	// Text is the message as people read it.
	Text string
	// Before is the text that an edit replaced.
	Before string
}

// Server is one workspace with one bot. It is safe for concurrent use.
type Server struct {
	options Options
	mux     *http.ServeMux

	mu       sync.Mutex
	channels []*channel
	last     int64
	faults   []Fault
	calls    []Call
	pings    []string
	limits   map[string]time.Duration
	called   map[string]time.Time
	whispers []Whisper
	// interactivity is the app's request URL; sockets are those that it has opened, by tickets that it was given.
	interactivity              string
	sockets                    []*socket
	open                       map[string]bool
	tickets, envelopes, clicks int
	blocks                     int
}

// channel is a place for messages.
type channel struct {
	id, name string
	messages []*slack.Message
}

// New makes a workspace.
func New(o Options) *Server {
	if o.Token == "" {
		o.Token = Token
	}
	if o.AppToken == "" {
		o.AppToken = AppToken
	}
	if o.SigningSecret == "" {
		o.SigningSecret = SigningSecret
	}
	if len(o.Channels) == 0 {
		o.Channels = []string{"asr-oncall"}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{options: o, mux: http.NewServeMux(), limits: map[string]time.Duration{}, called: map[string]time.Time{}, open: map[string]bool{}}
	for i, name := range o.Channels {
		s.channels = append(s.channels, &channel{id: fmt.Sprintf("C%08d", i+1), name: strings.TrimPrefix(name, "#")})
	}
	s.handle("auth.test", s.authTest)
	s.handle("users.conversations", s.userConversations)
	s.handle("chat.postMessage", s.postMessage)
	s.handle("chat.update", s.update)
	s.handle("chat.postEphemeral", s.postEphemeral)
	s.handle("apps.connections.open", s.openConnection)
	s.mux.HandleFunc("/link/", s.link)
	s.handle("conversations.history", s.history)
	s.handle("conversations.replies", s.replies)
	return s
}

// ServeHTTP answers below /api/, and below /link/ for sockets.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Running is a server that listens on loopback.
type Running struct {
	*Server
	// URL is what a client takes for the API's URL; it ends with a slash.
	URL  string
	http *http.Server
}

// Start makes a workspace and listens at the address, such as 127.0.0.1:0.
func Start(address string, o Options) (*Running, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("start the fake Slack: %w", err)
	}
	s := New(o)
	running := &Running{Server: s, URL: "http://" + l.Addr().String() + "/api/", http: &http.Server{Handler: s}}
	go func() { _ = running.http.Serve(l) }()
	return running, nil
}

// Close ends the server and what it was answering, sockets too.
func (r *Running) Close() {
	_ = r.http.Close()
	r.mu.Lock()
	sockets := r.sockets
	r.mu.Unlock()
	for _, k := range sockets {
		k.conn.Close()
	}
}

// refusal is Slack's word for why a call did not succeed.
type refusal string

// handle serves one method of the API: the token is checked, faults and limits
// have their say, and what the method returns is wrapped as Slack wraps it.
func (s *Server) handle(method string, do func(*http.Request) (any, refusal)) {
	s.mux.HandleFunc("/api/"+method, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			write(w, nil, "invalid_form_data")
			return
		}
		fault, wait := s.admit(method, r)
		if wait > 0 {
			tooMany(w, wait)
			return
		}
		if fault == nil {
			fault = &Fault{}
		}
		if !fault.Arrives && (!fault.hang(r) || fault.answers()) {
			fault.answer(w)
			return
		}
		var result any
		why := s.checkToken(method, r)
		if why == "" {
			result, why = do(r)
		}
		if fault.Arrives && (!fault.hang(r) || fault.answers()) {
			fault.answer(w)
			return
		}
		write(w, result, why)
	})
}

func (s *Server) checkToken(method string, r *http.Request) refusal {
	token := r.FormValue("token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = bearer
	}
	right, other := s.options.Token, s.options.AppToken
	if method == "apps.connections.open" {
		right, other = other, right
	}
	switch token {
	case "":
		return "not_authed"
	case right:
		return ""
	case other:
		return "not_allowed_token_type"
	default:
		return "invalid_auth"
	}
}

// write answers with HTTP 200 always, as Slack does; ok tells.
func write(w http.ResponseWriter, result any, why refusal) {
	fields := map[string]any{}
	if result != nil {
		text, err := json.Marshal(result)
		if err == nil {
			err = json.Unmarshal(text, &fields)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	fields["ok"] = why == ""
	if why != "" {
		fields["error"] = string(why)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(fields)
}
