package triggers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/triggers/audit"
	"github.com/understudy-dr/understudy/workflows"
)

// steerInput is a verb about a running recovery.
type steerInput struct {
	RecoveryPath
	Keyed
	Body Because
}

func (a *API) abort(ctx context.Context, in *steerInput) (*Body[Decided], error) {
	return a.steer(ctx, in, "abort", workflows.AbortUpdateName, func(by, why string) any { return workflows.AbortUpdate{By: by, Reason: why} })
}

func (a *API) retry(ctx context.Context, in *steerInput) (*Body[Decided], error) {
	return a.steer(ctx, in, "retry", workflows.RetryUpdateName, func(by, why string) any { return workflows.StepUpdate{By: by, Reason: why} })
}

func (a *API) skip(ctx context.Context, in *steerInput) (*Body[Decided], error) {
	return a.steer(ctx, in, "skip", workflows.SkipUpdateName, func(by, why string) any { return workflows.StepUpdate{By: by, Reason: why} })
}

func (a *API) commit(ctx context.Context, in *steerInput) (*Body[Decided], error) {
	return a.steer(ctx, in, "commit", workflows.CommitUpdateName, func(by, why string) any { return workflows.SettleUpdate{By: by, Reason: why} })
}

func (a *API) rollback(ctx context.Context, in *steerInput) (*Body[Decided], error) {
	return a.steer(ctx, in, "rollback", workflows.RollbackUpdateName, func(by, why string) any { return workflows.SettleUpdate{By: by, Reason: why} })
}

func (a *API) steer(ctx context.Context, in *steerInput, did, update string, input func(by, why string) any) (*Body[Decided], error) {
	why := clean(in.Body.Reason, 500)
	return a.toRecovery(ctx, in.ID, decision{
		order: Order{Update: update, Key: in.Key, Input: input(access.Of(ctx).Name, why)},
		entry: audit.Entry{Did: did, Reason: why},
	})
}

// toRecovery hands a decision to a recovery; its answer is the state that it leaves.
func (a *API) toRecovery(ctx context.Context, id string, d decision) (*Body[Decided], error) {
	service, epoch, ok := ParseRecoveryID(id)
	if !ok {
		return nil, huma.Error404NotFound("a recovery's id is its service and its epoch, such as fun-asr-7")
	}
	d.order.Service, d.order.Epoch, d.entry.On = service, epoch, id
	done := Decided{On: id, Did: d.entry.Did, Link: a.Link(workflows.RecoveryID(service, epoch))}
	if err := a.decide(ctx, d, &done.Leaves, func() (string, string) { return audit.Done, done.Leaves }); err != nil {
		return nil, err
	}
	return &Body[Decided]{done}, nil
}

// Agreed is a yes or a no to a plan.
type Agreed struct {
	Question string `json:"question" minLength:"1" maxLength:"40" doc:"id of the question that was shown"`
	Plan     string `json:"plan" minLength:"1" maxLength:"64" doc:"hash of the plan that was shown; another one is refused"`
	Reason   string `json:"reason,omitempty" maxLength:"500"`
}

type agreeInput struct {
	RecoveryPath
	Keyed
	Body Agreed
}

func (a *API) approve(ctx context.Context, in *agreeInput) (*Body[Decided], error) {
	return a.reply(ctx, in.ID, in.Key, "approve", Answer{Question: in.Body.Question, Answer: "approve", Plan: in.Body.Plan, Reason: in.Body.Reason})
}

func (a *API) reject(ctx context.Context, in *agreeInput) (*Body[Decided], error) {
	return a.reply(ctx, in.ID, in.Key, "reject", Answer{Question: in.Body.Question, Answer: "reject", Plan: in.Body.Plan, Reason: in.Body.Reason})
}

// Answer is a person's answer to a question of a recovery.
type Answer struct {
	Question string `json:"question" minLength:"1" maxLength:"40" doc:"id of the question that was shown"`
	Answer   string `json:"answer" minLength:"1" maxLength:"40" doc:"one of its choices"`
	Plan     string `json:"plan,omitempty" maxLength:"64" doc:"hash of the plan that was shown, where the question is about one"`
	Reason   string `json:"reason,omitempty" maxLength:"500"`
}

func (a *API) answer(ctx context.Context, in *struct {
	RecoveryPath
	Keyed
	Body Answer
}) (*Body[Decided], error) {
	return a.reply(ctx, in.ID, in.Key, "answer", in.Body)
}

// reply answers a question, with the role in which the person may.
func (a *API) reply(ctx context.Context, id, key, did string, answer Answer) (*Body[Decided], error) {
	person, why := access.Of(ctx), clean(answer.Reason, 500)
	entry := audit.Entry{Did: did, On: id, Reason: why, Plan: answer.Plan, Question: answer.Question, Answer: answer.Answer}
	role := string(person.Role)
	if service, epoch, ok := ParseRecoveryID(id); ok {
		// The recovery asks for the role once more; here it is found out in which one of theirs a person speaks.
		if report, err := a.progress(ctx, service, epoch); err == nil && report.Question != nil && report.Question.ID == answer.Question {
			if role, ok = speaksAs(person.Role, report.Question.Roles); !ok {
				entry.Who, entry.Role, entry.From, entry.Key, entry.Result = person.Name, string(person.Role), person.From, key, audit.Refused
				entry.Text = fmt.Sprintf("%s has the role %s, and this takes %s", person.Name, person.Role, strings.Join(report.Question.Roles, " or "))
				a.keep(entry)
				return nil, huma.Error403Forbidden(entry.Text)
			}
		}
	}
	return a.toRecovery(ctx, id, decision{
		order: Order{Update: workflows.AnswerUpdateName, Key: key, Input: workflows.AnswerUpdate{
			By: person.Name, Role: role, Question: answer.Question, Answer: answer.Answer, Plan: answer.Plan, Reason: why,
		}},
		entry: entry,
	})
}

// speaksAs is the role in which a person may answer: the own one, or one that it includes.
func speaksAs(own access.Role, wanted []string) (string, bool) {
	if len(wanted) == 0 || slices.Contains(wanted, string(own)) {
		return string(own), true
	}
	for _, role := range wanted {
		if own.Includes(access.Role(role)) {
			return role, true
		}
	}
	return "", false
}
