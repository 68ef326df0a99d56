package triggers_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/activities/reports/disk"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

var began = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// stage is the front on a server, with an engine that says what the test wants.
type stage struct {
	*triggerstest.Engine
	t     *testing.T
	url   string
	store reports.Store
	api   *triggers.API
	front http.Handler
	ready bool
}

// users has one for each role, whose password is the name twice, and one without.
var users = []runbooks.User{{Name: "am", Role: "ingest"}, {Name: "vera", Role: "viewer"}, {Name: "rob", Role: "responder"}, {Name: "anna", Role: "approver"}, {Name: "bert", Role: "approver"}}

func set(t *testing.T, services ...string) *stage { return setWith(t, false, services...) }

func setWith(t *testing.T, logins bool, services ...string) *stage {
	return setEdited(t, logins, func(*triggers.APIConfig) {}, services...)
}

func setEdited(t *testing.T, logins bool, edit func(*triggers.APIConfig), services ...string) *stage {
	t.Helper()
	s := &stage{Engine: triggerstest.New(services...), t: t, store: disk.New(t.TempDir()), ready: true}
	options := access.Options{
		Address: "127.0.0.1:0", Open: triggers.OpenPaths, Ingest: triggers.IngestPaths, DataDir: t.TempDir(), Refused: triggers.Turned(s),
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	}
	if logins {
		options.Users, options.WebConfig = users, webConfig(t)
	}
	gate, err := access.New(options)
	if err != nil {
		t.Fatal(err)
	}
	library := triggerstest.Library(services...)
	config := s.API(library, s.store)
	config.Log = slog.New(slog.DiscardHandler)
	edit(&config)
	s.api = triggers.NewAPI(config)
	alerts := triggers.NewAlerts(triggers.AlertsConfig{Library: config.Library, Guards: s, Pager: &engine{pages: make(chan string, 100)}, Log: config.Log, Metrics: prometheus.NewRegistry()})
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "understudy_up 1") })
	s.front = triggers.Front{Gate: gate, Alerts: alerts, API: s.api, Metrics: metrics, Ready: func() bool { return s.ready }}.Handler()
	server := httptest.NewServer(s.front)
	t.Cleanup(server.Close)
	t.Cleanup(s.api.Close)
	s.url = server.URL
	return s
}

