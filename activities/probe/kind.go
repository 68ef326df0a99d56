package probe

import (
	"context"
	"time"
)

// DefaultTimeout is how long an answer may take where the health check names no time.
const DefaultTimeout = 400 * time.Millisecond

// ByKind asks with the prober of the health check's kind; no kind means http.
func ByKind(http, tcp Prober) Prober { return byKind{http: http, tcp: tcp} }

type byKind struct{ http, tcp Prober }

var _ Prober = byKind{}

func (k byKind) Probe(ctx context.Context, r Request) Result {
	switch r.Health.Kind {
	case "", "http":
		return k.http.Probe(ctx, r)
	case "tcp":
		return k.tcp.Probe(ctx, r)
	default:
		return CouldNot("health.kind " + r.Health.Kind + " is not known; it is http or tcp")
	}
}
