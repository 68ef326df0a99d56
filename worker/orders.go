package worker

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

var _ triggers.Orders = (*guards)(nil)

// Order hands a person's decision to a guard, which is started where none runs,
// or to a recovery. The key is the update's id: the engine, and a guard across
// its runs, answer a repeated one again.
func (g *guards) Order(ctx context.Context, o triggers.Order, answer any) error {
	update := client.UpdateWorkflowOptions{
		UpdateID: o.Key, UpdateName: o.Update, Args: []any{o.Input}, WaitForStage: client.WorkflowUpdateStageCompleted,
	}
	handle, err := g.send(ctx, o, update)
	if err == nil {
		err = handle.Get(ctx, answer)
	}
	var said *temporal.ApplicationError
	var gone *serviceerror.NotFound
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		return fmt.Errorf("%w: %s", triggers.ErrRefused, said.Message())
	case errors.As(err, &gone):
		return fmt.Errorf("%w: %s", triggers.ErrOver, gone.Message)
	default:
		return fmt.Errorf("%w: %w", triggers.ErrUnsure, err)
	}
}

func (g *guards) send(ctx context.Context, o triggers.Order, update client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	if o.Epoch != 0 {
		update.WorkflowID = workflows.RecoveryID(o.Service, o.Epoch)
		return g.client.UpdateWorkflow(ctx, update)
	}
	start := g.client.NewWithStartWorkflowOperation(g.options(o.Service), workflows.Guard, workflows.GuardInput{Service: o.Service})
	update.WorkflowID = workflows.GuardID(o.Service)
	return g.client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{StartWorkflowOperation: start, UpdateOptions: update})
}

var _ triggers.Lookouts = (*guards)(nil)

// Readiness returns what is known of a service's standbys; with now, it looks first.
func (g *guards) Readiness(ctx context.Context, service string, now bool) (s workflows.ReadinessState, err error) {
	id := workflows.ReadinessID(service)
	if !now {
		value, err := g.client.QueryWorkflow(ctx, id, "", workflows.StateQueryName)
		if err != nil {
			return s, err
		}
		return s, value.Get(&s)
	}
	handle, err := g.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: id, UpdateName: workflows.LookUpdateName, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return s, err
	}
	return s, handle.Get(ctx, &s)
}
