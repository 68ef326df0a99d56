package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
)

// drillLooks is the pause between two looks at a drill that runs.
const drillLooks = 2 * time.Second

// DrillInput names the service whose standbys are practised.
type DrillInput struct {
	Service string   `json:"service"`
	Tiers   []string `json:"tiers,omitempty"`
}

// DrillResult is how the drill went.
type DrillResult struct {
	Recovery string `json:"recovery,omitempty"`
	Outcome  string `json:"outcome"`
	Reason   string `json:"reason"`
}

// Drill is what a schedule starts: it asks the guard, waits, and ends as the
// drill does. It fails where the drill has failed, so that a schedule's pause on
// failure means something; one that the guard passes over, because times are not
// good, has not failed.
func Drill(ctx workflow.Context, in DrillInput) (DrillResult, error) {
	answer, err := do(ctx, handOver, "ask the guard for a drill of "+in.Service, acts.AskDrill, activities.AskDrillInput{
		Service: in.Service, Tiers: in.Tiers, Key: workflow.GetInfo(ctx).WorkflowExecution.ID,
	})
	if err != nil {
		return DrillResult{}, err
	}
	if !answer.Started {
		return DrillResult{Outcome: "skipped", Reason: answer.Reason}, nil
	}
	result := DrillResult{Recovery: RecoveryID(in.Service, answer.Epoch)}
	for {
		if err := workflow.NewTimerWithOptions(ctx, drillLooks, workflow.TimerOptions{Summary: "the drill runs"}).Get(ctx, nil); err != nil {
			return result, err
		}
		status, err := do(ctx, handOver, "look after the drill", acts.FindRecovery, activities.FindRecoveryInput{Service: in.Service, Epoch: answer.Epoch})
		if err != nil {
			return result, err
		}
		if status.Running {
			continue
		}
		if status.Result == nil {
			return result, temporal.NewNonRetryableApplicationError("the drill ended without a result: it was terminated", OutcomeDrillFailed, nil)
		}
		result.Outcome, result.Reason = status.Result.Outcome, status.Result.Reason
		if result.Outcome == OutcomeDrillFailed {
			return result, temporal.NewNonRetryableApplicationError(fmt.Sprintf("%s: %s", result.Recovery, result.Reason), OutcomeDrillFailed, nil)
		}
		return result, nil
	}
}

// Sweep removes machines that nobody claims any more; a schedule starts it.
func Sweep(ctx workflow.Context) (activities.SweepResult, error) {
	options := longLook
	options.ScheduleToCloseTimeout = 10 * time.Minute
	return do(ctx, options, "remove machines that are past their time", acts.SweepMachines, activities.SweepInput{Remove: true})
}
