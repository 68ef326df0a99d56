// Package fence makes sure that a failed instance can do no harm, and confirms
// it from outside.
//
// A fence is a command or an HTTP request of the runbook; what it claims is not
// believed, only what the confirmation sees. There is one implementation, New,
// because both kinds are a few lines and share the confirmation.
package fence

import (
	"context"
	"errors"

	"github.com/understudy-dr/understudy/runbooks"
)

var (
	// ErrFailed means that the command or request failed. The instance may still be alive.
	ErrFailed = errors.New("fence failed")
	// ErrUnconfirmed means that the command or request claims success, and the confirmation does not see it.
	ErrUnconfirmed = errors.New("fence not confirmed")
)

// Order is one fence to set on one instance.
type Order struct {
	Fence runbooks.Fence
	// Target is the instance; a confirmation without an address of its own looks there.
	Target runbooks.Target
	Health runbooks.Health
	// Env is handed to commands: UNDERSTUDY_SERVICE, UNDERSTUDY_EPOCH, UNDERSTUDY_TARGET, UNDERSTUDY_KEY.
	Env map[string]string
}

// Outcome is what is known afterwards.
type Outcome struct {
	// Confirmed says what the confirmation saw, such as "10.0.0.1:7860 refuses connections"; empty where the
	// fence has no confirmation.
	Confirmed string `json:"confirmed,omitempty"`
	// Before is true where the confirmation already held before the fence was set, so nothing was done.
	Before bool `json:"before,omitempty"`
}

// Fencer sets fences.
type Fencer interface {
	// Set looks at the confirmation first and does nothing where it already holds; else it carries out the fence
	// and waits for the confirmation. An instance that cannot be reached is confirmed only by a fence that
	// succeeded: before it, or where it failed, the instance must refuse. Set blocks up to the fence's timeout plus
	// that of the confirmation and a few looks. It may run twice: a runbook's command must bear that. Errors wrap
	// ErrFailed or ErrUnconfirmed and quote the last 500 characters of what a command or server said; where the
	// context ended first, they wrap its error instead.
	Set(ctx context.Context, o Order) (Outcome, error)
}
