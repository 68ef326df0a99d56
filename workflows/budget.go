package workflows

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
)

const (
	// budgetForgets is after how long a share in flight that nobody gave back is free again: no recovery makes machines
	// for longer, and one that was terminated gives nothing back.
	budgetForgets = 2 * time.Hour
	// budgetDay is the window of the bounds per day.
	budgetDay = 24 * time.Hour
	// budgetMessages is how many requests a run of the budget takes before it continues as new.
	budgetMessages = 1000
)

// BudgetState is what all services hold of what they share.
type BudgetState struct {
	Taken []Taken `json:"taken,omitempty"`
}

// Taken is one share.
type Taken struct {
	Kind    string    `json:"kind"`
	Service string    `json:"service"`
	Key     string    `json:"key"`
	At      time.Time `json:"at"`
	// Done is set once the share in flight was given back; it still counts for the day.
	Done bool `json:"done,omitempty"`
}

// take decides about one request and takes note of it. It is pure but for the
// state, and idempotent for the request's key.
func (s *BudgetState) take(in activities.BudgetInput, now time.Time) activities.BudgetResult {
	s.Taken = slices.DeleteFunc(s.Taken, func(t Taken) bool { return now.Sub(t.At) >= budgetDay })
	known := slices.IndexFunc(s.Taken, func(t Taken) bool { return t.Kind == in.Kind && t.Key == in.Key })
	switch {
	case in.Done:
		if known >= 0 {
			s.Taken[known].Done = true
		}
		return activities.BudgetResult{Granted: true}
	case known >= 0:
		return activities.BudgetResult{Granted: true, Reason: "it was granted before"}
	}
	var result activities.BudgetResult
	flying, today, ours := 0, 0, 0
	for _, t := range s.Taken {
		if t.Kind != in.Kind {
			continue
		}
		today++
		if t.Service == in.Service {
			ours++
		}
		if !t.Done && now.Sub(t.At) < budgetForgets {
			flying++
			result.Others = appendNew(result.Others, t.Service)
		}
	}
	switch {
	case in.ServicePerDay > 0 && ours >= in.ServicePerDay:
		result.Reason = fmt.Sprintf("%d made for %s within 24 h; policy.limits.per_day allows %d", ours, in.Service, in.ServicePerDay)
	case in.PerDay > 0 && today >= in.PerDay:
		result.Reason = fmt.Sprintf("%d made within 24 h; budgets.machines_per_day allows %d", today, in.PerDay)
	case in.InFlight > 0 && flying >= in.InFlight:
		result.Reason = fmt.Sprintf("%d are in the making, for %s; budgets.machines_in_flight allows %d: so many at once may have one cause", flying, join(result.Others), in.InFlight)
	default:
		s.Taken = append(s.Taken, Taken{Kind: in.Kind, Service: in.Service, Key: in.Key, At: now})
		return activities.BudgetResult{Granted: true}
	}
	return result
}

// Budget keeps what all services may use together: machines in the making, and
// machines a day. There is one for all.
func Budget(ctx workflow.Context, state BudgetState) error {
	messages := 0
	err := workflow.SetUpdateHandlerWithOptions(ctx, TakeUpdateName, func(ctx workflow.Context, in activities.BudgetInput) (activities.BudgetResult, error) {
		messages++
		return state.take(in, workflow.Now(ctx)), nil
	}, workflow.UpdateHandlerOptions{Validator: func(in activities.BudgetInput) error {
		if in.Kind == "" || in.Service == "" || in.Key == "" {
			return errors.New("a request of the budget needs kind, service and key")
		}
		return nil
	}})
	err = errors.Join(err, workflow.SetQueryHandler(ctx, StateQueryName, func() (BudgetState, error) { return state, nil }))
	if err != nil {
		return err
	}
	if err := workflow.Await(ctx, func() bool {
		return (messages >= budgetMessages || workflow.GetInfo(ctx).GetContinueAsNewSuggested()) && workflow.AllHandlersFinished(ctx)
	}); err != nil {
		return err
	}
	return workflow.NewContinueAsNewError(ctx, Budget, state)
}
