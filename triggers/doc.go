// Package triggers is where the outside world comes in: events become messages
// to workflows.
//
// [Alerts] takes Alertmanager's webhooks, [API] answers people and programs.
// Nothing is acknowledged before the engine holds it, and whatever cannot be
// handed over is answered with 503, the one status that Alertmanager tries again.
package triggers

import (
	"context"

	"github.com/understudy-dr/understudy/workflows"
)

// Guards is the way to the workflows.
type Guards interface {
	// Alert hands alerts to a service's guard, starting it where needed. When it returns, the engine holds them.
	Alert(ctx context.Context, service string, signal workflows.AlertSignal) error
	// State asks a guard for what it knows.
	State(ctx context.Context, service string) (workflows.GuardState, error)
	// Progress asks a recovery how far it is; it also answers for one that has ended, as long as the engine keeps it.
	Progress(ctx context.Context, service string, epoch int64) (workflows.Report, error)
	// Stuck says why a guard does not take its messages; empty where it does.
	Stuck(ctx context.Context, service string) (string, error)
}
