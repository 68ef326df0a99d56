package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/triggers/audit"
	"github.com/understudy-dr/understudy/triggers/console"
)

// drainIn bounds how long requests may take to end when Understudy stops.
const drainIn = 5 * time.Second

// door is the open port with the gate behind it. It is opened first of all, so
// that a taken port and a wrong web config file are known before anything starts.
type door struct {
	net.Listener
	gate  *access.Gate
	audit *audit.Log
}

// open refuses an address beyond loopback where nobody would have to log in.
func open(site runbooks.Site, log *slog.Logger, metrics prometheus.Registerer) (*door, error) {
	address := site.Listen.API
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("listen.api %q: write host:port", address)
	}
	d := &door{}
	var err error
	if d.audit, err = audit.Open(filepath.Join(site.DataDir, "audit.log"), log); err != nil {
		return nil, err
	}
	d.gate, err = access.New(access.Options{
		Address: address, WebConfig: site.Listen.WebConfig, Console: site.Links.Console, Users: site.Users, Open: triggers.OpenPaths, Ingest: triggers.IngestPaths,
		DataDir: site.DataDir, Refused: triggers.Turned(d.audit), Log: log, Metrics: metrics,
	})
	if err != nil {
		return nil, errors.Join(err, d.audit.Close())
	}
	if d.Listener, err = net.Listen("tcp", address); err != nil {
		err = fmt.Errorf("listen on %s for alerts and the API (listen.api): %w; stop what uses the port, or choose another one", address, err)
		return nil, errors.Join(err, d.audit.Close())
	}
	return d, nil
}

// Close closes the port and the audit log.
func (d *door) Close() error {
	err := d.Listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // the server has closed it
	}
	return errors.Join(err, d.audit.Close())
}

// httpServer is the one port of Understudy: alerts, API, health, metrics.
type httpServer struct {
	server *http.Server
	api    *triggers.API
	secure bool
	// ready is false before everything answers, and again once the end has begun: then alerts get 503, and
	// Alertmanager sends them again.
	ready  atomic.Bool
	failed chan error
}

func newHTTPServer(d *door, alerts *triggers.Alerts, api *triggers.API, clicks http.Handler, registry *prometheus.Registry, log *slog.Logger) (*httpServer, error) {
	s := &httpServer{api: api, failed: make(chan error, 1)}
	front := triggers.Front{Gate: d.gate, Alerts: alerts, API: s.api, Clicks: clicks, Metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), Ready: s.ready.Load}
	front.Console = console.New(console.Config{API: api, Library: api.Library, Token: d.gate.Token, Version: api.Version, Log: log})
	s.server = &http.Server{
		Handler:           front.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	var err error
	s.secure, err = d.gate.Secure(s.server)
	return s, err
}

// scheme is how people reach the port.
func (s *httpServer) scheme() string {
	if s.secure {
		return "https"
	}
	return "http"
}

func (s *httpServer) serve(l net.Listener) {
	serve := s.server.Serve
	if s.secure {
		serve = func(l net.Listener) error { return s.server.ServeTLS(l, "", "") }
	}
	go func() {
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve the API: %w", err)
		}
	}()
}

// drain refuses new alerts and orders, ends the event streams, and waits for
// what is being handed over.
func (s *httpServer) drain() error {
	s.ready.Store(false)
	s.api.Close()
	ctx, cancel := context.WithTimeout(context.Background(), drainIn)
	defer cancel()
	return s.server.Shutdown(ctx)
}
