package triggers

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/audit"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// askIn bounds how long a guard or a recovery may take to answer a question.
	askIn = 3 * time.Second
	// maxRequest is the largest body of a request of people's, in bytes.
	maxRequest = 64 << 10
)

// Standbys asks a running standby whether it could be used.
type Standbys interface {
	CheckStandby(ctx context.Context, in activities.CheckStandbyInput) (activities.Gate, error)
}

// Makers asks whether a tier's machine could be made now, and how far data is.
type Makers interface {
	LookAtData(ctx context.Context, in activities.DataInput) (activities.LookAtDataResult, error)
	CheckMachine(ctx context.Context, in activities.CheckMachineInput) (activities.MachineGate, error)
}

// Recorder keeps what people decided.
type Recorder interface {
	Record(e audit.Entry) error
}

// APIConfig is what the API works with.
type APIConfig struct {
	Library  func() *runbooks.Library
	Guards   Guards
	Orders   Orders
	Standbys Standbys
	Makers   Makers
	Machines Machines
	Lookouts Lookouts
	Reports  reports.Store
	Batches  Batching
	Audit    Recorder
	// Link leads to a workflow in the Temporal UI.
	Link    func(workflowID string) string
	Version string
	Log     *slog.Logger
}

// API answers what people and programs ask, below /api/v1. Its description is
// at /api/v1/openapi.json; errors are problem+json (RFC 9457).
type API struct {
	APIConfig
	past    *archive
	feed    *feed
	replies replies
}

// NewAPI makes the API.
func NewAPI(c APIConfig) *API {
	a := &API{APIConfig: c, past: newArchive(c.Reports)}
	a.feed = newFeed(a)
	return a
}

// Close ends the event streams: they would keep a server from stopping.
func (a *API) Close() { a.feed.close() }

// Mount adds the API to a server.
func (a *API) Mount(mux *http.ServeMux) {
	api := humago.New(mux, a.description())

	get(api, "/services", "list-services", "Every service, where it runs, and what its guard does", a.services)
	get(api, "/services/{service}", "get-service", "One service, with all that its guard knows", a.service)
	get(api, "/services/{service}/plan", "get-plan", "What a recovery would do now, why tiers would be refused, and how long steps took before", a.plan)
	get(api, "/services/{service}/failback", "get-way-home", "What a failback would bring home, whether it could now, and how long users would wait", a.wayHome)
	get(api, "/services/{service}/why", "get-decisions", "The guard's latest decisions with their reasons, also those to do nothing", a.why)
	get(api, "/recoveries", "list-recoveries", "Past and running recoveries, newest first", a.recoveries)
	get(api, "/recoveries/{id}", "get-recovery", "One recovery: live progress or report, and what may be ordered now", a.recovery)
	get(api, "/recoveries/{id}/report", "get-report", "The report of a recovery as JSON, as Markdown, or as a page to print: by format, or by Accept", a.reportFile)
	get(api, "/recoveries/{id}/report.md", "get-report-markdown", "The report of a recovery, for people", a.reportMarkdown)
	get(api, "/reports/verify", "verify-reports", "Whether the reports are what was written, and all of them are there", a.verifyReports)
	get(api, "/services/{service}/trends", "get-trends", "How long the tiers and steps of a service take, over its past recoveries and drills", a.trends)
	get(api, "/machines", "list-machines", "The machines that carry our tags", a.machines)
	get(api, "/services/{service}/readiness", "get-readiness", "Would each tier work right now? What was found, since when, and what to do", a.readiness)
	stream(api, "/events", "follow-all", "Changes of all services and recoveries, as server-sent events", a.followAll)
	stream(api, "/recoveries/{id}/events", "follow-recovery", "A recovery while it runs, as server-sent events; the stream ends with it", a.followOne)

	post(api, "/services/{service}/recover", "recover", "Start a recovery", a.recover)
	post(api, "/services/{service}/drill", "drill", "Practise the way to standbys, without any traffic", a.drill)
	post(api, "/services/{service}/failback", "failback", "Take the planned way home to the primary", a.failback)
	post(api, "/services/{service}/pause", "pause", "Start no recovery of a service by itself", a.pause)
	post(api, "/services/{service}/resume", "resume", "End a pause", a.resume)
	post(api, "/pause", "pause-all", "Start no recovery of any service by itself", a.pauseAll)
	post(api, "/resume", "resume-all", "End the pauses of all services", a.resumeAll)
	post(api, "/recoveries/{id}/abort", "abort", "Stop a recovery", a.abort)
	post(api, "/recoveries/{id}/approve", "approve", "Agree to the plan that a recovery asks about", a.approve)
	post(api, "/recoveries/{id}/reject", "reject", "Refuse the plan that a recovery asks about", a.reject)
	post(api, "/recoveries/{id}/answer", "answer", "Answer another question of a recovery", a.answer)
	post(api, "/recoveries/{id}/retry", "retry", "Undo what the tier that is tried did, and try it again", a.retry)
	post(api, "/recoveries/{id}/skip", "skip", "Undo what the tier that is tried did, and try the next one", a.skip)
	post(api, "/recoveries/{id}/commit", "commit", "Keep a provisional switch", a.commit)
	post(api, "/recoveries/{id}/rollback", "rollback", "Take a provisional switch back", a.rollback)
	a.mountBatches(api)
}

