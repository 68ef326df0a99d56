package triggers

import (
	"context"

	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/triggers/slackin"
)

// clicks hands decisions that come in by chat to recoveries, on the same way as
// those of the API: with the same refusals, and a line in the audit.
type clicks struct{ api *API }

var _ slackin.Decider = clicks{}

// Clicks takes decisions that come in by chat.
func (a *API) Clicks() slackin.Decider { return clicks{a} }

// Answer answers the open question.
func (c clicks) Answer(ctx context.Context, d slackin.Decision) (string, error) {
	return left(c.api.reply(clicked(ctx, d), d.Recovery, d.ID, "answer", Answer{Question: d.Question, Answer: d.Answer, Plan: d.Plan, Reason: d.Reason}))
}

// Commit ends the confirm window where it stands.
func (c clicks) Commit(ctx context.Context, d slackin.Decision) (string, error) {
	return left(c.api.commit(clicked(ctx, d), steering(d)))
}

// Rollback ends it by going back.
func (c clicks) Rollback(ctx context.Context, d slackin.Decision) (string, error) {
	return left(c.api.rollback(clicked(ctx, d), steering(d)))
}

// Abort ends the recovery.
func (c clicks) Abort(ctx context.Context, d slackin.Decision) (string, error) {
	return left(c.api.abort(clicked(ctx, d), steering(d)))
}

// clicked makes a click's person the one who asks.
func clicked(ctx context.Context, d slackin.Decision) context.Context {
	return access.With(ctx, access.Person{Name: d.By, Role: access.Role(d.Role), From: d.From})
}

func steering(d slackin.Decision) *steerInput {
	return &steerInput{RecoveryPath: RecoveryPath{ID: d.Recovery}, Keyed: Keyed{Key: d.ID}, Body: Because{Reason: d.Reason}}
}

func left(done *Body[Decided], err error) (string, error) {
	if err != nil {
		return "", err
	}
	return done.Body.Leaves, nil
}
