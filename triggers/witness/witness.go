// Package witness is the other machine: a tiny server that looks at services
// when Understudy asks, because from one place a dead instance and a dead network
// look the same.
//
// What is asked and answered, the signatures and the protection against questions
// that are played again are those of the probe package witness, whose handler is
// put in here. This package says what may be looked at, so that a witness is no
// help to anybody who wants to look around in its network, and serves with bounds.
package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	// AtOnce is how many questions are answered at once; each is one look.
	AtOnce = 64
	// lookMost is longer than the longest look that a handler allows: two tries of 30 s.
	lookMost = 70 * time.Second
	// stopWithin is how long questions may be answered after the end has begun.
	stopWithin = 5 * time.Second
)

// Config is what a witness serves.
type Config struct {
	// Listener is where it answers. It is closed at the end.
	Listener net.Listener
	// Handler answers questions: that of the probe package witness.
	Handler http.Handler
	Log     *slog.Logger
}

// Serve answers until the context ends. What is more than AtOnce is told to come
// again, which the one who asks takes for a witness that cannot look.
func Serve(ctx context.Context, c Config) error {
	mux := http.NewServeMux()
	mux.Handle("POST /probe", bounded(c.Handler))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      lookMost,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(c.Listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve the witness: %w", err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	err := server.Shutdown(ending)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close() // who asked takes it for a witness that cannot look
	}
	return err
}

func bounded(next http.Handler) http.Handler {
	slots := make(chan struct{}, AtOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		default:
			http.Error(w, "too many questions at once", http.StatusServiceUnavailable)
		}
	})
}
