package triggers

import (
	"container/heap"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-dr/understudy/workflows"
)

// maxLooked bounds how many reports one request looks at. A page that ends
// there is short, and says where the next one begins.
const maxLooked = 2000

// Running is the outcome of a recovery that has none yet.
const Running = "running"

// Recovery is one recovery as lists show it.
type Recovery struct {
	ID         string    `json:"id"`
	Service    string    `json:"service"`
	Epoch      int64     `json:"epoch"`
	Mode       string    `json:"mode"`
	Trigger    string    `json:"trigger,omitempty" doc:"alert, person, heartbeat, watchdog, ..."`
	Outcome    string    `json:"outcome" doc:"running, or how it ended"`
	Tier       string    `json:"tier,omitempty"`
	Verdict    string    `json:"verdict,omitempty"`
	Reason     string    `json:"reason"`
	Question   string    `json:"question,omitempty" doc:"what it waits for a person to decide"`
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended,omitzero"`
	RTOSeconds float64   `json:"rto_seconds,omitempty"`
	Objective  string    `json:"objective,omitempty"`
}

// Listed is a report as lists show it.
func Listed(r workflows.Report) Recovery {
	l := Recovery{
		ID: RecoveryName(r.Service, r.Epoch), Service: r.Service, Epoch: r.Epoch, Mode: r.Mode, Trigger: r.Trigger.Kind, Outcome: r.Outcome, Tier: r.Tier,
		Verdict: r.Verdict, Reason: r.Reason, Started: r.Started, Ended: r.Ended, RTOSeconds: r.RTOSeconds,
	}
	if l.Outcome == "" {
		l.Outcome, l.Reason = Running, r.Trigger.Text
	}
	if r.Question != nil {
		l.Question = r.Question.Text
	}
	if r.Objective > 0 {
		l.Objective = r.Objective.String()
	}
	return l
}

// Filter chooses recoveries; what is empty chooses all.
type Filter struct {
	Service string    `query:"service" maxLength:"63" doc:"only of this service"`
	Outcome string    `query:"outcome" maxLength:"40" doc:"only with this outcome, such as recovered, failed or running"`
	Tier    string    `query:"tier" maxLength:"20" doc:"only those that ended on this tier"`
	Mode    string    `query:"mode" enum:"live,drill" doc:"only of this mode"`
	Trigger string    `query:"trigger" maxLength:"40" doc:"only those with this trigger, such as alert or person"`
	Since   time.Time `query:"since" doc:"only those that began at this time or later"`
	Until   time.Time `query:"until" doc:"only those that began before this time"`
}

// Passes reports whether a recovery is chosen.
func (f Filter) Passes(r Recovery) bool {
	return (f.Service == "" || f.Service == r.Service) && (f.Outcome == "" || f.Outcome == r.Outcome) && (f.Tier == "" || f.Tier == r.Tier) &&
		(f.Mode == "" || f.Mode == r.Mode) && (f.Trigger == "" || f.Trigger == r.Trigger) &&
		!r.Started.Before(f.Since) && (f.Until.IsZero() || r.Started.Before(f.Until))
}

// Query is the filter as part of a URL.
func (f Filter) Query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"service": f.Service, "outcome": f.Outcome, "tier": f.Tier, "mode": f.Mode, "trigger": f.Trigger} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, value := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !value.IsZero() {
			q.Set(name, value.UTC().Format(time.RFC3339Nano))
		}
	}
	return q
}

type recoveriesInput struct {
	Filter
	Limit  int    `query:"limit" default:"20" minimum:"1" maximum:"200" doc:"at most so many"`
	Cursor string `query:"cursor" maxLength:"300" doc:"where the page begins, as the Link header of the page before says"`
}

type recoveriesPage struct {
	Link string `header:"Link" doc:"where the next page is (rel=next), if there is one"`
	Body []Recovery
}

func (a *API) recoveries(ctx context.Context, in *recoveriesInput) (*recoveriesPage, error) {
	from, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity("the cursor is none of ours; begin again without it")
	}
	queues, err := a.queues(ctx, in.Filter, from)
	if err != nil {
		return nil, away("the reports cannot be listed", err)
	}
	page := &recoveriesPage{Body: []Recovery{}}
	for looked := 0; len(queues) > 0; looked++ {
		next := queues[0].head
		if next.Started.Before(in.Since) {
			break // newest first: whatever follows is older still
		}
		if len(page.Body) == in.Limit || looked == maxLooked {
			in.Cursor = from.String()
			page.Link = in.link()
			break
		}
		if from.before(next) {
			from = cursor{next.Started, next.Service, next.Epoch}
			if in.Passes(next) {
				page.Body = append(page.Body, next)
			}
		}
		more, err := queues[0].advance(ctx, a.past)
		if err != nil {
			return nil, away("a report cannot be read", err)
		}
		if more {
			heap.Fix(&queues, 0)
		} else {
			heap.Pop(&queues)
		}
	}
	return page, nil
}

func (in recoveriesInput) link() string {
	q := in.Query()
	q.Set("limit", strconv.Itoa(in.Limit))
	q.Set("cursor", in.Cursor)
	return fmt.Sprintf("<%s/recoveries?%s>; rel=\"next\"", base, q.Encode())
}

// queues opens one queue per service: the running recovery from its guard, the
// others from the reports, which need no engine.
func (a *API) queues(ctx context.Context, f Filter, from cursor) (queues, error) {
	names, err := a.past.names(ctx, f.Service)
	if err != nil {
		return nil, err
	}
	running := map[string]Recovery{}
	if f.Outcome == "" || f.Outcome == Running {
		running = a.runningNow(ctx, f.Service)
	}
	services := slices.Collect(maps.Keys(names))
	for service := range running {
		if names[service] == nil {
			services = append(services, service)
		}
	}
	var all queues
	for _, service := range services {
		q := &queue{names: names[service]}
		if err := q.skip(ctx, a.past, func(r Recovery) bool { return from.before(r) && (f.Until.IsZero() || r.Started.Before(f.Until)) }); err != nil {
			return nil, err
		}
		if r, ok := running[service]; ok {
			q.head = r
		} else if more, err := q.advance(ctx, a.past); err != nil {
			return nil, err
		} else if !more {
			continue
		}
		all = append(all, q)
	}
	heap.Init(&all)
	return all, nil
}

// runningNow asks the guards, and the recoveries that run.
func (a *API) runningNow(ctx context.Context, service string) map[string]Recovery {
	services := a.Library().Services()
	if service != "" {
		services = []string{service}
	}
	running := map[string]Recovery{}
	var mu sync.Mutex
	eachAtOnce(services, func(_ int, name string) {
		state, err := a.state(ctx, name)
		if err != nil || state.Running == nil {
			return
		}
		report, err := a.progress(ctx, name, state.Running.Epoch)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		running[name] = Listed(report)
	})
	return running
}
