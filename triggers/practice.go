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

// Practice asks for a drill.
type Practice struct {
	Reason string   `json:"reason" minLength:"1" maxLength:"500" doc:"why; somebody will ask"`
	Tiers  []string `json:"tiers,omitempty" maxItems:"4" doc:"which tiers; without it those of the runbook's drill, or all that make machines"`
	// GameDay and Plan go together with no tiers.
	GameDay bool   `json:"game_day,omitempty" doc:"really stop the primary, on purpose, with its users on it (game_day in the runbook)"`
	Plan    string `json:"plan,omitempty" maxLength:"64" doc:"with game_day: hash of the plan that was shown; it stands for the agreement, where your role is approver"`
}

func (a *API) drill(ctx context.Context, in *struct {
	ServicePath
	Keyed
	Body Practice
}) (*Body[Called], error) {
	r, ok := a.Library().Lookup(in.Service)
	if !ok {
		return nil, a.unknown(in.Service)
	}
	for _, tier := range in.Body.Tiers {
		if !slices.Contains(tierNames(r), tier) {
			return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("%s has no tier %q; it has: %s", in.Service, tier, strings.Join(tierNames(r), ", ")))
		}
	}
	switch {
	case in.Body.GameDay && r.GameDay == nil:
		return nil, huma.Error422UnprocessableEntity("the runbook of " + in.Service + " does not say how the primary is stopped and started: game_day")
	case in.Body.GameDay && len(in.Body.Tiers) > 0:
		return nil, huma.Error422UnprocessableEntity("a game day climbs the whole ladder: it goes without tiers")
	case !in.Body.GameDay && in.Body.Plan != "":
		return nil, huma.Error422UnprocessableEntity("a plan goes with game_day")
	}
	person, reason := access.Of(ctx), clean(in.Body.Reason, 500)
	if in.Body.GameDay {
		return a.called(ctx, decision{
			order: Order{Service: in.Service, Update: workflows.DrillUpdateName, Key: in.Key, Input: workflows.DrillUpdate{
				By: person.Name, Role: string(person.Role), Reason: reason, GameDay: true, Plan: in.Body.Plan,
			}},
			entry: audit.Entry{Did: "game day", On: in.Service, Reason: reason, Plan: in.Body.Plan},
		}, "the standby is proven, an approver agrees, and then the primary is really stopped; abort starts it again")
	}
	return a.called(ctx, decision{
		order: Order{Service: in.Service, Update: workflows.DrillUpdateName, Key: in.Key, Input: workflows.DrillUpdate{By: person.Name, Reason: reason, Tiers: in.Body.Tiers}},
		entry: audit.Entry{Did: "drill", On: in.Service, Reason: reason, Details: strings.Join(in.Body.Tiers, " ")},
	}, "a drill runs: with machines of its own, and without any traffic; it makes way for a recovery")
}

func (a *API) failback(ctx context.Context, in *struct {
	ServicePath
	Keyed
	Body Because
}) (*Body[Called], error) {
	if _, ok := a.Library().Lookup(in.Service); !ok {
		return nil, a.unknown(in.Service)
	}
	person, reason := access.Of(ctx), clean(in.Body.Reason, 500)
	return a.called(ctx, decision{
		order: Order{Service: in.Service, Update: workflows.FailbackUpdateName, Key: in.Key, Input: workflows.FailbackUpdate{By: person.Name, Reason: reason}},
		entry: audit.Entry{Did: "failback", On: in.Service, Reason: reason},
	}, "the way home has begun: the service stays where it is until the primary is proven, and the standby is released last")
}

// called asks a guard, and words what came of it.
func (a *API) called(ctx context.Context, d decision, leaves string) (*Body[Called], error) {
	var came workflows.RecoverAnswer
	said := func() (string, string) {
		if !came.Started {
			return audit.Refused, came.Reason
		}
		return audit.Done, came.Reason
	}
	if err := a.decide(ctx, d, &came, said); err != nil {
		return nil, err
	}
	service := d.order.Service
	called := Called{Started: came.Started, Reason: came.Reason, Leaves: "nothing was started", Link: a.Link(workflows.GuardID(service))}
	if came.Started {
		called.Recovery, called.Epoch, called.Link = RecoveryName(service, came.Epoch), came.Epoch, a.Link(workflows.RecoveryID(service, came.Epoch))
		called.Leaves = leaves
	}
	return &Body[Called]{called}, nil
}

// Lookouts is the way to what is known of standbys before any disaster.
type Lookouts interface {
	// Readiness returns what was found last; with now, it looks first.
	Readiness(ctx context.Context, service string, now bool) (workflows.ReadinessState, error)
}

func (a *API) readiness(ctx context.Context, in *struct {
	ServicePath
	Now bool `query:"now" doc:"look now, instead of showing what was found last"`
}) (*Body[workflows.ReadinessState], error) {
	if _, ok := a.Library().Lookup(in.Service); !ok {
		return nil, a.unknown(in.Service)
	}
	state, err := a.Lookouts.Readiness(ctx, in.Service, in.Now)
	if err != nil {
		return nil, huma.Error503ServiceUnavailable("the readiness of "+in.Service+" cannot be asked", err)
	}
	return &Body[workflows.ReadinessState]{state}, nil
}
