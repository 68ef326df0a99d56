package worker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	sdkotel "go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/log"
	sdkworker "go.temporal.io/sdk/worker"

	"github.com/understudy-dr/understudy/worker/embedded"
	"github.com/understudy-dr/understudy/workflows"
)

// dialFor is how long a cluster may take to answer at the start.
const dialFor = 30 * time.Second

// engine is the connection to Temporal, with the server in this process where
// no cluster is named.
type engine struct {
	client   client.Client
	embedded *embedded.Engine // nil with a cluster
	// namespace and address are where the client is connected to.
	namespace, address string
}

// connect starts the embedded engine, or connects to the cluster that the
// standard variables name: TEMPORAL_ADDRESS, or a profile of temporal.toml.
func connect(ctx context.Context, c Config, log_ *slog.Logger, meter metric.Meter) (*engine, error) {
	options, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{})
	if err != nil {
		return nil, fmt.Errorf("read the Temporal client's configuration: %w", err)
	}
	if options.Namespace == "" {
		options.Namespace = client.DefaultNamespace
	}
	options.Logger = log.NewStructuredLogger(log_.With("component", "sdk"))
	options.MetricsHandler = sdkotel.NewMetricsHandler(sdkotel.MetricsHandlerOptions{Meter: meter})
	options.Identity = identity()
	// Without a word on it the SDK hashes the whole program at each start, which is half of the time that a start takes.
	sdkworker.SetBinaryChecksum("understudy " + c.Version)
	e := &engine{namespace: options.Namespace}
	if !clustered(options) {
		e.embedded, err = embedded.Start(ctx, embedded.Options{
			DataDir: filepath.Join(c.Site.DataDir, "engine"), Address: c.Site.Listen.Temporal, UIAddress: c.Site.Listen.UI,
			UIWriteActions: c.Site.Listen.UIWriteActions, Namespace: options.Namespace, SearchAttributes: workflows.SearchAttributes, Logger: log_,
		})
		if err != nil {
			return nil, err
		}
		options.HostPort, options.ConnectionOptions.TLS = c.Site.Listen.Temporal, e.embedded.TLS()
	}
	e.address = options.HostPort
	if e.client, err = dial(ctx, options); err != nil {
		e.close()
		return nil, fmt.Errorf("connect to Temporal at %s: %w", options.HostPort, err)
	}
	return e, nil
}

// clustered reports whether the environment names a cluster.
func clustered(options client.Options) bool {
	return options.HostPort != "" && (os.Getenv("TEMPORAL_ADDRESS") != "" || os.Getenv("TEMPORAL_PROFILE") != "" || options.HostPort != client.DefaultHostPort)
}

// dial tries until the cluster answers or the time is over.
func dial(ctx context.Context, options client.Options) (client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialFor)
	defer cancel()
	for {
		c, err := client.DialContext(ctx, options)
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (e *engine) close() error {
	if e.client != nil {
		e.client.Close()
	}
	if e.embedded != nil {
		return e.embedded.Stop()
	}
	return nil
}

// identity is what the Temporal UI shows beside each task.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("understudy@%s (%d)", host, os.Getpid())
}
