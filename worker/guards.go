package worker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
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
	library   func() *runbooks.Library
	// moved is told when a service may run elsewhere than before; nil where nobody cares.
	moved func(service string)
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

// Budget asks the budget of all services, starting it where needed.
func (g *guards) Budget(ctx context.Context, in activities.BudgetInput) (result activities.BudgetResult, err error) {
	start := g.client.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID: workflows.BudgetID, TaskQueue: workflows.TaskQueue, WorkflowTaskTimeout: workflows.TaskTimeout, StaticSummary: "what all services share",
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, workflows.Budget, workflows.BudgetState{})
	handle, err := g.client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			WorkflowID: workflows.BudgetID, UpdateName: workflows.TakeUpdateName, Args: []any{in}, WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return result, fmt.Errorf("ask the budget: %w", err)
	}
	return result, handle.Get(ctx, &result)
}

// Holds tells what a service's guard holds on to.
func (g *guards) Holds(ctx context.Context, service string) (activities.Held, error) {
	state, err := g.State(ctx, service)
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return activities.Held{At: time.Now(), Active: runbooks.PrimaryName}, nil
	}
	if err != nil {
		return activities.Held{}, fmt.Errorf("ask the guard of %s: %w", service, err)
	}
	held := activities.Held{At: time.Now(), Active: state.Active, DataEpoch: state.DataEpoch, DataKnown: state.DataKnown, Proofs: state.Proofs}
	if g.library != nil {
		if r, ok := g.library().Lookup(service); ok {
			held.Target, _ = state.Target(r)
		}
	}
	held.Epoch = state.Epoch
	held.Recovering = state.Running != nil && state.Running.Mode != workflows.ModeDrill
	if held.Recovering {
		held.Provisional = g.provisional(ctx, service, state.Running.Epoch)
	}
	if state.Running != nil {
		held.Running = append(held.Running, state.Running.Epoch)
	}
	if state.Made != nil {
		held.Machines = append(held.Machines, state.Made.Machine.ID)
	}
	return held, nil
}

// Drill asks a guard for a drill; the key is the update's id, so that a repeated request is answered again.
func (g *guards) Drill(ctx context.Context, in activities.AskDrillInput) (activities.AskDrillResult, error) {
	handle, err := g.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: workflows.GuardID(in.Service), UpdateID: in.Key, UpdateName: workflows.DrillUpdateName, WaitForStage: client.WorkflowUpdateStageCompleted,
		Args: []any{workflows.DrillUpdate{By: "the schedule", Reason: "scheduled", Tiers: in.Tiers, Scheduled: true}},
	})
	if err != nil {
		return activities.AskDrillResult{}, fmt.Errorf("ask the guard of %s: %w", in.Service, err)
	}
	var answer workflows.RecoverAnswer
	if err := handle.Get(ctx, &answer); err != nil {
		return activities.AskDrillResult{}, err
	}
	return activities.AskDrillResult{Started: answer.Started, Epoch: answer.Epoch, Reason: answer.Reason}, nil
}

// StartBatch starts the workflow of a job, or finds that it runs.
func (g *guards) StartBatch(ctx context.Context, in activities.StartBatchInput) error {
	_, err := g.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: workflows.BatchID(in.Service, in.Job), TaskQueue: workflows.BatchQueue, StaticSummary: "batch " + in.Job + " of " + in.Service,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, workflows.Batch, workflows.BatchInput{Service: in.Service, Job: in.Job, Takeover: in.Takeover})
	if err != nil {
		return fmt.Errorf("start batch %s of %s: %w", in.Job, in.Service, err)
	}
	return nil
}

// AtWork lists the batches of a service that have something in flight, or may:
// one that does not say is taken for one at work.
func (g *guards) AtWork(ctx context.Context, service string) (all []string, err error) {
	query := fmt.Sprintf("TaskQueue = '%s' AND ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '%s'", workflows.BatchQueue, workflows.BatchID(service, ""))
	var page []byte
	for {
		list, err := g.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: g.namespace, Query: query, NextPageToken: page})
		if err != nil {
			return nil, fmt.Errorf("list the batches of %s: %w", service, err)
		}
		for _, open := range list.GetExecutions() {
			id := open.GetExecution().GetWorkflowId()
			var state workflows.BatchState
			answer, err := g.client.QueryWorkflow(ctx, id, "", workflows.ProgressQueryName)
			if err == nil {
				err = answer.Get(&state)
			}
			if err != nil || state.Waits == "" {
				all = append(all, strings.TrimPrefix(id, workflows.BatchID(service, "")))
			}
		}
		if page = list.GetNextPageToken(); len(page) == 0 {
			return all, nil
		}
	}
}

// Booting tells a recovery where the boot of its machine is. One that has ended
// needs to know no more.
func (g *guards) Booting(ctx context.Context, in activities.BootNews) error {
	err := g.client.SignalWorkflow(ctx, in.Recovery, in.Run, workflows.BootSignalName, in)
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return nil
	}
	return err
}

// Announce hands news to an announcement, starting it where needed. One that
// has ended has told its last news: what is handed over again is known there.
func (g *guards) Announce(ctx context.Context, in activities.AnnounceInput) error {
	if in.Final && g.moved != nil && !strings.HasPrefix(in.Story, workflows.ReadinessStory) {
		g.moved(in.Service)
	}
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

// Changed lets a service's readiness be looked at anew, soon.
func (g *guards) Changed(ctx context.Context, service string) error {
	return g.client.SignalWorkflow(ctx, workflows.ReadinessID(service), "", workflows.ChangedSignalName, nil)
}

// Link leads to a workflow in the Temporal UI.
func (g *guards) Link(workflowID string) string {
	return fmt.Sprintf("%s/namespaces/%s/workflows/%s", g.ui, url.PathEscape(g.namespace), url.PathEscape(workflowID))
}
