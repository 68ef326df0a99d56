package workflows

import (
	"context"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// Every timeout and retry of the workflows, with its reason.
var (
	// TaskTimeout of guards and recoveries: after a kill of the worker the engine waits this long before it hands the
	// task to the next one.
	TaskTimeout = 3 * time.Second

	// look: inside the workflow task, so it must end within a second; a second try would not see more.
	look = workflow.LocalActivityOptions{
		StartToCloseTimeout: activities.LookLimit,
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1},
	}

	// longLook: what may take longer than a workflow task allows, such as a canary. It heartbeats each second.
	longLook = workflow.ActivityOptions{
		StartToCloseTimeout: 24 * time.Hour, // the activity bounds itself; this only catches a lost one
		HeartbeatTimeout:    missedAfter,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second},
	}

	// switchTraffic: milliseconds at a load balancer that lives; nginx needs a reload. Retries repeat the same call. A
	// tier's time goes on after a kill and may be as short as 5s, so a dead worker is missed sooner here than elsewhere.
	switchTraffic = workflow.ActivityOptions{
		StartToCloseTimeout: 5 * time.Second,
		HeartbeatTimeout:    2 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: time.Second},
	}

	// wakeStandby: one call to a standby, repeated until it is taken or the tier's time is over.
	wakeStandby = workflow.ActivityOptions{
		StartToCloseTimeout: 15 * time.Second,
		HeartbeatTimeout:    missedAfter,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 2 * time.Second},
	}

	// makeStandby: a machine, its volumes, its data. The tier's time bounds it; a try that is ambiguous is repeated with
	// the same key, and a dead worker's is taken up by the next.
	makeStandby = workflow.ActivityOptions{
		StartToCloseTimeout: 24 * time.Hour,
		HeartbeatTimeout:    missedAfter,
		WaitForCancellation: true,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second},
	}

	// fenceHost: the fence bounds itself; one try, because a fence that failed is for a person to judge, and a second
	// only where the worker died in its middle.
	fenceHost = workflow.ActivityOptions{
		HeartbeatTimeout: missedAfter,
		RetryPolicy:      &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, MaximumAttempts: 3, NonRetryableErrorTypes: []string{activities.ErrTypeFence}},
	}

	// lookForMachine: a list at a provider, beside everything else. The guard's next run tries again.
	lookForMachine = workflow.ActivityOptions{
		StartToCloseTimeout:    time.Minute,
		ScheduleToCloseTimeout: 5 * time.Minute,
		HeartbeatTimeout:       missedAfter,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
	}

	// record: to a store that may be away; nothing waits for it but the end of the recovery.
	record = workflow.ActivityOptions{
		StartToCloseTimeout:    5 * time.Second,
		ScheduleToCloseTimeout: 30 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 250 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second},
	}

	// handOver: to the engine itself, which is here.
	handOver = workflow.ActivityOptions{
		StartToCloseTimeout:    5 * time.Second,
		ScheduleToCloseTimeout: time.Minute,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 250 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second},
	}

	// postNews: one try; the announcement tries again itself, with the newest state.
	postNews = workflow.ActivityOptions{
		StartToCloseTimeout: 15 * time.Second,
		HeartbeatTimeout:    missedAfter,
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1},
	}

	// keepTraffic: an hour at a time, so that the guard's history shows a sign of life and stays short.
	keepTraffic = workflow.ActivityOptions{
		StartToCloseTimeout: keepFor + time.Minute,
		HeartbeatTimeout:    missedAfter,
		WaitForCancellation: false,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second, NonRetryableErrorTypes: []string{activities.ErrTypeSuperseded}},
	}
)

const (
	// missedAfter is when the engine misses an activity that beats each second: with the pause before the retry, work
	// goes on within 5s of a kill.
	missedAfter = 4 * time.Second
	// keepFor is how long the load balancer is watched before the guard asks again.
	keepFor = time.Hour
	// lookAfter is how often the guard looks at its recovery: its last message may be lost with a run that continued as new.
	lookAfter = 30 * time.Second
	// guardMessages is how many messages a guard takes before it continues as new.
	guardMessages = 2000
	// supersedeAfter is how long a recovery may clean up before it is terminated.
	supersedeAfter = 30 * time.Second
	// undoWithin bounds how long it is tried to undo one step.
	undoWithin = 2 * time.Minute
	// undoMachineWithin bounds how long it is tried to give back what was made: a cloud that is away may come back, and
	// what is not given back costs money until the sweeper finds it.
	undoMachineWithin = 15 * time.Minute
)

// switching are the options of a change at load balancers; DNS takes a minute.
func switching(balancers ...runbooks.Traffic) workflow.ActivityOptions {
	options := switchTraffic
	for _, b := range balancers {
		if b.Kind == "route53" {
			options.StartToCloseTimeout = 100 * time.Second
		}
	}
	return options
}

// summary puts a step's title where the Temporal UI shows it, as Markdown; at most 200 bytes.
func summary(options workflow.ActivityOptions, text string) workflow.ActivityOptions {
	options.Summary = cut(plain(text), 200)
	return options
}

// do runs an activity; its argument and result types are checked at compile time.
func do[In, Out any](ctx workflow.Context, options workflow.ActivityOptions, title string, act func(context.Context, In) (Out, error), in In) (Out, error) {
	var out Out
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, summary(options, title)), act, in).Get(ctx, &out)
	return out, err
}

// perform runs an activity without a result.
func perform[In any](ctx workflow.Context, options workflow.ActivityOptions, title string, act func(context.Context, In) error, in In) error {
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, summary(options, title)), act, in).Get(ctx, nil)
}

// glance begins to run an activity that only looks, inside the workflow task.
func glance[In, Out any](ctx workflow.Context, title string, act func(context.Context, In) (Out, error), in In) func() (Out, error) {
	options := look
	options.Summary = cut(plain(title), 200)
	future := workflow.ExecuteLocalActivity(workflow.WithLocalActivityOptions(ctx, options), act, in)
	return func() (out Out, err error) {
		err = future.Get(ctx, &out)
		return out, err
	}
}

// cut shortens a text to a number of bytes, at the end of a character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most - len("…")
	for end > 0 && text[end]&0xC0 == 0x80 {
		end--
	}
	return text[:end] + "…"
}
