package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/converter"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

var _ triggers.BatchRuns = (*guards)(nil)

// batching is what the API needs for batches. What opens their audio opens
// their manifests as well.
func (p *program) batching() triggers.Batching {
	tools := p.deps.Batches
	return triggers.Batching{Store: tools.Store, Manifests: tools.Runner(nil).Audio, Runs: p.guards}
}

// provisional asks a running recovery whether the service works again at its new
// place: from then on batches go on there, while canaries still confirm it.
// A recovery that does not answer is waited for.
func (g *guards) provisional(ctx context.Context, service string, epoch int64) *runbooks.Target {
	report, err := g.Progress(ctx, service, epoch)
	settling := slices.ContainsFunc(report.Timeline, func(r workflows.Record) bool {
		return (r.Step == runbooks.StepResume || r.Step == runbooks.StepSettle) && r.State == workflows.InProgress
	})
	if err != nil || !settling || g.library == nil {
		return nil
	}
	r, ok := g.library().Lookup(service)
	if !ok {
		return nil
	}
	state := workflows.GuardState{Active: report.Active, Made: report.Made}
	target, ok := state.Target(r)
	if !ok {
		return nil
	}
	return &target
}

// StopBatch cancels the workflow of a job.
func (g *guards) StopBatch(ctx context.Context, service, job string) error {
	err := g.client.CancelWorkflow(ctx, workflows.BatchID(service, job), "")
	var gone *serviceerror.NotFound
	if err != nil && !errors.As(err, &gone) {
		return fmt.Errorf("stop batch %s of %s: %w", job, service, err)
	}
	return nil
}

// BatchRun says how far the workflow of a job is. What it knows itself changes
// with each part; the heartbeats of its activity are newer.
func (g *guards) BatchRun(ctx context.Context, service, job string) (run triggers.BatchRun, err error) {
	id := workflows.BatchID(service, job)
	described, err := g.client.DescribeWorkflowExecution(ctx, id, "")
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return run, nil
	}
	if err != nil {
		return run, err
	}
	switch described.GetWorkflowExecutionInfo().GetStatus() {
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
		run.Running = true
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		run.Ended = &workflows.BatchResult{}
		return run, g.client.GetWorkflow(ctx, id, "").Get(ctx, run.Ended)
	default:
		return run, nil
	}
	for _, activity := range described.GetPendingActivities() {
		if beat := activity.GetHeartbeatDetails(); beat != nil {
			// Other activities beat with nothing, or with a number: then there is no news.
			_ = converter.GetDefaultDataConverter().FromPayloads(beat, &run.Live)
		}
	}
	value, err := g.client.QueryWorkflow(ctx, id, "", workflows.ProgressQueryName)
	if err != nil {
		return run, err
	}
	return run, value.Get(&run.State)
}
