package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

func newRecovery(in RecoveryInput, now time.Time) *recovery {
	r := &recovery{in: in, gates: map[string]activities.Gate{}, claimed: true, mark: in.Trigger.OutageSince}
	r.report = Report{
		RecoveryResult: activities.RecoveryResult{Epoch: in.Epoch, Active: in.Active.Name, Fenced: in.Fenced},
		Recovery:       RecoveryID(in.Service, in.Epoch),
		Service:        in.Service,
		Mode:           in.Mode,
		Trigger:        in.Trigger,
		From:           in.Active.Name,
		Plan:           in.Plan,
		RunbookHash:    in.Plan.Runbook,
		Started:        now,
		Objective:      in.Runbook.Objectives.RTO,
	}
	r.report.share(&r.mark, PartDetect, in.Trigger.Received)
	return r
}

// listen opens the recovery's ears, before it does anything.
func (r *recovery) listen(ctx workflow.Context) error {
	workflow.Go(ctx, func(ctx workflow.Context) {
		channel := workflow.GetSignalChannel(ctx, ResolvedSignalName)
		for {
			var signal ResolvedSignal
			channel.Receive(ctx, &signal)
			r.resolved = true
		}
	})
	return errors.Join(
		workflow.SetQueryHandler(ctx, ProgressQueryName, func() (Report, error) { return r.report, nil }),
		workflow.SetUpdateHandlerWithOptions(ctx, AbortUpdateName, r.onAbort, workflow.UpdateHandlerOptions{Validator: r.mayAbort}),
		workflow.SetUpdateHandlerWithOptions(ctx, AnswerUpdateName, r.onAnswer, workflow.UpdateHandlerOptions{Validator: r.mayAnswer}),
	)
}

func (r *recovery) mayAbort(u AbortUpdate) error {
	switch {
	case u.By == "" || u.Reason == "":
		return errors.New("an abort needs a name and a reason")
	case r.report.Outcome != "":
		return fmt.Errorf("recovery %d is over: %s", r.in.Epoch, r.report.Outcome)
	case r.abort != nil:
		return fmt.Errorf("%s has aborted it already", r.abort.By)
	default:
		return nil
	}
}

// onAbort stops the recovery and says in which state it leaves the service.
func (r *recovery) onAbort(_ workflow.Context, u AbortUpdate) (string, error) {
	r.abort = &u
	left := r.leaves()
	r.cancel()
	return left, nil
}

func (r *recovery) mayAnswer(u AnswerUpdate) error {
	q := r.report.Question
	switch {
	case u.By == "":
		return errors.New("an answer needs a name")
	case q == nil:
		return errors.New("nothing is asked now")
	case q.ID != u.Question:
		return fmt.Errorf("the question that you answer (%s) is not the one that is open (%s)", u.Question, q.ID)
	case r.answer != nil:
		return fmt.Errorf("%s has answered already: %s", r.answer.By, r.answer.Answer)
	}
	for _, c := range q.Choices {
		if c.Answer == u.Answer {
			return nil
		}
	}
	return fmt.Errorf("%q is no choice of this question", u.Answer)
}

func (r *recovery) onAnswer(ctx workflow.Context, u AnswerUpdate) (string, error) {
	r.answer = &u
	r.report.Answers = append(r.report.Answers, Answered{By: u.By, Question: r.report.Question.Text, Answer: u.Answer, Reason: u.Reason, At: workflow.Now(ctx)})
	for _, c := range r.report.Question.Choices {
		if c.Answer == u.Answer {
			return c.Leaves, nil
		}
	}
	return "", nil
}

// question asks a person, and waits for one answer until the deadline; silence
// is the empty answer, never a yes.
func (r *recovery) question(ctx workflow.Context, text string, choices ...Choice) string {
	r.asked++
	r.answer = nil
	r.report.Question = &Question{
		ID: fmt.Sprintf("%d-%d", r.in.Epoch, r.asked), Text: text, Choices: choices, Asked: workflow.Now(ctx), Until: r.in.Deadline,
	}
	r.show(ctx)
	r.tell(ctx, r.color(), false)
	_, _ = workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout:      max(r.in.Deadline.Sub(workflow.Now(ctx)), 0),
		TimerOptions: workflow.TimerOptions{Summary: "waiting for a person"},
	}, func() bool { return r.answer != nil })
	r.report.Question = nil
	r.show(ctx)
	if r.answer == nil {
		return ""
	}
	return r.answer.Answer
}

// note adds a record to the timeline.
func (r *recovery) note(ctx workflow.Context, rec Record) {
	if rec.Started.IsZero() {
		rec.Started = workflow.Now(ctx)
		rec.Ended = rec.Started
	}
	rec.Reason = cut(rec.Reason, 1000)
	r.report.Timeline = append(r.report.Timeline, rec)
	r.show(ctx)
}

// open adds a record of something that has begun, and returns how to close it.
func (r *recovery) open(ctx workflow.Context, step, tier, what string) (shut func(state, why string, t activities.Timing)) {
	at := len(r.report.Timeline)
	r.report.Timeline = append(r.report.Timeline, Record{Step: step, Tier: tier, State: InProgress, Reason: what, Started: workflow.Now(ctx)})
	r.show(ctx)
	return func(state, why string, t activities.Timing) {
		rec := &r.report.Timeline[at]
		rec.State, rec.Reason, rec.Ended = state, cut(why, 1000), workflow.Now(ctx)
		if !t.Ended.IsZero() {
			rec.Started, rec.Ended = t.Started, t.Ended
		}
		r.show(ctx)
	}
}

// show refreshes the live view of the Temporal UI.
func (r *recovery) show(ctx workflow.Context) { workflow.SetCurrentDetails(ctx, r.report.Checklist()) }

// effect freezes the identity of an act in the history. It may happen until
// the time given has passed; zero sets no deadline.
func (r *recovery) effect(ctx workflow.Context, act string, within time.Duration) activities.Effect {
	e := activities.Effect{Service: r.in.Service, Epoch: r.in.Epoch, Key: cut(fmt.Sprintf("%s-%s-%d-%s", r.in.Key, r.in.Service, r.in.Epoch, act), 64)}
	if within > 0 {
		e.NotAfter = workflow.Now(ctx).Add(within)
	}
	return e
}

// files is the report as it is kept outside Temporal.
func (r *recovery) files(name string) activities.WriteReportInput {
	text, err := json.MarshalIndent(r.report, "", "  ")
	if err != nil {
		text = []byte(fmt.Sprintf("%q", err.Error()))
	}
	return activities.WriteReportInput{Files: map[string]string{name + ".json": string(text), name + ".md": r.report.Markdown()}}
}

// ask looks at a running standby, or at the active, inside the workflow task.
func (r *recovery) ask(ctx workflow.Context, target runbooks.Target) func() (activities.Gate, error) {
	return glance(ctx, "ask "+target.Name, acts.CheckStandby, activities.CheckStandbyInput{
		Target: target, Health: r.in.Runbook.Health, Version: r.in.Runbook.Version, Settings: r.in.Runbook.Settings,
	})
}
