package console_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/net/html"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/reports/disk"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/triggers/console"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

var began = time.Now().Add(-time.Hour).UTC().Truncate(time.Second)

// stage is the console behind the gate, with the real API on an engine that says
// what the test wants.
type stage struct {
	*triggerstest.Engine
	t       *testing.T
	url     string
	console *console.Console
	ready   workflows.ReadinessState
}

// users has one for each role, whose password is the name twice, and one without.
var users = []runbooks.User{{Name: "am", Role: "ingest"}, {Name: "vera", Role: "viewer"}, {Name: "rob", Role: "responder"}, {Name: "anna", Role: "approver"}}

func set(t *testing.T) *stage {
	t.Helper()
	s := &stage{Engine: triggerstest.New("asr", "tts"), t: t, ready: workflows.ReadinessState{At: began, Findings: []activities.Finding{
		{Tier: "hot", Check: "standby", Level: activities.LevelOK, What: "answers in 3 ms"},
		{Tier: "cold", Check: "proof", Level: activities.LevelWarn, What: "never proven", Do: "understudy drill asr", Since: began},
		{Tier: "cross-region", Check: "machine", Level: activities.LevelFail, What: "no quota", Since: began},
	}}}
	gate, err := access.New(access.Options{
		Address: "127.0.0.1:0", Users: users, WebConfig: webConfig(t), Open: triggers.OpenPaths, Ingest: triggers.IngestPaths, DataDir: t.TempDir(), Refused: triggers.Turned(s),
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	store := disk.New(t.TempDir())
	config := s.API(triggerstest.Library("asr", "tts"), store)
	config.Log, config.Lookouts = slog.New(slog.DiscardHandler), s
	api := triggers.NewAPI(config)
	s.console = console.New(console.Config{API: api, Library: config.Library, Token: gate.Token, Version: "test", Log: config.Log})
	nothing := http.NotFoundHandler()
	server := httptest.NewServer(triggers.Front{Gate: gate, Alerts: nothing, API: api, Metrics: nothing, Console: s.console, Ready: func() bool { return true }}.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(api.Close)
	s.url = server.URL
	over := triggerstest.Report("asr", 5, began)
	over.Outcome, over.Tier, over.Active, over.RTOSeconds, over.Objective = workflows.OutcomeRecovered, "hot", "hot", 1.5, runbooks.Duration(30*time.Second)
	over.Reason, over.Ended, over.Verified = "asr answers on hot", began.Add(time.Minute), began.Add(1500*time.Millisecond)
	over.Timeline = append(over.Timeline, workflows.Record{Step: runbooks.StepGate, Tier: "hot", State: workflows.Done, Started: began.Add(40 * time.Millisecond), Ended: began.Add(60 * time.Millisecond)})
	if err := triggerstest.Keep(t.Context(), store, over); err != nil {
		t.Fatal(err)
	}
	return s
}

// Readiness says what the test has put.
func (s *stage) Readiness(_ context.Context, service string, _ bool) (workflows.ReadinessState, error) {
	state := s.ready
	state.Service = service
	return state, nil
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

// asking is a recovery of asr that runs, and asks an approver.
func asking() workflows.Report {
	r := triggerstest.Report("asr", 7, began)
	book := triggerstest.Runbook("asr")
	home, _ := book.TargetNamed(runbooks.PrimaryName)
	r.Plan = runbooks.NewPlan(book, home, nil)
	r.Timeline = append(r.Timeline, workflows.Record{Step: runbooks.StepLoad, Tier: "cold", State: workflows.InProgress, Reason: "loading", Started: began.Add(time.Second)})
	r.Question = &workflows.Question{ID: "7-1", Text: "may asr move to cross-region?", Plan: "p1", Roles: []string{"approver"}, Tier: "cross-region",
		Choices: []workflows.Choice{{Answer: "approve", Leaves: "it is made"}, {Answer: "reject", Leaves: "it is left out"}}}
	return r
}

// answer is a page as it came.
type answer struct {
	status   int
	header   http.Header
	text     string
	document *html.Node
}

// ask sends a request as somebody; a form where there is one.
func (s *stage) ask(who, method, path string, form url.Values) answer {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	if name, password, ok := strings.Cut(who, ":"); ok {
		r.SetBasicAuth(name, password)
	} else if who != "" {
		r.SetBasicAuth(who, who+who)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	document, err := html.Parse(strings.NewReader(string(text)))
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text), document}
}

// page asks for one that is there.
func (s *stage) page(who, path string) answer {
	s.t.Helper()
	a := s.ask(who, "GET", path, nil)
	if a.status != 200 {
		s.t.Fatalf("GET %s: %d %s", path, a.status, a.text)
	}
	return a
}

// form is a form of a page, filled in as it came.
type form struct {
	action string
	fields url.Values
	// buttons are the values of named ones, as name=value.
	buttons []string
	// wanted are the fields that a person must fill in.
	wanted []string
}

// posts are the forms of a page that decide something.
func (a answer) posts() (all []form) {
	for node := range a.document.Descendants() {
		if node.Type != html.ElementNode || node.Data != "form" || attr(node, "method") != "post" {
			continue
		}
		f := form{action: attr(node, "action"), fields: url.Values{}}
		for field := range node.Descendants() {
			name := attr(field, "name")
			switch {
			case field.Type != html.ElementNode || name == "":
			case field.Data == "button":
				f.buttons = append(f.buttons, name+"="+attr(field, "value"))
			case attr(field, "type") != "checkbox":
				f.fields.Set(name, attr(field, "value"))
				if slices.ContainsFunc(field.Attr, func(a html.Attribute) bool { return a.Key == "required" }) {
					f.wanted = append(f.wanted, name)
				}
			}
		}
		all = append(all, f)
	}
	return all
}

func attr(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// words is what a person reads.
func (a answer) words() string {
	var b strings.Builder
	for node := range a.document.Descendants() {
		if node.Type == html.TextNode {
			b.WriteString(node.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func (a answer) says(t *testing.T, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(a.words(), want) {
			t.Errorf("the page does not say %q:\n%s", want, a.words())
		}
	}
}

// everyPage is an address for each page.
var everyPage = []string{"/", "/services/asr", "/services/asr/recover", "/recoveries/asr-7", "/recoveries/asr-5", "/history", "/batches"}

// Every route, asked by everybody.
func TestEveryRouteAsEveryRole(t *testing.T) {
	s := set(t)
	s.Run(asking())
	token := s.page("anna", "/services/asr").posts()[0].fields.Get(access.FormField)
	for _, pattern := range s.console.Routes() {
		method, path, _ := strings.Cut(pattern, " ")
		verb := "pause"
		if strings.Contains(path, "recoveries") {
			verb = "abort"
		}
		path = strings.NewReplacer("{$}", "", "{service}", "asr", "{id}", "asr-7", "{verb}", verb, "{job}", "j1", "{file}", "console.css").Replace(path)
		allowed := "vera rob anna"
		var fields url.Values
		if method == "POST" {
			allowed, fields = "rob anna", url.Values{"reason": {"r"}, "key": {"k"}, access.FormField: {token}}
		} else if method != "GET" {
			t.Fatalf("%s: nobody has said who may do this", pattern)
		}
		for _, who := range []string{"", "anna:wrong", "am", "norole", "vera", "rob", "anna"} {
			a := s.ask(who, method, path, fields)
			may := slices.Contains(strings.Fields(allowed), who)
			if method == "POST" && who == "rob" {
				may = false // the token is anna's
			}
			turned := a.status == 401 || a.status == 403 || a.status == 429
			if may == turned || who == "" && a.status != 401 {
				t.Errorf("%s %s as %q: %d %s", method, path, who, a.status, a.text)
			}
		}
		if method == "POST" {
			for _, wrong := range []url.Values{{"reason": {"r"}, "key": {"k"}}, {"reason": {"r"}, access.FormField: {token + "x"}}} {
				if a := s.ask("anna", method, path, wrong); a.status != 403 {
					t.Errorf("%s without a right token: %d", path, a.status)
				}
			}
		}
	}
	for _, o := range s.Orders() {
		if by := strings.Split(o.Key, "/")[1]; by != "anna" {
			t.Errorf("%s has reached a workflow: %+v", by, o)
		}
	}
}

func TestAViewerSeesNoButtons(t *testing.T) {
	s := set(t)
	s.Run(asking())
	for _, path := range everyPage {
		if forms := s.page("vera", path).posts(); len(forms) > 0 {
			t.Errorf("%s shows a viewer %+v", path, forms)
		}
	}
	s.page("vera", "/recoveries/asr-7").says(t, "may asr move to cross-region?", "This takes approver; you have the role viewer.")
	s.page("vera", "/services/asr/recover").says(t, "Starting it takes the role responder; you have the role viewer.")
	rob := s.page("rob", "/recoveries/asr-7")
	rob.says(t, "This takes approver; you have the role responder.", "Abort")
	if slices.ContainsFunc(rob.posts(), func(f form) bool { return strings.HasSuffix(f.action, "/answer") }) {
		t.Error("a responder may answer what takes an approver")
	}
}

// Every form of every page, sent as a browser sends it.
func TestEveryFormReachesItsWorkflow(t *testing.T) {
	s := set(t)
	reached := map[string]bool{}
	try := func(path string) {
		for _, f := range s.page("anna", path).posts() {
			for i := range max(1, len(f.buttons)) {
				fields := url.Values{}
				for name, values := range f.fields {
					fields[name] = values
				}
				for _, name := range f.wanted {
					if a := s.ask("anna", "POST", f.action, fields); a.status != 422 || !strings.Contains(a.words(), "Say why") {
						t.Errorf("%s without %s: %d", f.action, name, a.status)
					}
					fields.Set(name, "users hear silence")
				}
				if len(f.buttons) > 0 {
					name, value, _ := strings.Cut(f.buttons[i], "=")
					fields.Set(name, value)
					fields.Set("key", fields.Get("key")+value) // a page that was loaded once more
				}
				s.Reply(func(o triggers.Order) (any, error) {
					switch o.Update {
					case workflows.RecoverUpdateName, workflows.DrillUpdateName, workflows.FailbackUpdateName:
						return workflows.RecoverAnswer{Started: true, Epoch: 5}, nil
					}
					return "so be it", nil
				})
				before, want := len(s.Orders()), 1
				if f.action == "/pause" {
					want = 2 // every service
				}
				a := s.ask("anna", "POST", f.action, fields)
				again := s.ask("anna", "POST", f.action, fields)
				orders := s.Orders()
				if a.status != 303 || again.status != 303 || again.header.Get("Location") != a.header.Get("Location") || len(orders) != before+want {
					t.Errorf("%s of %s: %d, again %d, %d orders\n%s", f.action, path, a.status, again.status, len(orders)-before, a.words())
					continue
				}
				reached[orders[before].Update] = true
				if landed := s.ask("anna", "GET", a.header.Get("Location"), nil); landed.status != 200 {
					t.Errorf("%s leads to %s: %d", f.action, a.header.Get("Location"), landed.status)
				}
			}
		}
	}
	try("/services/asr")
	try("/services/asr/recover")
	try("/services/asr/recover?tier=hot")
	s.Set("asr", func(g *workflows.GuardState) {
		g.Active, g.Paused = "hot", &workflows.Pause{By: "bert", Reason: "upgrade"}
	})
	try("/services/asr")
	try("/")
	all := s.page("anna", "/")
	s.Reply(func(o triggers.Order) (any, error) {
		if o.Service == "tts" {
			return nil, fmt.Errorf("%w: not now", triggers.ErrRefused)
		}
		return "so be it", nil
	})
	for _, verb := range []string{"/pause", "/resume"} {
		i := slices.IndexFunc(all.posts(), func(f form) bool { return f.action == verb })
		f := all.posts()[i]
		if f.wanted != nil {
			f.fields.Set("reason", "an upgrade")
		}
		s.Set("tts", func(g *workflows.GuardState) { g.Paused = &workflows.Pause{By: "bert"} })
		a := s.ask("anna", "POST", f.action, f.fields)
		a.says(t, "Not done. 1 of 2 services did not follow. tts: not now")
		if a.status != 409 {
			t.Errorf("%s: %d", verb, a.status)
		}
		s.Set("tts", func(g *workflows.GuardState) { g.Paused = nil })
	}
	s.Run(asking())
	try("/recoveries/asr-7")
	settling := asking()
	settling.Question, settling.Verified, settling.Active = nil, began.Add(time.Second), "hot"
	settling.Timeline = []workflows.Record{{Step: runbooks.StepSettle, Tier: "hot", State: workflows.InProgress, Started: began}}
	s.Run(settling)
	try("/recoveries/asr-7")
	for _, update := range []string{
		workflows.RecoverUpdateName, workflows.DrillUpdateName, workflows.FailbackUpdateName, workflows.PauseUpdateName, workflows.ResumeUpdateName, workflows.AbortUpdateName,
		workflows.RetryUpdateName, workflows.SkipUpdateName, workflows.CommitUpdateName, workflows.RollbackUpdateName, workflows.AnswerUpdateName,
	} {
		if !reached[update] {
			t.Errorf("no form leads to %s: %v", update, reached)
		}
	}
}

func TestThePlanThatIsShownIsThePlanThatIsOrdered(t *testing.T) {
	s := set(t)
	s.Refuse("hot", "expected 2512.1, got 2511.0")
	a := s.page("anna", "/services/asr/recover")
	a.says(t, "hot would be refused", "expected 2512.1, got 2511.0", "cold would be tried", "at most 1 min; never measured yet")
	f := a.posts()[0]
	plan := f.fields.Get("plan")
	if plan == "" || !strings.Contains(a.words(), "Plan "+plan) {
		t.Fatalf("the plan is %q", plan)
	}
	s.Reply(func(triggers.Order) (any, error) {
		return workflows.RecoverAnswer{Reason: "the plan has changed: look at it again"}, nil
	})
	f.fields.Set("reason", "it hangs")
	f.fields.Set("force", "yes")
	no := s.ask("anna", "POST", f.action, f.fields)
	no.says(t, "Not done.", "the plan has changed: look at it again", "it hangs")
	if in := s.Orders()[0].Input.(workflows.RecoverUpdate); no.status != 409 || in.Plan != plan || in.By != "anna" || in.Role != "approver" || in.Reason != "it hangs" || !in.Force {
		t.Errorf("%d, %+v", no.status, in)
	}
	if again := no.posts()[0]; again.fields.Get("key") == f.fields.Get("key") {
		t.Error("the next try carries the key of the one that was refused: it would be answered with the same no")
	}
	s.Reply(func(triggers.Order) (any, error) { return nil, errors.New("connection refused") })
	if away := s.ask("anna", "POST", f.action, url.Values{"reason": {"r"}, "key": {"2"}, access.FormField: {f.fields.Get(access.FormField)}}); away.status != 503 {
		t.Errorf("the engine is away: %d", away.status)
	}
}

func TestWhatPagesSay(t *testing.T) {
	s := set(t)
	s.Run(asking())
	s.Set("tts", func(g *workflows.GuardState) {
		g.Paused = &workflows.Pause{By: "bert", Reason: "upgrade"}
		g.Proofs = []activities.Proven{{Tier: "cold", At: began, Seconds: 12, Mode: workflows.ModeDrill}}
	})
	s.page("vera", "/").says(t, "1 recovering", "1 paused", "by bert: upgrade", "asr waits for a person.", "may asr move to cross-region?", "hot would work", "would fail: no quota", "cold, 1 h ago", "1.5 s")
	s.page("vera", "/?q=TT").says(t, "tts", "Show all 2")
	s.page("vera", "/?state=paused").says(t, "may asr move to cross-region?") // no filter hides a question
	s.page("vera", "/services/tts").says(t, "Paused by bert: upgrade", "Proven 1 h ago in 12 s, by a drill", "never proven", "understudy drill asr", "Asks first: approver", "guard is born")
	s.page("vera", "/recoveries/asr-7").says(t, "It waits for a person.", "diagnose done 40 ms", "load running", "cross-region to come", "alert Down: it is down", "Temporal UI")
	s.page("vera", "/recoveries/asr-5").says(t, "asr answers on hot.", "Recovery time 1.5 s", "objective 30 s")
	s.page("vera", "/history").says(t, "asr-7", "asr-5", "1.5 s within 30 s")
	s.page("vera", "/history?outcome=failed").says(t, "No recovery is like that.")
	s.page("vera", "/batches").says(t, "No runbook names a batch store")
	for path, status := range map[string]int{"/services/none": 404, "/recoveries/asr-99": 404, "/recoveries/none": 404, "/services/none/recover": 404, "/batches/asr/j": 404, "/assets/none": 404, "/assets/..%2fpages%2fframe.html": 400, "/history?since=yesterday": 422} {
		if a := s.ask("vera", "GET", path, nil); a.status != status {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if running := s.page("vera", "/recoveries/asr-7").text; !strings.Contains(running, `data-events="/api/v1/recoveries/asr-7/events"`) || !strings.Contains(running, `<noscript><meta http-equiv="refresh"`) {
		t.Error("a page of what runs does not follow it")
	}
	if over := s.page("vera", "/recoveries/asr-5").text; strings.Contains(over, "data-events") || strings.Contains(over, "http-equiv") {
		t.Error("a page of what is over goes on asking")
	}
}

// Other people's text is text, wherever it stands.
func TestHostileTextIsHarmless(t *testing.T) {
	s := set(t)
	evil := `</title></script><script>alert(1)</script><img src=x onerror=alert(2)>" onmouseover="alert(3)' style='x" javascript:alert(4) {{.}}` + "\r\n\x00\u202e"
	r := asking()
	r.Trigger.Text, r.Claim, r.Verdict = evil, evil, evil
	r.Timeline[0].Reason, r.Timeline[0].Step, r.Timeline[0].Tier = evil, evil, evil
	r.Question.Text, r.Question.Choices[0].Leaves, r.Question.Roles = evil, evil, nil
	r.Evidence.Own = runbooks.Observation{Finding: runbooks.Finding(evil), Detail: evil}
	r.Answers = []workflows.Answered{{By: evil, Question: evil, Answer: evil, Reason: evil, At: began}}
	r.Advice = []string{evil}
	s.Run(r)
	s.Refuse("hot", evil)
	s.ready.Findings = append(s.ready.Findings, activities.Finding{Tier: "hot", Check: evil, Level: activities.LevelFail, What: evil, Do: evil})
	s.Set("tts", func(g *workflows.GuardState) {
		g.Paused, g.Active = &workflows.Pause{By: evil, Reason: evil}, evil
		g.Decisions = []workflows.Decision{{Event: evil, Action: workflows.Action(evil), Reason: evil, Override: evil}}
	})
	for _, path := range append(everyPage, "/services/tts", "/?q="+url.QueryEscape(evil), "/history?service="+url.QueryEscape(evil[:60]), "/services/asr?did="+url.QueryEscape(evil)) {
		a := s.ask("anna", "GET", path, nil)
		if policy := a.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
		for node := range a.document.Descendants() {
			if node.Type != html.ElementNode {
				continue
			}
			if node.Data == "script" && (!strings.HasPrefix(attr(node, "src"), "/assets/console.js?") || node.FirstChild != nil) || node.Data == "style" || node.Data == "img" || node.Data == "iframe" {
				t.Errorf("%s has an element %s", path, node.Data)
			}
			for _, attribute := range node.Attr {
				if strings.HasPrefix(attribute.Key, "on") || attribute.Key == "style" {
					t.Errorf("%s: %s has %s=%q", path, node.Data, attribute.Key, attribute.Val)
				}
				if slices.Contains([]string{"href", "src", "action"}, attribute.Key) && !strings.HasPrefix(attribute.Val, "/") && !strings.HasPrefix(attribute.Val, "#") && !strings.HasPrefix(attribute.Val, "http://temporal/") {
					t.Errorf("%s: %s leads to %q", path, node.Data, attribute.Val)
				}
			}
		}
	}
	s.page("anna", "/recoveries/asr-7").says(t, "<script>alert(1)</script>")
}

// Parts that have not changed are left alone by the script: what people write
// into them must not be lost.
func TestPartsChangeOnlyWithWhatTheyShow(t *testing.T) {
	s := set(t)
	over := asking()
	over.Timeline = over.Timeline[:1] // nothing is under way whose bar would grow
	s.Run(over)
	parts := func(path string) map[string]string {
		found := map[string]string{}
		for node := range s.page("anna", path).document.Descendants() {
			if live := attr(node, "data-live"); live != "" {
				if id := attr(node, "id"); id == "" || found[id] != "" {
					t.Errorf("%s: a part has the id %q", path, id)
				}
				found[attr(node, "id")] = live
			}
		}
		return found
	}
	for _, path := range []string{"/", "/services/asr", "/recoveries/asr-7", "/history", "/batches"} {
		if one, two := parts(path), parts(path); len(one) == 0 || fmt.Sprint(one) != fmt.Sprint(two) {
			t.Errorf("%s: %v, then %v", path, one, two)
		}
	}
	before := parts("/recoveries/asr-7")
	over.Question = nil
	s.Run(over)
	after := parts("/recoveries/asr-7")
	for _, id := range []string{"decide", "headline"} {
		if before[id] == after[id] {
			t.Errorf("%s stays as it was", id)
		}
	}
	for _, id := range []string{"timeline", "facts"} {
		if before[id] != after[id] {
			t.Errorf("%s has changed", id)
		}
	}
}

func TestAssets(t *testing.T) {
	s := set(t)
	a := s.page("vera", "/")
	count := 0
	for node := range a.document.Descendants() {
		for _, name := range []string{"href", "src"} {
			if path := attr(node, name); strings.HasPrefix(path, "/assets/") {
				count++
				if got := s.page("vera", path); len(got.text) == 0 || got.header.Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("%s is empty, or may be taken for something else", path)
				}
			}
		}
	}
	if count != 3 {
		t.Errorf("%d assets", count)
	}
}
