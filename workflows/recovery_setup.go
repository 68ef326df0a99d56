package workflows

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

func newRecovery(in RecoveryInput, now time.Time) *recovery {
	r := &recovery{in: in, makings: map[string]*making{}, tries: map[string]int{}, gates: map[string]activities.Gate{}, claimed: true, mark: in.Trigger.OutageSince}
	r.report = Report{
		RecoveryResult: activities.RecoveryResult{
			Epoch: in.Epoch, Active: in.Active.Name, Fenced: in.Fenced, Made: in.Made, DataEpoch: in.DataEpoch, DataKnown: in.DataKnown,
		},
		Recovery:    RecoveryID(in.Service, in.Epoch),
		Service:     in.Service,
		Mode:        in.Mode,
		Trigger:     in.Trigger,
		From:        in.Active.Name,
		Plan:        in.Plan,
		RunbookHash: in.Plan.Runbook,
		Started:     now,
		Objective:   in.Runbook.Objectives.RTO,
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
	workflow.Go(ctx, func(ctx workflow.Context) {
		channel := workflow.GetSignalChannel(ctx, BootSignalName)
		for {
			var news activities.BootNews
			channel.Receive(ctx, &news)
			r.booting(ctx, news)
		}
	})
	return errors.Join(
		workflow.SetQueryHandler(ctx, ProgressQueryName, func() (Report, error) { return r.report, nil }),
		workflow.SetUpdateHandlerWithOptions(ctx, AbortUpdateName, r.onAbort, workflow.UpdateHandlerOptions{Validator: r.mayAbort}),
		r.obey(ctx),
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
func (r *recovery) onAbort(ctx workflow.Context, u AbortUpdate) (string, error) {
	r.abort = &u
	r.report.Answers = append(r.report.Answers, Answered{By: u.By, Question: "the recovery runs", Answer: "abort", Reason: u.Reason, At: workflow.Now(ctx)})
	left := r.leaves()
	r.cancel()
	return left, nil
}

func (r *recovery) mayAnswer(u AnswerUpdate) error {
	q := r.report.Question
	switch {
	case u.By == "":
		return errors.New("an answer needs a name")
	case q == nil && len(r.report.Answers) > 0 && r.report.Answers[len(r.report.Answers)-1].ID == u.Question:
		return fmt.Errorf("%s has answered already: %s", r.report.Answers[len(r.report.Answers)-1].By, r.report.Answers[len(r.report.Answers)-1].Answer)
	case q == nil:
		return errors.New("nothing is asked now; the time for an answer may be over")
	case q.ID != u.Question:
		return fmt.Errorf("the question that you answer (%s) is not the one that is open (%s)", u.Question, q.ID)
	case r.answer != nil:
		return fmt.Errorf("%s has answered already: %s", r.answer.By, r.answer.Answer)
	case q.Plan != "" && u.Plan != q.Plan:
		return fmt.Errorf("the plan that you saw (%s) is not the one that is asked about (%s); look at it again", u.Plan, q.Plan)
	case len(q.Roles) > 0 && u.Role != "" && !slices.Contains(q.Roles, u.Role):
		return fmt.Errorf("the role %s may not decide this; it takes: %s", u.Role, strings.Join(q.Roles, ", "))
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
	r.report.Answers = append(r.report.Answers, Answered{ID: u.Question, By: u.By, Role: u.Role, Plan: u.Plan, Question: r.report.Question.Text, Answer: u.Answer, Reason: u.Reason, At: workflow.Now(ctx)})
	for _, c := range r.report.Question.Choices {
		if c.Answer == u.Answer {
			return c.Leaves, nil
		}
	}
	return "", nil
}

// choice is what was answered; empty where nobody did.
func (u *AnswerUpdate) choice() string {
	if u == nil {
		return ""
	}
	return u.Answer
}

// question asks a person, one question at a time, and waits for one answer;
// silence is nil, never a yes.
func (r *recovery) question(ctx workflow.Context, q Question) *AnswerUpdate {
	if workflow.Await(ctx, func() bool { return r.report.Question == nil }) != nil {
		return nil
	}
	r.asked++
	r.answer = nil
	q.ID, q.Asked = fmt.Sprintf("%d-%d", r.in.Epoch, r.asked), workflow.Now(ctx)
	if q.Until.IsZero() {
		q.Until = r.in.Deadline
	}
	r.report.Question = &q
	r.show(ctx)
	r.tell(ctx, r.color(), false)
	_, _ = workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout:      max(q.Until.Sub(workflow.Now(ctx)), 0),
		TimerOptions: workflow.TimerOptions{Summary: "waiting for a person"},
	}, func() bool { return r.answer != nil })
	answer := r.answer
	r.report.Question = nil
	r.show(ctx)
	return answer
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
	r.report.Timeline = append(r.report.Timeline, Record{Step: step, Tier: tier, State: InProgress, Reason: what, Started: r.now(ctx)})
	r.show(ctx)
	unwatch := r.watch(ctx, r.report.Timeline[at])
	return func(state, why string, t activities.Timing) {
		unwatch()
		rec := &r.report.Timeline[at]
		rec.State, rec.Reason, rec.Ended = state, cut(why, 1000), r.now(ctx)
		if !t.Ended.IsZero() {
			rec.Started, rec.Ended = t.Started, t.Ended
		}
		if state != InProgress {
			clocked(ctx, stepMetric, rec.Ended.Sub(rec.Started), map[string]string{"step": step, "tier": tier, "state": state})
		}
		r.show(ctx)
	}
}

// now is the workflow's clock, which stands still within a task, or the end of
// what was measured in it meanwhile: no step begins before the one above it ended.
func (r *recovery) now(ctx workflow.Context) time.Time {
	now := workflow.Now(ctx)
	for _, rec := range r.report.Timeline {
		if rec.Ended.After(now) {
			now = rec.Ended
		}
	}
	return now
}

// show refreshes the live view of the Temporal UI.
func (r *recovery) show(ctx workflow.Context) { workflow.SetCurrentDetails(ctx, r.report.Checklist()) }

// effect freezes the identity of an act in the history. It may happen until
// the time given has passed; zero sets no deadline.
func (r *recovery) effect(ctx workflow.Context, act string, within time.Duration) activities.Effect {
	e := activities.Effect{Service: r.in.Service, Epoch: r.in.Epoch, Key: effectKey(fmt.Sprintf("%s-%s-%d-%s", r.in.Key, r.in.Service, r.in.Epoch, act))}
	if within > 0 {
		e.NotAfter = workflow.Now(ctx).Add(within)
	}
	return e
}

// effectKey keeps a key within the 64 characters that clouds take, without two
// becoming one.
func effectKey(text string) string {
	const most, digest = 64, 16
	if len(text) <= most {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return text[:most-digest-1] + "-" + hex.EncodeToString(sum[:digest/2])
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
