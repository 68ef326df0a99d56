package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/understudy-dr/understudy/triggers"
)

// httpServer is the one port of Understudy: alerts, API, health, metrics.
type httpServer struct {
	server *http.Server
	// ready is false before everything answers, and again once the end has begun: then alerts get 503, and
	// Alertmanager sends them again.
	ready  atomic.Bool
	failed chan error
}

// listen opens the port, so that a taken one is known before anything starts.
func listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen.api %q: write host:port", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("listen.api %s is not loopback, and nobody would have to log in; put a proxy with authentication before 127.0.0.1", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for alerts and the API (listen.api): %w; stop what uses the port, or choose another one", address, err)
	}
	return l, nil
}

func newHTTPServer(alerts *triggers.Alerts, api triggers.APIConfig, registry *prometheus.Registry, log *slog.Logger) *httpServer {
	s := &httpServer{failed: make(chan error, 1)}
	mux := http.NewServeMux()
	mux.Handle("POST /api/v1/alerts", s.whenReady(alerts))
	api.Mount(mux)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.Handle("GET /readyz", s.whenReady(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ready") })))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	s.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return s
}

func (s *httpServer) whenReady(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.ready.Load() {
			http.Error(w, "Understudy is starting or stopping; try again", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *httpServer) serve(l net.Listener) {
	go func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve the API: %w", err)
		}
	}()
}

// drain refuses new alerts and waits for those that are being handed over.
func (s *httpServer) drain() error {
	s.ready.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.server.Shutdown(ctx)
}
