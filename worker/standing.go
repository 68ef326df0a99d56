package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// sweepEvery is the pause between two looks for forgotten machines.
	sweepEvery = 10 * time.Minute
	// catchUp is how late a scheduled drill may still begin, after a time when Understudy was down: practice at the
	// wrong hour is a surprise.
	catchUp = 5 * time.Minute
	// drillJitter spreads the drills of services that share a schedule.
	drillJitter = 2 * time.Minute
)

// startStanding starts what goes on without anybody asking: the readiness of
// each service, the schedules of drills, the sweeper. It is idempotent, and
// brings schedules to what the runbooks say now.
func (p *program) startStanding(ctx context.Context) error {
	library := p.library.Load()
	var failed error
	var drilled []string
	for _, service := range library.Services() {
		r, _ := library.Lookup(service)
		failed = errors.Join(failed, p.startReadiness(ctx, service))
		if r.Drill != nil {
			drilled = append(drilled, service)
			failed = errors.Join(failed, p.scheduleDrill(ctx, r))
		}
	}
	return errors.Join(failed, p.dropDrills(ctx, drilled), p.scheduleSweep(ctx))
}

// keepStanding starts it beside the rest, again until it succeeds: a recovery
// needs none of it, and must not wait for it.
func (p *program) keepStanding(ctx context.Context) {
	for {
		err := p.startStanding(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		p.Log.Warn("readiness, drills or the sweeper could not be started; it is tried again", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepEvery / 10):
		}
	}
}

func (p *program) startReadiness(ctx context.Context, service string) error {
	_, err := p.engine.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: workflows.ReadinessID(service), TaskQueue: workflows.TaskQueue, WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary: "looks at the standbys of " + service,
	}, workflows.Readiness, workflows.ReadinessState{Service: service})
	if err != nil {
		return fmt.Errorf("start the readiness of %s: %w", service, err)
	}
	return nil
}

func (p *program) scheduleDrill(ctx context.Context, r runbooks.Runbook) error {
	return p.schedule(ctx, workflows.DrillScheduleID(r.Service), client.ScheduleSpec{
		CronExpressions: []string{r.Drill.Schedule}, TimeZoneName: r.Drill.Timezone, Jitter: drillJitter,
	}, &client.ScheduleWorkflowAction{
		ID: "scheduled-drill/" + r.Service, Workflow: workflows.Drill, Args: []any{workflows.DrillInput{Service: r.Service}}, TaskQueue: workflows.TaskQueue,
	})
}

func (p *program) scheduleSweep(ctx context.Context) error {
	return p.schedule(ctx, workflows.SweepScheduleID, client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: sweepEvery}}},
		&client.ScheduleWorkflowAction{ID: workflows.SweepScheduleID, Workflow: workflows.Sweep, TaskQueue: workflows.TaskQueue})
}

// schedule creates a schedule, or brings it to the given spec. What a person
// has paused stays paused.
func (p *program) schedule(ctx context.Context, id string, spec client.ScheduleSpec, action *client.ScheduleWorkflowAction) error {
	schedules := p.engine.client.ScheduleClient()
	_, err := schedules.Create(ctx, client.ScheduleOptions{
		ID: id, Spec: spec, Action: action, Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: catchUp,
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		err = schedules.GetHandle(ctx, id).Update(ctx, client.ScheduleUpdateOptions{
			DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
				s := in.Description.Schedule
				s.Spec, s.Action = &spec, action
				return &client.ScheduleUpdate{Schedule: &s}, nil
			},
		})
	}
	if err != nil {
		return fmt.Errorf("schedule %s: %w", id, err)
	}
	return nil
}

// dropDrills deletes the schedules of services that no longer ask for drills.
func (p *program) dropDrills(ctx context.Context, keep []string) error {
	schedules := p.engine.client.ScheduleClient()
	all, err := schedules.List(ctx, client.ScheduleListOptions{PageSize: 1000})
	if err != nil {
		return fmt.Errorf("list the schedules: %w", err)
	}
	var failed error
	for all.HasNext() {
		entry, err := all.Next()
		if err != nil {
			return errors.Join(failed, err)
		}
		if service, ok := strings.CutPrefix(entry.ID, workflows.DrillScheduleID("")); ok && !slices.Contains(keep, service) {
			failed = errors.Join(failed, schedules.GetHandle(ctx, entry.ID).Delete(ctx))
		}
	}
	return failed
}
