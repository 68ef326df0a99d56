package worker

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// stuckAttempts of one workflow task mean that the guard's own code fails.
const stuckAttempts = 3

// guards is the way to the workflows, for triggers and activities alike.
type guards struct {
	client    client.Client
	namespace string
	ui        string
}

var (
	_ triggers.Guards   = (*guards)(nil)
	_ activities.Guards = (*guards)(nil)
)

func (g *guards) options(service string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       workflows.GuardID(service),
		TaskQueue:                workflows.TaskQueue,
		WorkflowTaskTimeout:      workflows.TaskTimeout,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "guards " + service,
	}
}

// Start starts a service's guard where none runs.
func (g *guards) Start(ctx context.Context, service string) error {
	_, err := g.client.ExecuteWorkflow(ctx, g.options(service), workflows.Guard, workflows.GuardInput{Service: service})
	return err
}

// Alert hands alerts to a guard; when it returns, the engine holds them.
func (g *guards) Alert(ctx context.Context, service string, signal workflows.AlertSignal) error {
	_, err := g.client.SignalWithStartWorkflow(ctx, workflows.GuardID(service), workflows.AlertSignalName, signal,
		g.options(service), workflows.Guard, workflows.GuardInput{Service: service})
	return err
}

// State asks a guard for what it knows.
func (g *guards) State(ctx context.Context, service string) (state workflows.GuardState, err error) {
	value, err := g.client.QueryWorkflow(ctx, workflows.GuardID(service), "", workflows.StateQueryName)
	if err != nil {
		return state, err
	}
	return state, value.Get(&state)
}

// Progress asks a recovery how far it is.
func (g *guards) Progress(ctx context.Context, service string, epoch int64) (report workflows.Report, err error) {
	value, err := g.client.QueryWorkflow(ctx, workflows.RecoveryID(service, epoch), "", workflows.ProgressQueryName)
	if err != nil {
		return report, err
	}
	return report, value.Get(&report)
}

// Stuck says why a guard does not take its messages.
func (g *guards) Stuck(ctx context.Context, service string) (string, error) {
	described, err := g.client.DescribeWorkflowExecution(ctx, workflows.GuardID(service), "")
	if err != nil {
		return "", err
	}
	task := described.GetPendingWorkflowTask()
	switch {
	case described.GetWorkflowExecutionInfo().GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
		return fmt.Sprintf("its guard is not running (%s)", described.GetWorkflowExecutionInfo().GetStatus()), nil
	case task.GetAttempt() > stuckAttempts:
		return fmt.Sprintf("its guard's task has failed %d times; look at %s in the Temporal UI", task.GetAttempt()-1, workflows.GuardID(service)), nil
	default:
		return "", nil
	}
}

// May asks the guard whether an effect of this epoch may still be carried out.
func (g *guards) May(ctx context.Context, service string, epoch int64) error {
	state, err := g.State(ctx, service)
	if err != nil {
		return fmt.Errorf("ask the guard of %s: %w", service, err)
	}
	if state.Running != nil || state.Epoch != epoch {
		return fmt.Errorf("epoch %d of %s: %w", epoch, service, activities.ErrSuperseded)
	}
	return nil
}

// Running reports how a recovery stands.
func (g *guards) Running(ctx context.Context, service string, epoch int64) (activities.RecoveryStatus, error) {
	id := workflows.RecoveryID(service, epoch)
	described, err := g.client.DescribeWorkflowExecution(ctx, id, "")
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return activities.RecoveryStatus{}, nil
	}
	if err != nil {
		return activities.RecoveryStatus{}, err
	}
	switch described.GetWorkflowExecutionInfo().GetStatus() {
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
		return activities.RecoveryStatus{Running: true}, nil
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		var result activities.RecoveryResult
		if err := g.client.GetWorkflow(ctx, id, "").Get(ctx, &result); err != nil {
			return activities.RecoveryStatus{}, err
		}
		return activities.RecoveryStatus{Result: &result}, nil
	default:
		return activities.RecoveryStatus{}, nil
	}
}

// Terminate ends a recovery that does not end itself.
func (g *guards) Terminate(ctx context.Context, service string, epoch int64, reason string) error {
	err := g.client.TerminateWorkflow(ctx, workflows.RecoveryID(service, epoch), "", reason)
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return nil // it has ended already
	}
	return err
}

// Announce hands news to an announcement, starting it where needed. One that
// has ended has told its last news: what is handed over again is known there.
func (g *guards) Announce(ctx context.Context, in activities.AnnounceInput) error {
	id := workflows.AnnouncementID(in.Service, in.Story)
	_, err := g.client.SignalWithStartWorkflow(ctx, id, workflows.NewsSignalName, in, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.TaskQueue, WorkflowTaskTimeout: workflows.TaskTimeout, StaticSummary: "tells people of " + in.Service,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
	}, workflows.Announcement, workflows.AnnouncementInput{Service: in.Service, Story: in.Story})
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return nil
	}
	return err
}

// Link leads to a workflow in the Temporal UI.
func (g *guards) Link(workflowID string) string {
	return fmt.Sprintf("%s/namespaces/%s/workflows/%s", g.ui, url.PathEscape(g.namespace), url.PathEscape(workflowID))
}
