package worker

import (
	"context"
	"fmt"
	"sync"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/log"
	sdkworker "go.temporal.io/sdk/worker"

	"github.com/understudy-dr/understudy/workflows"
)

// replayParallel histories are read at once.
const replayParallel = 8

// checkOpenWorkflows replays every open workflow of ours with this program's
// code, before any of them is touched. A mismatch would leave guards stuck in
// the middle of an outage; here it only stops the start.
func checkOpenWorkflows(ctx context.Context, e *engine, logger log.Logger) error {
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	slots := make(chan struct{}, replayParallel)
	query := fmt.Sprintf("TaskQueue = '%s' AND ExecutionStatus = 'Running'", workflows.TaskQueue)
	var page []byte
	for {
		list, err := e.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: e.namespace, Query: query, NextPageToken: page})
		if err != nil {
			return fmt.Errorf("list the open workflows: %w", err)
		}
		for _, open := range list.GetExecutions() {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				if err := replayOne(ctx, e, logger, open); err != nil {
					mu.Lock()
					defer mu.Unlock()
					if first == nil {
						first = err
					}
				}
			})
		}
		if page = list.GetNextPageToken(); len(page) == 0 {
			break
		}
	}
	wg.Wait()
	return first
}

func replayOne(ctx context.Context, e *engine, logger log.Logger, open *workflowpb.WorkflowExecutionInfo) error {
	id, run := open.GetExecution().GetWorkflowId(), open.GetExecution().GetRunId()
	events := e.client.GetWorkflowHistory(ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	history := &historypb.History{}
	decided := false
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return fmt.Errorf("read the history of %s: %w", id, err)
		}
		decided = decided || event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
		history.Events = append(history.Events, event)
	}
	if !decided {
		return nil // it has only just begun, such as a guard that continued as new: no code has run that could differ
	}
	replayer := sdkworker.NewWorkflowReplayer()
	workflows.Register(replayer)
	if err := replayer.ReplayWorkflowHistory(logger, history); err != nil {
		return fmt.Errorf("the open workflow %s does not fit this version's code: %w; start the version that began it, let it finish (understudy status), then upgrade", id, err)
	}
	return nil
}
