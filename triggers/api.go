package triggers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// askIn bounds how long a guard or a recovery may take to answer a question.
const askIn = 3 * time.Second

// Standbys asks a running standby whether it could be used.
type Standbys interface {
	CheckStandby(ctx context.Context, in activities.CheckStandbyInput) (activities.Gate, error)
}

// APIConfig is what the API works with.
type APIConfig struct {
	Library  func() *runbooks.Library
	Guards   Guards
	Standbys Standbys
	Reports  reports.Store
	// Link leads to a workflow in the Temporal UI.
	Link    func(workflowID string) string
	Version string
}

// API answers what people and programs ask, below /api/v1. Its description is
// at /api/v1/openapi.json; errors are problem+json (RFC 9457).
type API struct{ APIConfig }

// Mount adds the API to a server.
func (c APIConfig) Mount(mux *http.ServeMux) {
	config := huma.DefaultConfig("Understudy", c.Version)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "/api/v1/openapi", "", "/api/v1/schemas"
	api, a := humago.New(mux, config), &API{c}
	get(api, "/api/v1/services", "list-services", "Every service, where it runs, and what its guard does", a.services)
	get(api, "/api/v1/services/{service}", "get-service", "One service, with its guard's latest decisions", a.service)
	get(api, "/api/v1/services/{service}/plan", "get-plan", "What a recovery would do now, and why tiers would be refused", a.plan)
	get(api, "/api/v1/recoveries", "list-recoveries", "Past and running recoveries, newest first", a.recoveries)
	get(api, "/api/v1/recoveries/{id}", "get-recovery", "One recovery: live progress, or its report", a.recovery)
}

func get[In, Out any](api huma.API, path, id, what string, handler func(context.Context, *In) (*Out, error)) {
	huma.Register(api, huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: what}, handler)
}

// Body wraps what an operation answers.
type Body[T any] struct{ Body T }

// Service is one service as lists show it.
type Service struct {
	Service string    `json:"service"`
	Active  string    `json:"active" doc:"where it runs: primary, or a tier"`
	Since   time.Time `json:"since"`
	State   string    `json:"state" doc:"ready, recovering, cooling down, paused, away or unknown"`
	Epoch   int64     `json:"epoch"`
	Running string    `json:"running,omitempty" doc:"id of the recovery that runs"`
	Last    string    `json:"last,omitempty" doc:"outcome of the latest recovery"`
	Problem string    `json:"problem,omitempty"`
}

// ServiceDetail is one service with all that its guard knows.
type ServiceDetail struct {
	Service
	Guard   workflows.GuardState `json:"guard"`
	Runbook string               `json:"runbook" doc:"hash of the runbook as it stands now"`
	Link    string               `json:"link" doc:"the guard in the Temporal UI"`
}

// Recovery is one recovery as lists show it.
type Recovery struct {
	ID         string    `json:"id"`
	Service    string    `json:"service"`
	Epoch      int64     `json:"epoch"`
	Mode       string    `json:"mode"`
	Outcome    string    `json:"outcome" doc:"running, or how it ended"`
	Tier       string    `json:"tier,omitempty"`
	Verdict    string    `json:"verdict,omitempty"`
	Reason     string    `json:"reason"`
	Started    time.Time `json:"started"`
	RTOSeconds float64   `json:"rto_seconds,omitempty"`
	Objective  string    `json:"objective,omitempty"`
}

// RecoveryDetail is one recovery with its whole report.
type RecoveryDetail struct {
	ID     string           `json:"id"`
	Report workflows.Report `json:"report"`
	Link   string           `json:"link" doc:"the recovery in the Temporal UI"`
}

// PlanDetail is a plan with what would be found at its gates now.
type PlanDetail struct {
	Plan  runbooks.Plan              `json:"plan"`
	Gates map[string]activities.Gate `json:"gates" doc:"answers of the running standbys, by tier"`
}

