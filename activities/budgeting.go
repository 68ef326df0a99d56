package activities

import (
	"context"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// Kinds of budgets.
const (
	BudgetMachine = "machine"
)

// BudgetInput asks for a share of what all services may use together, or gives it back.
type BudgetInput struct {
	Kind    string `json:"kind"`
	Service string `json:"service"`
	// Key is the logical act: asked for twice, it counts once.
	Key string `json:"key"`
	// InFlight and PerDay are the site's bounds, ServicePerDay the runbook's.
	InFlight      int `json:"in_flight"`
	PerDay        int `json:"per_day"`
	ServicePerDay int `json:"service_per_day"`
	// Done gives the share in flight back; what was taken today stays taken.
	Done bool `json:"done,omitempty"`
}

// BudgetResult is the answer.
type BudgetResult struct {
	Granted bool   `json:"granted"`
	Reason  string `json:"reason,omitempty"`
	// Others are the services that hold the rest.
	Others []string `json:"others,omitempty"`
}

// TakeBudget asks whether one more machine may be made. It is idempotent for its key.
func (a *Activities) TakeBudget(ctx context.Context, in BudgetInput) (BudgetResult, error) {
	in.InFlight, in.PerDay = a.Budgets.MachinesInFlight, a.Budgets.MachinesPerDay
	result, err := a.Guards.Budget(ctx, in)
	return result, classify(err)
}

// AskGuardInput names a service.
type AskGuardInput struct {
	Service string `json:"service"`
}

// AskGuard asks a service's guard where the service runs and what it holds. It only looks.
func (a *Activities) AskGuard(ctx context.Context, in AskGuardInput) (Held, error) {
	held, err := a.Guards.Holds(ctx, in.Service)
	return held, classify(err)
}

// Held is what a guard knows and holds on to: what the sweeper must leave alone.
type Held struct {
	// Active is where the service runs.
	Active string `json:"active"`
	// Target is that place, with the address of a machine that was made; Epoch the latest.
	Target runbooks.Target `json:"target"`
	Epoch  int64           `json:"epoch"`
	// Recovering is true while a recovery or a failback moves the service.
	Recovering bool `json:"recovering,omitempty"`
	// Provisional is where the running recovery has brought the service, verified and not yet committed; nil before that.
	Provisional *runbooks.Target `json:"provisional,omitempty"`
	// DataEpoch is the epoch below whose prefix its data is written; it counts where DataKnown.
	DataEpoch int64 `json:"data_epoch,omitempty"`
	DataKnown bool  `json:"data_known,omitempty"`
	// Proofs are when tiers were proven last.
	Proofs []Proven `json:"proofs,omitempty"`
	// Running are the epochs of recoveries and drills that have not ended.
	Running []int64 `json:"running,omitempty"`
	// Machines are those on which the service runs.
	Machines []string `json:"machines,omitempty"`
	// At is when the guard said so.
	At time.Time `json:"at"`
}

// Proven is that a tier's standby gave a right answer.
type Proven struct {
	Tier string    `json:"tier"`
	At   time.Time `json:"at"`
	// Seconds until it did, from the beginning of the tier.
	Seconds float64 `json:"seconds"`
	Epoch   int64   `json:"epoch"`
	Mode    string  `json:"mode"`
}
