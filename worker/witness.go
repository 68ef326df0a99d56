package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/probe/httpprobe"
	"github.com/understudy-dr/understudy/activities/probe/tcpprobe"
	probewitness "github.com/understudy-dr/understudy/activities/probe/witness"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/witness"
)

// WitnessConfig is what a witness needs.
type WitnessConfig struct {
	// Listen is where it answers, as host:port.
	Listen string
	// Key is the one that the site file names for this witness.
	Key runbooks.Secret
	// Runbooks and URLs say what may be looked at: all that the runbooks name, and these base URLs.
	Runbooks, URLs []string
	Log            *slog.Logger
	// Ready is called once it answers, with its address.
	Ready func(address string)
}

// Witness looks at services for others until the context ends.
func Witness(ctx context.Context, c WitnessConfig) error {
	allowed, err := witnessTargets(c)
	if err != nil {
		return err
	}
	key, err := secrets.Resolve(c.Key)
	if err != nil {
		return fmt.Errorf("the witness's key: %w", err)
	}
	handler, err := probewitness.Handler(probewitness.Serving{Key: []byte(key), Allowed: allowed, Prober: probe.ByKind(httpprobe.New(), tcpprobe.New())})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; stop what uses the port, or choose another one with --listen", c.Listen, err)
	}
	c.Log.Info("the witness is ready", "address", listener.Addr().String())
	if c.Ready != nil {
		c.Ready(listener.Addr().String())
	}
	return witness.Serve(ctx, witness.Config{Listener: listener, Handler: handler, Log: c.Log})
}

func witnessTargets(c WitnessConfig) (func(string) bool, error) {
	listed, err := witness.Listed(c.URLs...)
	if err != nil {
		return nil, err
	}
	named := witness.Targets{}
	if len(c.Runbooks) > 0 {
		library, problems := runbooks.LoadLibrary(c.Runbooks...)
		if err := problems.Err(); err != nil {
			return nil, fmt.Errorf("runbooks cannot be used:\n%w", err)
		}
		named = witness.Of(library)
	}
	if listed.Empty() && named.Empty() {
		return nil, errors.New("nothing may be looked at: name runbooks (--runbooks), or base URLs (--allow)")
	}
	return func(url string) bool { return listed.Allow(url) || named.Allow(url) }, nil
}
