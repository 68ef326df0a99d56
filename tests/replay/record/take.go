package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/understudy-dr/understudy/tests/replay"
)

// record plays one scene and returns the names of the files that it left.
func record(ctx context.Context, out string, s scene) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, sceneFor)
	defer cancel()
	// The path of HAProxy's socket must stay short.
	dir, err := os.MkdirTemp("", "record-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	p, err := set(ctx, dir, s)
	if err != nil {
		return nil, err
	}
	defer p.end()
	s.act(p)
	if p.err != nil {
		return nil, fmt.Errorf("%w\nunderstudy's log:\n%s", p.err, p.Understudy.Tail(4000))
	}
	taken, err := take(ctx, p.engine)
	if err != nil {
		return nil, err
	}
	return keep(out, s, taken)
}

// forever are the workflows that never end.
var forever = []string{"Guard", "Budget", "Readiness", "Watchdog"}

// take reads the histories of all workflows, the oldest first, once all of them
// are whole. The engine lists what happens a moment later than it happens.
func take(ctx context.Context, c client.Client) (taken []*historypb.History, err error) {
	err = until(ctx, func(ctx context.Context) error {
		list, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000})
		if err != nil {
			return err
		}
		taken = nil
		for _, one := range list.GetExecutions() {
			h, err := read(ctx, c, one.GetExecution())
			if err != nil {
				return err
			}
			taken = append(taken, h)
		}
		return whole(taken)
	})
	slices.SortFunc(taken, func(a, b *historypb.History) int {
		return a.GetEvents()[0].GetEventTime().AsTime().Compare(b.GetEvents()[0].GetEventTime().AsTime())
	})
	return taken, err
}

func read(ctx context.Context, c client.Client, run *commonpb.WorkflowExecution) (*historypb.History, error) {
	h := &historypb.History{}
	events := c.GetWorkflowHistory(ctx, run.GetWorkflowId(), run.GetRunId(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return nil, fmt.Errorf("read the history of %s: %w", run.GetWorkflowId(), err)
		}
		h.Events = append(h.Events, event)
	}
	if len(h.Events) == 0 {
		return nil, fmt.Errorf("the history of %s is empty", run.GetWorkflowId())
	}
	return h, nil
}

// whole says what is missing in histories: a run that another one mentions, the
// first decision of a run, or the end of one that ends.
func whole(all []*historypb.History) error {
	listed := map[string]bool{}
	for _, h := range all {
		listed[h.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetOriginalExecutionRunId()] = true
	}
	for _, h := range all {
		started, decided := h.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes(), false
		for _, event := range h.GetEvents() {
			next := event.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId() +
				event.GetChildWorkflowExecutionStartedEventAttributes().GetWorkflowExecution().GetRunId()
			if next != "" && !listed[next] {
				return fmt.Errorf("%s mentions run %s, which is not listed", started.GetWorkflowId(), next)
			}
			decided = decided || event.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
		}
		if !decided {
			return fmt.Errorf("%s has not decided anything", started.GetWorkflowId())
		}
		if !slices.Contains(forever, replay.Type(h)) && !ended(h) {
			return fmt.Errorf("%s still runs", started.GetWorkflowId())
		}
	}
	return nil
}

// ended reports whether a run is over.
func ended(h *historypb.History) bool {
	switch h.GetEvents()[len(h.GetEvents())-1].GetEventType() {
	case enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enums.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
		enums.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT, enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
		enums.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED, enums.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		return true
	default:
		return false
	}
}
