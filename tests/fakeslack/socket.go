package fakeslack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// AppToken opens sockets where a server's options name no other.
	AppToken = "xapp-fake-0123456789"
	// pingEvery is how often the server asks whether the other side is there; clients give up after 30 s without.
	pingEvery = 5 * time.Second
)

// socket is one open connection of an app.
type socket struct {
	conn *websocket.Conn
	// writing guards the connection: it takes one writer at a time.
	writing sync.Mutex
	mu      sync.Mutex
	// waiting are those who wait for an acknowledgement, by envelope.
	waiting map[string]chan struct{}
	gone    chan struct{}
}

// openConnection hands out the address of a socket; each works once.
func (s *Server) openConnection(r *http.Request) (any, refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets++
	ticket := fmt.Sprintf("ticket-%d", s.tickets)
	s.open[ticket] = true
	return map[string]any{"url": "ws://" + r.Host + "/link/?ticket=" + ticket}, ""
}

// link is the other end of a socket.
func (s *Server) link(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	ticket := r.URL.Query().Get("ticket")
	known := s.open[ticket]
	delete(s.open, ticket)
	s.mu.Unlock()
	if !known {
		http.Error(w, "invalid ticket", http.StatusForbidden)
		return
	}
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	k := &socket{conn: conn, waiting: map[string]chan struct{}{}, gone: make(chan struct{})}
	// An app that has heard hello may count on being found.
	s.mu.Lock()
	s.sockets = append(s.sockets, k)
	s.mu.Unlock()
	_ = k.write(map[string]any{"type": "hello", "num_connections": 1, "connection_info": map[string]any{"app_id": "A00000001"},
		"debug_info": map[string]any{"host": "fake", "approximate_connection_time": 18060}})
	go k.ping()
	k.listen()
	s.mu.Lock()
	for i, other := range s.sockets {
		if other == k {
			s.sockets = append(s.sockets[:i:i], s.sockets[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
}

// Sockets is how many are open.
func (s *Server) Sockets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}

// Disconnect asks the app to open new sockets, as Slack does every few hours,
// and closes the old ones.
func (s *Server) Disconnect() {
	s.mu.Lock()
	sockets := s.sockets
	s.sockets = nil
	s.mu.Unlock()
	for _, k := range sockets {
		_ = k.write(map[string]any{"type": "disconnect", "reason": "refresh_requested", "debug_info": map[string]any{"host": "fake"}})
		k.conn.Close()
	}
}

// overSocket sends a click to the newest socket and waits for its
// acknowledgement; sent is false where none is open.
func (s *Server) overSocket(ctx context.Context, payload []byte) (sent bool, err error) {
	s.mu.Lock()
	if len(s.sockets) == 0 {
		s.mu.Unlock()
		return false, nil
	}
	k := s.sockets[len(s.sockets)-1]
	s.envelopes++
	id := fmt.Sprintf("envelope-%d", s.envelopes)
	s.mu.Unlock()
	acknowledged := make(chan struct{})
	k.mu.Lock()
	k.waiting[id] = acknowledged
	k.mu.Unlock()
	if err := k.write(map[string]any{"envelope_id": id, "type": "interactive", "accepts_response_payload": true, "payload": json.RawMessage(payload)}); err != nil {
		return true, fmt.Errorf("the click did not reach the app: %w", err)
	}
	select {
	case <-acknowledged:
		return true, nil
	case <-k.gone:
		return true, errors.New("the app closed its socket before it acknowledged the click")
	case <-ctx.Done():
		return true, fmt.Errorf("the click was not acknowledged: %w", ctx.Err())
	}
}

func (k *socket) write(message any) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	return k.conn.WriteJSON(message)
}

// ping keeps the other side from giving up.
func (k *socket) ping() {
	for every := time.NewTicker(pingEvery); ; {
		_ = k.conn.WriteControl(websocket.PingMessage, []byte("ping from fake"), time.Now().Add(time.Second))
		select {
		case <-every.C:
		case <-k.gone:
			every.Stop()
			return
		}
	}
}

// listen takes acknowledgements until the other side leaves.
func (k *socket) listen() {
	defer close(k.gone)
	defer k.conn.Close()
	for {
		var ack struct {
			EnvelopeID string `json:"envelope_id"`
		}
		if k.conn.ReadJSON(&ack) != nil {
			return
		}
		k.mu.Lock()
		if waiting, ok := k.waiting[ack.EnvelopeID]; ok {
			delete(k.waiting, ack.EnvelopeID)
			close(waiting)
		}
		k.mu.Unlock()
	}
}
