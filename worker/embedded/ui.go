package embedded

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"time"

	"github.com/temporalio/ui-server/v2/server"
	"github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/server_options"
)

// ui is the Temporal web UI: the audit of past recoveries, to look at.
type ui struct{ server *server.Server }

// startUI starts the UI and returns when it answers.
func startUI(ctx context.Context, opts Options, k *keys) (*ui, error) {
	host, port, err := splitAddress(opts.UIAddress)
	if err != nil {
		return nil, err
	}
	// The UI tells how it loaded its key, on the program's own log.
	stdlog.SetOutput(io.Discard)
	u := &ui{server.NewServer(server_options.WithConfigProvider(&config.Config{
		Host:                host,
		Port:                port,
		TemporalGRPCAddress: opts.Address,
		DefaultNamespace:    opts.Namespace,
		EnableUI:            true,
		DisableNewsFetch:    true,
		HideLogs:            true,
		DisableWriteActions: !opts.UIWriteActions,
		CORS:                config.CORS{CookieInsecure: true},
		TLS: config.TLS{
			CaData:                 base64.StdEncoding.EncodeToString(k.cert),
			CertData:               base64.StdEncoding.EncodeToString(k.cert),
			KeyData:                base64.StdEncoding.EncodeToString(k.key),
			ServerName:             serverName,
			EnableHostVerification: true,
		},
	}))}
	failed := make(chan error, 1)
	go func() { failed <- u.server.Start() }()
	if err := awaitUI(ctx, net.JoinHostPort(host, fmt.Sprint(port)), failed); err != nil {
		return nil, fmt.Errorf("start the Temporal UI: %w", err)
	}
	return u, nil
}

func awaitUI(ctx context.Context, address string, failed <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
			return nil
		}
		select {
		case err := <-failed:
			return fmt.Errorf("it ended at once: %v", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (u *ui) stop() { u.server.Stop() }
