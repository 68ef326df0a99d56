// Package triggers is where the outside world comes in: events become messages
// to workflows.
//
// [Alerts] takes Alertmanager's webhooks, [API] answers people and programs.
// Nothing is acknowledged before the engine holds it, and whatever cannot be
// handed over is answered with 503, the one status that Alertmanager tries again.
// [Front] puts both behind the gate of package access, and what people decide
// into the log of package audit.
package triggers

import (
	"context"
	"errors"

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

// Errors of an order. What is none of them is [ErrUnsure] as well.
var (
	// ErrRefused: the workflow said no; what is wrapped around it says why, after a colon. Nothing was changed.
	ErrRefused = errors.New("refused")
	// ErrOver: no such workflow is running.
	ErrOver = errors.New("not running")
	// ErrUnsure: no answer came in time. The order may have been carried out; the same one with the same key tells.
	ErrUnsure = errors.New("no answer in time")
)

// Order is a person's decision on its way to a workflow.
type Order struct {
	Service string
	// Epoch is the recovery's; 0 where the order is for the guard.
	Epoch int64
	// Update is the name of the workflow's update, and Input its argument.
	Update string
	Input  any
	// Key makes the order one: with the same key it is answered again, and not done again.
	Key string
}

// Orders carries decisions to workflows.
type Orders interface {
	// Order waits for the answer, and decodes it. A guard that does not run is started first.
	Order(ctx context.Context, o Order, answer any) error
}