type serviceInput struct {
	Service string `path:"service" maxLength:"63"`
}

func (a *API) services(ctx context.Context, _ *struct{}) (*Body[[]Service], error) {
	names := a.Library().Services()
	all := make([]Service, len(names))
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			state, err := a.state(ctx, name)
			all[i] = summarize(name, state, err)
		})
	}
	wg.Wait()
	return &Body[[]Service]{all}, nil
}

func (a *API) service(ctx context.Context, in *serviceInput) (*Body[ServiceDetail], error) {
	r, ok := a.Library().Lookup(in.Service)
	if !ok {
		return nil, a.unknown(in.Service)
	}
	state, err := a.state(ctx, in.Service)
	return &Body[ServiceDetail]{ServiceDetail{
		Service: summarize(in.Service, state, err), Guard: state, Runbook: r.Hash(), Link: a.Link(workflows.GuardID(in.Service)),
	}}, nil
}

func (a *API) plan(ctx context.Context, in *serviceInput) (*Body[PlanDetail], error) {
	r, ok := a.Library().Lookup(in.Service)
	if !ok {
		return nil, a.unknown(in.Service)
	}
	state, err := a.state(ctx, in.Service)
	if err != nil {
		state.Active = runbooks.PrimaryName // the plan for the day when even the guard is away
	}
	active, ok := r.TargetNamed(state.Active)
	if !ok {
		return nil, huma.Error409Conflict(fmt.Sprintf("%s runs on tier %s, which its runbook no longer has", in.Service, state.Active))
	}
	plan := runbooks.NewPlan(r, active, nil)
	detail := PlanDetail{Plan: plan, Gates: map[string]activities.Gate{}}
	for _, rung := range plan.Rungs {
		if rung.Refused != "" || strings.Contains(rung.Target.URL, "{") {
			continue
		}
		gate, err := a.Standbys.CheckStandby(ctx, activities.CheckStandbyInput{Target: rung.Target, Health: r.Health, Version: r.Version, Settings: r.Settings})
		if err != nil {
			gate.Refusals = append(gate.Refusals, err.Error())
		}
		detail.Gates[rung.Tier] = gate
	}
	return &Body[PlanDetail]{detail}, nil
}