func webConfig(t *testing.T) string {
	t.Helper()
	text := "basic_auth_users:\n"
	for _, u := range append(users, runbooks.User{Name: "norole"}) {
		hash, err := bcrypt.GenerateFromPassword([]byte(u.Name+u.Name), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("  %s: %s\n", u.Name, hash)
	}
	path := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ask sends a request as somebody, and returns status, headers and body.
func (s *stage) ask(who, method, path, body string, headers ...string) (int, http.Header, string) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if who != "" {
		r.SetBasicAuth(who, who+who)
		r.Header.Set(access.NameHeader, who)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(text)
}

// get asks for something that is there.
func (s *stage) get(path string, into any) http.Header {
	s.t.Helper()
	status, headers, body := s.ask("anna", "GET", path, "")
	if status != 200 {
		s.t.Fatalf("GET %s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		s.t.Fatalf("GET %s: %v: %s", path, err, body)
	}
	return headers
}

// keep writes recoveries down.
func (s *stage) keep(all ...workflows.Report) {
	s.t.Helper()
	for _, r := range all {
		if err := triggerstest.Keep(s.t.Context(), s.store, r); err != nil {
			s.t.Fatal(err)
		}
	}
}

// ended is a recovery that is over.
func ended(r workflows.Report, outcome, tier string, rto float64) workflows.Report {
	r.Outcome, r.Tier, r.Reason, r.RTOSeconds = outcome, tier, "because", rto
	r.Ended = r.Started.Add(time.Minute)
	return r
}

// document is the OpenAPI document as far as tests need it.
type document struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Parameters  []struct {
			Name     string `json:"name"`
			Required bool   `json:"required"`
		} `json:"parameters"`
	} `json:"paths"`
}

// Every operation of the document, and everything beside it, asked by everybody.
func TestEveryRouteAsEveryRole(t *testing.T) {
	s := setWith(t, true, "asr")
	s.Run(triggerstest.Report("asr", 7, began))
	var described document
	s.get("/api/v1/openapi.json", &described)
	if described.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %s", described.OpenAPI)
	}
	type route struct{ method, path, body, who string }
	const readers, deciders = "vera rob anna", "rob anna"
	routes := []route{
		{"GET", "/healthz", "", "nobody am norole vera rob anna"}, {"GET", "/readyz", "", "nobody am norole vera rob anna"},
		{"GET", "/metrics", "", readers}, {"GET", "/api/v1/openapi.json", "", readers}, {"GET", "/api/v1/openapi.yaml", "", readers}, {"GET", "/api/v1/schemas/Service.json", "", readers},
		{"GET", "/", "", readers}, {"GET", "/no/such/page", "", readers}, {"POST", "/api/v1/alerts", hook(one("asr", "firing", "f1")), "am rob anna"},
		{"PUT", "/api/v1/services", "{}", deciders}, {"DELETE", "/api/v1/recoveries/asr-7", "{}", deciders},
	}
	count := map[string]int{}
	for path, methods := range described.Paths {
		for method, operation := range methods {
			r := route{strings.ToUpper(method), strings.NewReplacer("{service}", "asr", "{id}", "asr-7", "{job}", "nightly").Replace(path), "", readers}
			if r.method != "GET" {
				r.body, r.who = `{"reason":"r","question":"7-1","plan":"p","answer":"stop"}`, deciders
				if !slices.ContainsFunc(operation.Parameters, func(p struct {
					Name     string `json:"name"`
					Required bool   `json:"required"`
				}) bool {
					return p.Name == "Idempotency-Key" && p.Required
				}) {
					t.Errorf("%s %s takes no key", r.method, path)
				}
			}
			count[r.method]++
			if !strings.HasSuffix(path, "/events") { // a stream has its own test, and its own end
				routes = append(routes, r)
			}
		}
	}
	if count["GET"] < 14 || count["POST"] < 18 || len(count) != 2 {
		t.Errorf("operations: %v", count)
	}
	for _, r := range routes {
		for _, who := range []string{"nobody", "wrong", "am", "norole", "vera", "rob", "anna"} {
			user := who
			if who == "nobody" {
				user = ""
			}
			headers := []string{"Idempotency-Key", r.path + who}
			if who == "wrong" {
				user = ""
				headers = append(headers, "Authorization", "Basic YW5uYTp3cm9uZw==") // anna:wrong
			}
			status, _, body := s.ask(user, r.method, r.path, r.body, headers...)
			allowed := slices.Contains(strings.Fields(r.who), who) || strings.HasPrefix(r.who, "nobody")
			switch {
			case allowed && (status == 401 || status == 403):
				t.Errorf("%s %s as %s: %d %s", r.method, r.path, who, status, body)
			case !allowed && (who == "nobody" || who == "wrong") && status != 401 && status != 429 && status != 503:
				t.Errorf("%s %s as %s: %d %s", r.method, r.path, who, status, body)
			case !allowed && who != "nobody" && who != "wrong" && status != 403:
				t.Errorf("%s %s as %s: %d %s", r.method, r.path, who, status, body)
			}
		}
	}
	for _, o := range s.Orders() {
		if by, _, _ := strings.Cut(strings.SplitN(o.Key, "/", 2)[1], "/"); by != "rob" && by != "anna" {
			t.Errorf("%s has reached a workflow: %+v", by, o)
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	s := set(t, "asr")
	for path, says := range map[string]string{
		"/api/v1/services/nobody": "there is no service", "/api/v1/services/nobody/plan": "there are: asr", "/api/v1/services/nobody/why": "there is no service",
		"/api/v1/recoveries/asr-99": "there is no recovery 99 of asr", "/api/v1/recoveries/x": "such as fun-asr-7", "/api/v1/recoveries/asr-99/report": "there is no recovery",
		"/api/v1/recoveries/asr-99/events": "there is no recovery", "/api/v1/recoveries/..%2f..%2fetc-7": "", "/api/v1/recoveries/asr-99999999999999999999": "such as",
	} {
		status, headers, body := s.ask("", "GET", path, "")
		if status != 404 || headers.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, says) {
			t.Errorf("%s: %d %s %s", path, status, headers.Get("Content-Type"), body)
		}
	}
}

func TestBeforeItIsReadyNothingIsChanged(t *testing.T) {
	s := set(t, "asr")
	s.ready = false
	for _, path := range []string{"/api/v1/alerts", "/api/v1/pause"} {
		if status, _, body := s.ask("anna", "POST", path, "{}", "Idempotency-Key", "1"); status != 503 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/api/v1/services": 200} {
		if status, _, body := s.ask("anna", "GET", path, ""); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestReport(t *testing.T) {
	s := set(t, "asr")
	r := ended(triggerstest.Report("asr", 7, began), workflows.OutcomeRecovered, "hot", 1.5)
	r.Trigger.Text = "<script>alert(1)</script>"
	s.keep(r)
	for path, accept := range map[string]string{"/api/v1/recoveries/asr-7/report.md": "", "/api/v1/recoveries/asr-7/report": "text/markdown"} {
		status, headers, body := s.ask("", "GET", path, "", "Accept", accept)
		if status != 200 || !strings.HasPrefix(headers.Get("Content-Type"), "text/markdown") || !strings.HasPrefix(body, "# Recovery 7 of asr: recovered") || strings.Contains(body, "<script>") {
			t.Errorf("%s: %d %s\n%s", path, status, headers.Get("Content-Type"), body)
		}
		if headers.Get("X-Content-Type-Options") != "nosniff" {
			t.Error("a browser may take it for something else")
		}
	}
	var back workflows.Report
	headers := s.get("/api/v1/recoveries/asr-7/report", &back)
	if back.Epoch != 7 || back.RTOSeconds != 1.5 || headers.Get("Content-Type") != "application/json" {
		t.Errorf("%+v %v", back, headers)
	}
}
