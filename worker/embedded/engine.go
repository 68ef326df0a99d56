// Package embedded runs a Temporal server and its web UI inside this program,
// on one SQLite file: the engine of an Understudy that stands on one machine.
//
// The file survives a power cut (write-ahead log, full synchronisation, both
// read back at the start), belongs to one process at a time, and is refused
// when another server version wrote it, because the server neither migrates nor
// checks. Every port of the engine takes only clients that hold the key in the
// data directory.
package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/headers"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
)

// Retention is how long the engine keeps closed workflows: a recovery can be
// read for a year in the web UI. Reports are kept for ever.
const Retention = 365 * 24 * time.Hour

// ServerVersion is the version of the Temporal server in this program.
const ServerVersion = headers.ServerVersion

// Options say where the engine lives.
type Options struct {
	// DataDir holds the engine's file, its keys and its lock.
	DataDir string
	// Address is host:port of the gRPC front end; the host is a numeric IP. The three ports above it are the
	// engine's own.
	Address string
	// UIAddress is host:port of the web UI; empty runs none.
	UIAddress string
	// UIWriteActions lets people cancel and terminate workflows in the web UI.
	UIWriteActions bool
	Namespace      string
	// SearchAttributes are registered with a new file. EnsureNamespace in package worker adds them to an old one.
	SearchAttributes map[string]enumspb.IndexedValueType
	Logger           *slog.Logger
}

// Engine is a running server.
type Engine struct {
	server temporal.Server
	ui     *ui
	lock   *lock
	keys   *keys
	opts   Options
}

// Start starts the engine and returns when it answers. It fails, without
// having changed anything, where the directory is in use, a port is taken, or
// the file was written by another server version.
func Start(ctx context.Context, opts Options) (*Engine, error) {
	if err := os.MkdirAll(opts.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	held, err := acquire(opts.DataDir)
	if err != nil {
		return nil, err
	}
	e := &Engine{lock: held, opts: opts}
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return e, nil
}

func (e *Engine) start(ctx context.Context) error {
	host, port, err := splitAddress(e.opts.Address)
	if err != nil {
		return err
	}
	if err := portsFree(host, port, e.opts.UIAddress); err != nil {
		return err
	}
	if e.keys, err = openKeys(filepath.Join(e.opts.DataDir, "tls"), host); err != nil {
		return err
	}
	config := serverConfig(host, port)
	if err := prepareFile(e.opts, config); err != nil {
		return err
	}
	hosts := map[primitives.ServiceName]static.Hosts{}
	for offset, service := range services {
		hosts[service] = static.SingleLocalHost(net.JoinHostPort(host, strconv.Itoa(port+offset)))
	}
	server, err := temporal.NewServer(
		temporal.WithConfig(config),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(newLogger(e.opts.Logger)),
		temporal.WithDynamicConfigClient(dynamicConfig()),
		temporal.WithTLSConfigFactory(e.keys),
		temporal.WithCustomMetricsHandler(metrics.NoopMetricsHandler),
	)
	if err != nil {
		return fmt.Errorf("make the embedded Temporal server: %w", err)
	}
	e.server = server
	if err := server.Start(); err != nil {
		return fmt.Errorf("start the embedded Temporal server: %w", err)
	}
	if e.opts.UIAddress != "" {
		if e.ui, err = startUI(ctx, e.opts, e.keys); err != nil {
			return err
		}
	}
	return nil
}

// TLS is what a client needs to be let in.
func (e *Engine) TLS() *tls.Config { return e.keys.client() }

// Stop ends the engine: nothing that was acknowledged is lost.
func (e *Engine) Stop() error {
	var errs []error
	if e.ui != nil {
		e.ui.stop()
	}
	if e.server != nil {
		errs = append(errs, e.server.Stop())
	}
	return errors.Join(append(errs, e.lock.release())...)
}

// services maps the offset from the front end's port to the service behind it.
var services = []primitives.ServiceName{
	primitives.FrontendService, primitives.HistoryService, primitives.MatchingService, primitives.WorkerService,
}

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || net.ParseIP(host) == nil || port == 0 {
		return "", 0, fmt.Errorf("engine address %q: write a numeric IP and a port, such as 127.0.0.1:7233", address)
	}
	return host, port, nil
}

// portsFree looks at every port first: the server and its UI end the whole
// program when one is taken.
func portsFree(host string, port int, uiAddress string) error {
	addresses := map[string]string{}
	for offset, service := range services {
		addresses[net.JoinHostPort(host, strconv.Itoa(port+offset))] = "Temporal's " + string(service) + " service (listen.temporal and the three ports above it)"
	}
	if uiAddress != "" {
		addresses[uiAddress] = "the Temporal UI (listen.ui)"
	}
	var errs []error
	for address, owner := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			errs = append(errs, fmt.Errorf("port %s is needed by %s: %w; stop what uses it, or choose another port in the site file", address, owner, err))
			continue
		}
		l.Close()
	}
	return errors.Join(errs...)
}