func (a *API) recoveries(ctx context.Context, in *struct {
	Service string `query:"service" maxLength:"63" doc:"only of this service"`
	Limit   int    `query:"limit" default:"20" minimum:"1" maximum:"200"`
}) (*Body[[]Recovery], error) {
	services := a.Library().Services()
	if in.Service != "" {
		services = []string{in.Service}
	}
	all := []Recovery{}
	for _, service := range services {
		found, err := a.recoveriesOf(ctx, service, in.Limit)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortStableFunc(all, func(x, y Recovery) int {
		return cmp.Or(y.Started.Compare(x.Started), cmp.Compare(y.Epoch, x.Epoch))
	})
	return &Body[[]Recovery]{all[:min(len(all), in.Limit)]}, nil
}

// recoveriesOf lists the newest recoveries of a service: the running one from
// its guard, the others from the reports, which need no engine.
func (a *API) recoveriesOf(ctx context.Context, service string, limit int) ([]Recovery, error) {
	var all []Recovery
	if state, err := a.state(ctx, service); err == nil && state.Running != nil {
		if report, err := a.progress(ctx, service, state.Running.Epoch); err == nil {
			all = append(all, Listed(report))
		}
	}
	names, err := a.Reports.List(ctx, service+"/")
	if err != nil {
		return nil, huma.Error503ServiceUnavailable("the reports cannot be listed", err)
	}
	for i := len(names) - 1; i >= 0 && len(all) < limit; i-- {
		if !strings.HasSuffix(names[i], ".json") {
			continue
		}
		content, err := a.Reports.Read(ctx, names[i])
		if err != nil {
			return nil, huma.Error503ServiceUnavailable("a report cannot be read", err)
		}
		var report workflows.Report
		if json.Unmarshal(content, &report) == nil && !slices.ContainsFunc(all, func(r Recovery) bool { return r.Epoch == report.Epoch }) {
			all = append(all, Listed(report))
		}
	}
	return all, nil
}

var recoveryID = regexp.MustCompile(`^([a-z0-9-]+)-([0-9]+)$`)

// ParseRecoveryID takes the id of a recovery apart, such as fun-asr-7.
func ParseRecoveryID(id string) (service string, epoch int64, ok bool) {
	parts := recoveryID.FindStringSubmatch(id)
	if parts == nil {
		return "", 0, false
	}
	epoch, err := strconv.ParseInt(parts[2], 10, 64)
	return parts[1], epoch, err == nil
}

func (a *API) recovery(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"90" doc:"service and epoch, such as fun-asr-7"`
}) (*Body[RecoveryDetail], error) {
	service, epoch, ok := ParseRecoveryID(in.ID)
	if !ok {
		return nil, huma.Error404NotFound("a recovery's id is its service and its epoch, such as fun-asr-7")
	}
	report, err := a.report(ctx, service, epoch)
	if err != nil {
		return nil, huma.Error404NotFound(fmt.Sprintf("there is no recovery %d of %s", epoch, service), err)
	}
	return &Body[RecoveryDetail]{RecoveryDetail{ID: in.ID, Report: report, Link: a.Link(workflows.RecoveryID(service, epoch))}}, nil
}

// report finds a recovery's report: written down, or live in the engine.
func (a *API) report(ctx context.Context, service string, epoch int64) (report workflows.Report, err error) {
	content, err := a.Reports.Read(ctx, workflows.ReportName(service, epoch)+".json")
	if err == nil {
		return report, json.Unmarshal(content, &report)
	}
	if !errors.Is(err, reports.ErrNone) {
		return report, err
	}
	return a.progress(ctx, service, epoch)
}

func (a *API) state(ctx context.Context, service string) (workflows.GuardState, error) {
	ctx, cancel := context.WithTimeout(ctx, askIn)
	defer cancel()
	return a.Guards.State(ctx, service)
}

func (a *API) progress(ctx context.Context, service string, epoch int64) (workflows.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, askIn)
	defer cancel()
	return a.Guards.Progress(ctx, service, epoch)
}

func (a *API) unknown(service string) error {
	return huma.Error404NotFound(fmt.Sprintf("there is no service %q; there are: %s", service, strings.Join(a.Library().Services(), ", ")))
}

// Listed is a report as lists show it.
func Listed(r workflows.Report) Recovery {
	l := Recovery{
		ID: fmt.Sprintf("%s-%d", r.Service, r.Epoch), Service: r.Service, Epoch: r.Epoch, Mode: r.Mode, Outcome: r.Outcome, Tier: r.Tier,
		Verdict: r.Verdict, Reason: r.Reason, Started: r.Started, RTOSeconds: r.RTOSeconds,
	}
	if l.Outcome == "" {
		l.Outcome, l.Reason = "running", r.Trigger.Text
	}
	if r.Objective > 0 {
		l.Objective = r.Objective.String()
	}
	return l
}

func summarize(name string, s workflows.GuardState, err error) Service {
	out := Service{Service: name, Active: s.Active, Since: s.Since, Epoch: s.Epoch}
	if s.Last != nil {
		out.Last = s.Last.Outcome
	}
	switch {
	case err != nil:
		out.State, out.Problem = "unknown", "the guard does not answer: "+err.Error()
	case s.Running != nil:
		out.State, out.Running = "recovering", fmt.Sprintf("%s-%d", name, s.Running.Epoch)
	case s.Paused != nil:
		out.State = "paused"
	case time.Now().Before(s.CooldownUntil):
		out.State = "cooling down"
	case s.Active != runbooks.PrimaryName:
		out.State = "away"
	default:
		out.State = "ready"
	}
	return out
}
