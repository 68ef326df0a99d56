package triggers

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	// heartbeatEvery keeps a stream alive through proxies, which close what is silent for a minute.
	heartbeatEvery = 15 * time.Second
	// reconnectAfter is what a listener that was cut off is told to wait.
	reconnectAfter = 2 * time.Second
	// writeIn bounds how long one event may take to go out: a listener that does not read is let go.
	writeIn = 10 * time.Second
)

// Following is part of every request for events.
type Following struct {
	LastEventID string `header:"Last-Event-ID" maxLength:"64" doc:"id of the last event that came, after a reconnect"`
}

func (a *API) followAll(_ context.Context, in *Following) (*huma.StreamResponse, error) {
	return a.follow(everything, in.LastEventID)
}

func (a *API) followOne(ctx context.Context, in *struct {
	RecoveryPath
	Following
}) (*huma.StreamResponse, error) {
	detail, err := a.detail(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	a.feed.note(detail)
	return a.follow(in.ID, in.LastEventID)
}

// follow streams a topic.
func (a *API) follow(topic, lastID string) (*huma.StreamResponse, error) {
	leave, ok := a.feed.join(topic)
	if !ok {
		return nil, huma.Error503ServiceUnavailable("too many listen already, or Understudy stops; try again in a moment")
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer leave()
		_, w := humago.Unwrap(ctx)
		s := &listener{feed: a.feed, topic: topic, after: a.feed.after(lastID), out: w, control: http.NewResponseController(w), beat: heartbeatEvery}
		s.run(ctx.Context())
	}}, nil
}

// listener is one event stream.
type listener struct {
	feed    *feed
	topic   string
	after   int64
	out     http.ResponseWriter
	control *http.ResponseController
	beat    time.Duration
	begun   bool
}

// run sends what happens until the listener goes, the recovery ends or Understudy stops.
func (l *listener) run(ctx context.Context) {
	if l.control.SetReadDeadline(time.Time{}) != nil { // the server's own would end the stream
		return
	}
	beat := time.NewTicker(l.beat)
	defer beat.Stop()
	for {
		events, again := l.feed.next(l.topic, l.after)
		if len(events) == 0 && !l.begun && l.over() {
			l.out.WriteHeader(http.StatusNoContent) // it has ended, and the listener knows: do not come back
			return
		}
		if !l.begin() {
			return
		}
		for _, e := range events {
			if !l.write(fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", e.id, e.kind, e.data)) || e.final && l.topic != everything {
				return
			}
			l.after = e.number
		}
		if !l.wait(ctx, beat.C, again) {
			return
		}
	}
}

// wait waits until it is worth looking again, and keeps the stream alive.
func (l *listener) wait(ctx context.Context, beat <-chan time.Time, again <-chan struct{}) bool {
	for {
		select {
		case <-again:
			return true
		case <-beat:
			if !l.write(": alive\n\n") {
				return false
			}
		case <-ctx.Done():
			return false
		case <-l.feed.done:
			return false
		}
	}
}

// over reports whether nothing more will happen to the topic.
func (l *listener) over() bool {
	events, _ := l.feed.next(l.topic, 0)
	return l.topic != everything && len(events) > 0 && events[len(events)-1].final
}

// begin sends the head of the stream, once.
func (l *listener) begin() bool {
	if l.begun {
		return true
	}
	l.begun = true
	l.out.Header().Set("Content-Type", "text/event-stream")
	l.out.Header().Set("Cache-Control", "no-store")
	l.out.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	return l.write(fmt.Sprintf("retry: %d\n\n", reconnectAfter.Milliseconds()))
}

func (l *listener) write(text string) bool {
	if l.control.SetWriteDeadline(time.Now().Add(writeIn)) != nil {
		return false
	}
	if _, err := l.out.Write([]byte(text)); err != nil {
		return false
	}
	return l.control.Flush() == nil
}

// stream registers an operation that sends events.
func stream[In any](api huma.API, path, id, what string, handler func(context.Context, *In) (*huma.StreamResponse, error)) {
	huma.Register(api, huma.Operation{
		OperationID: id, Method: http.MethodGet, Path: base + path, Summary: what, Tags: tags(path), Errors: failures,
		Responses: map[string]*huma.Response{
			"200": {
				Description: "Events named service and recovery; the data of each is its latest state, as JSON.",
				Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
			},
			"204": {Description: "The recovery has ended, and its last event was received."},
		},
	}, handler)
}
