package triggers

import (
	"fmt"
	"net/http"

	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/triggers/audit"
	"github.com/understudy-dr/understudy/triggers/slackin"
)

// Paths that are not the API's.
const (
	AlertsPath  = base + "/alerts"
	HealthPath  = "/healthz"
	ReadyPath   = "/readyz"
	MetricsPath = "/metrics"
)

// OpenPaths need no login: they say that Understudy lives, and nothing else.
// Metrics are not among them: they name every service, and take the role viewer.
var OpenPaths = []string{HealthPath, ReadyPath}

// IngestPaths take alerts.
var IngestPaths = []string{AlertsPath}

// Front is everything that is served on the one port, behind the gate.
type Front struct {
	Gate    *access.Gate
	Alerts  http.Handler
	API     *API
	Metrics http.Handler
	// Console is the pages for people; nil where there are none.
	Console interface{ Mount(mux *http.ServeMux) }
	// Clicks takes buttons that were pressed in Slack, by requests that Slack has signed; nil where none are taken.
	Clicks http.Handler
	// Ready is false before everything works, and again once the end has begun: then whatever would change something
	// gets 503, and Alertmanager sends it again.
	Ready func() bool
}

// Handler puts the parts together.
func (f Front) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+AlertsPath, f.Alerts)
	f.API.Mount(mux)
	mux.HandleFunc("GET "+HealthPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET "+ReadyPath, func(w http.ResponseWriter, _ *http.Request) {
		if !f.Ready() {
			http.Error(w, notReady, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.Handle("GET "+MetricsPath, f.Metrics)
	if f.Console != nil {
		f.Console.Mount(mux)
	}
	guarded := f.Gate.Guard(f.whenReady(mux))
	if f.Clicks == nil {
		return guarded
	}
	// Slack logs in by its signature, and is no browser that somebody could have tricked.
	clicks := f.whenReady(f.Clicks)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == slackin.Path {
			clicks.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

const notReady = "Understudy is starting or stopping; try again"

func (f Front) whenReady(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && !f.Ready() {
			w.Header().Set("Retry-After", "2")
			problem(w, http.StatusServiceUnavailable, notReady)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Turned keeps what the gate turned away: the attempt to change something
// without the role for it.
func Turned(log Recorder) func(p access.Person, r *http.Request, why string) {
	return func(p access.Person, r *http.Request, why string) {
		_ = log.Record(audit.Entry{ // the log of the program has it in any case
			Who: p.Name, Role: string(p.Role), From: p.From, Did: r.Method + " " + clean(r.URL.Path, 200), Key: clean(r.Header.Get("Idempotency-Key"), 128), Result: audit.Refused, Text: why,
		})
	}
}