// description is the frame of the OpenAPI document; the operations fill it.
func (a *API) description() huma.Config {
	config := huma.DefaultConfig("Understudy", a.Version)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = base+"/openapi", "", base+"/schemas"
	config.Info.Description = "Brings self-hosted speech services back: what runs where, what a recovery would do, and the decisions of people. " +
		"Reading takes the role viewer, deciding the role responder; some questions take approver. " +
		"Every decision carries an Idempotency-Key: sent again with the same key it is answered again, and not done again."
	config.Info.License = &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"}
	config.Servers = []*huma.Server{{URL: "/", Description: "this Understudy"}}
	config.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"password": {Type: "http", Scheme: "basic", Description: "A user of the web config file, with a role in the site file. On loopback without a web config file nobody logs in."},
	}
	config.Security = []map[string][]string{{"password": {}}}
	return config
}

// schemaName names a type in the document: those of other rooms with the room
// before it, because two rooms may use one word.
func schemaName(t reflect.Type, hint string) string {
	named := t
	for named.Kind() == reflect.Pointer || named.Kind() == reflect.Slice || named.Kind() == reflect.Array {
		named = named.Elem()
	}
	name, room := huma.DefaultSchemaNamer(t, hint), path.Base(named.PkgPath())
	if named.Name() == "" || room == "triggers" || room == "v2" || room == "." {
		return name
	}
	return strings.ToUpper(room[:1]) + room[1:] + name
}

// base is where the API begins.
const base = "/api/v1"

// failures are the statuses with which an operation may fail.
var failures = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusServiceUnavailable}

func get[In, Out any](api huma.API, path, id, what string, handler func(context.Context, *In) (*Out, error)) {
	huma.Register(api, huma.Operation{OperationID: id, Method: http.MethodGet, Path: base + path, Summary: what, Tags: tags(path), Errors: failures}, handler)
}

func post[In, Out any](api huma.API, path, id, what string, handler func(context.Context, *In) (*Out, error)) {
	huma.Register(api, huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: base + path, Summary: what, Tags: tags(path), MaxBodyBytes: maxRequest,
		Errors: append([]int{http.StatusConflict}, failures...),
	}, handler)
}

// tags group operations by what they are about.
func tags(path string) []string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if first == "pause" || first == "resume" {
		first = "services"
	}
	return []string{first}
}

// Body wraps what an operation answers.
type Body[T any] struct{ Body T }

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
