package commands

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/reports/disk"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

var began = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// scene is the API on a server, with an engine that says what the test wants.
type scene struct {
	*triggerstest.Engine
	t      *testing.T
	dir    string
	front  http.Handler
	server *httptest.Server
}

func set(t *testing.T, edit func(*access.Options), services ...string) *scene {
	return setEdited(t, edit, func(*triggers.APIConfig) {}, services...)
}

func setEdited(t *testing.T, edit func(*access.Options), change func(*triggers.APIConfig), services ...string) *scene {
	t.Helper()
	s := &scene{Engine: triggerstest.New(services...), t: t, dir: t.TempDir()}
	options := access.Options{
		Address: "127.0.0.1:0", Open: triggers.OpenPaths, Ingest: triggers.IngestPaths, DataDir: s.dir, Refused: triggers.Turned(s),
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	}
	if edit != nil {
		edit(&options)
	}
	gate, err := access.New(options)
	if err != nil {
		t.Fatal(err)
	}
	config := s.API(triggerstest.Library(services...), disk.New(filepath.Join(s.dir, "reports")))
	config.Log = options.Log
	change(&config)
	api := triggers.NewAPI(config)
	s.front = triggers.Front{Gate: gate, Alerts: http.NotFoundHandler(), API: api, Metrics: http.NotFoundHandler(), Ready: func() bool { return true }}.Handler()
	s.server = httptest.NewServer(s.front)
	t.Cleanup(s.server.Close)
	t.Cleanup(api.Close)
	return s
}

// printed is what a command has printed, and its exit code.
type printed struct {
	out, err string
	code     int
}

func (p printed) String() string { return fmt.Sprintf("exit %d\n%s\n%s", p.code, p.out, p.err) }

// buffer may be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// run runs a command in a pipe; typed runs it on a terminal where somebody types.
func (s *scene) run(args ...string) printed { return s.call(nil, args...) }

func (s *scene) typed(typed string, args ...string) printed { return s.call(&typed, args...) }

func (s *scene) call(typed *string, args ...string) printed {
	s.t.Helper()
	return s.callWith(s.t.Context(), typed, args...)
}

// callWith runs a command until it ends; the end of the context is a Ctrl-C.
func (s *scene) callWith(ctx context.Context, typed *string, args ...string) printed {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var out, err buffer
	g := Globals{out: &out, err: &err, in: bufio.NewReader(strings.NewReader(""))}
	if typed != nil {
		g.terminal, g.in = true, bufio.NewReader(strings.NewReader(*typed))
	}
	code := run(ctx, append([]string{"--server", s.server.URL}, args...), g)
	return printed{out.String(), err.String(), code}
}

// want checks an exit code, and that texts were printed somewhere.
func (s *scene) want(p printed, code int, texts ...string) {
	s.t.Helper()
	if p.code != code {
		s.t.Errorf("want exit %d: %s", code, p)
	}
	for _, text := range texts {
		if !strings.Contains(p.out+p.err, text) {
			s.t.Errorf("it does not say %q: %s", text, p)
		}
	}
}

// last is the latest order.
func (s *scene) last() triggers.Order {
	s.t.Helper()
	orders := s.Orders()
	if len(orders) == 0 {
		s.t.Fatal("nothing was ordered")
	}
	return orders[len(orders)-1]
}

func started(triggers.Order) (any, error) {
	return workflows.RecoverAnswer{Started: true, Epoch: 7, Reason: "somebody asks"}, nil
}

func planHash() string {
	r := triggerstest.Runbook("asr")
	home, _ := r.TargetNamed(runbooks.PrimaryName)
	return runbooks.NewPlan(r, home, nil).Hash
}

func TestRecoverAsksOnATerminal(t *testing.T) {
	s := set(t, nil, "asr")
	s.Reply(started)
	s.Refuse("hot", "version: expected 2, got 1")
	p := s.typed("y\n", "recover", "asr", "--reason", "users hear silence")
	s.want(p, ExitOK, "asr runs on primary", "1. hot", "would be refused now: version: expected 2, got 1", "2. cold", "Recover asr? [y/N]", "asr-7", "understudy watch asr-7", "http://temporal/recovery/asr/7")
	if u := s.last().Input.(workflows.RecoverUpdate); u.Plan != planHash() || u.Reason != "users hear silence" || u.By == "" || u.Force {
		t.Errorf("%+v", u)
	}
	for _, typed := range []string{"n\n", "\n", "", "yup\n"} {
		s.want(s.typed(typed, "recover", "asr", "--reason", "r"), ExitFailed, "nothing was done")
	}
	// A person who gave no reason is asked for it.
	s.want(s.typed("yes\nit hangs\n", "recover", "asr"), ExitOK, "Why?")
	if u := s.last().Input.(workflows.RecoverUpdate); u.Reason != "it hangs" {
		t.Errorf("%+v", u)
	}
	s.want(s.typed("yes\n\n", "recover", "asr"), ExitUsage, "--reason")
	if n := len(s.Orders()); n != 2 {
		t.Errorf("%d orders", n)
	}
	// Where the running one is ended first, the plan of now cannot be held to.
	s.want(s.typed("y\n", "recover", "asr", "-r", "r", "--force", "--supersede"), ExitOK)
	if u := s.last().Input.(workflows.RecoverUpdate); u.Plan != "" || !u.Supersede || !u.Force {
		t.Errorf("%+v", u)
	}
}

func TestRecoverInAPipe(t *testing.T) {
	s := set(t, nil, "asr")
	s.Reply(started)
	s.want(s.run("recover", "asr", "--reason", "r"), ExitUsage, "--plan HASH", "--yes")
	s.want(s.run("recover", "asr", "--yes"), ExitUsage, "--reason")
	s.want(s.run("recover", "asr", "--yes", "--reason", "r", "--supersede"), ExitUsage, "goes with --force")
	if n := len(s.Orders()); n != 0 {
		t.Errorf("%d orders", n)
	}
	s.want(s.run("recover", "asr", "--reason", "r", "--plan", "p1", "--tier", "cold", "--user", "anna"), ExitOK, "asr-7")
	if u := s.last().Input.(workflows.RecoverUpdate); u.Plan != "p1" || u.Tier != "cold" || u.By != "anna" {
		t.Errorf("%+v", u)
	}
	s.want(s.run("recover", "asr", "--reason", "r", "--yes", "--tier", "lukewarm"), ExitUsage, "it has: primary, hot, cold, cross-region")
	s.want(s.run("recover", "nobody", "--reason", "r", "--yes"), ExitFailed, "there is no service")
	s.Reply(func(triggers.Order) (any, error) {
		return workflows.RecoverAnswer{Reason: "cooldown until 03:10"}, nil
	})
	s.want(s.run("recover", "asr", "--reason", "r", "--yes"), ExitFailed, "nothing was started: cooldown until 03:10")
	s.Reply(func(triggers.Order) (any, error) {
		return nil, fmt.Errorf("%w: recovery 7 of asr is running", triggers.ErrRefused)
	})
	s.want(s.run("recover", "asr", "--reason", "r", "--yes"), ExitRefused, "recovery 7 of asr is running")
	var called triggers.Called
	s.Reply(started)
	if p := s.run("recover", "asr", "--reason", "r", "--yes", "-o", "json"); json.Unmarshal([]byte(p.out), &called) != nil || called.Recovery != "asr-7" {
		t.Errorf("%s", p)
	}
}

func TestALostAnswerIsAskedForAgain(t *testing.T) {
	s := set(t, nil, "asr")
	s.Reply(started)
	s.Lose(2)
	s.want(s.run("recover", "asr", "--reason", "r", "--yes"), ExitOK, "asr-7")
	if n := len(s.Orders()); n != 1 {
		t.Errorf("started %d times", n)
	}
	s.Lose(9)
	s.want(s.run("recover", "asr", "--reason", "r", "--yes"), ExitAway, "may have been carried out")
}

func TestRecoverWaitsThroughARestart(t *testing.T) {
	s := set(t, nil, "asr")
	s.Reply(started)
	r := triggerstest.Report("asr", 7, began)
	r.Timeline = append(r.Timeline, workflows.Record{Step: "gate", Tier: "hot", State: workflows.InProgress, Reason: "asking", Started: began})
	s.Run(r)
	var out, err buffer
	done := make(chan int, 1)
	go func() {
		done <- run(t.Context(), []string{"--server", s.server.URL, "recover", "asr", "--yes", "--reason", "r", "--wait"}, Globals{out: &out, err: &err})
	}()
	says := func(text string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(err.String(), text); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it never says %q:\n%s", text, err.String())
			}
		}
	}
	says("asking")
	address := s.server.Listener.Addr().String()
	s.server.CloseClientConnections()
	s.server.Close()
	says("the connection is gone")
	again := httptest.NewUnstartedServer(s.front)
	again.Listener.Close()
	again.Listener = listenAgain(t, address)
	again.Start()
	defer again.Close()
	r.Timeline[1].State, r.Timeline[1].Reason, r.Timeline[1].Ended = workflows.Done, "health, version", began.Add(1500*time.Millisecond)
	r.Question = &workflows.Question{ID: "7-1", Text: "go on?", Choices: []workflows.Choice{{Answer: "go on", Leaves: "a machine is made"}}}
	s.Run(r)
	says(`understudy answer asr-7 "go on" --question 7-1`)
	r.Question, r.Outcome, r.Reason, r.Active, r.RTOSeconds, r.Verified, r.Ended = nil, workflows.OutcomeRecovered, "verified", "hot", 2.5, began.Add(2*time.Second), began.Add(time.Minute)
	s.Run(r)
	if code := <-done; code != ExitOK || !strings.Contains(out.String(), "asr-7: recovered, now on hot") || !strings.Contains(out.String(), "worked again 2.5 s after") {
		t.Errorf("exit %d\n%s\n%s", code, out.String(), err.String())
	}
	if text := err.String(); !regexp.MustCompile(`\+1\.5 s  gate \(hot\) +done +health, version`).MatchString(text) || strings.Count(text, "asking") != 1 || strings.Count(text, "go on?") != 1 {
		t.Errorf("progress:\n%s", text)
	}
}

func TestWatch(t *testing.T) {
	s := set(t, nil, "asr")
	s.want(s.run("watch", "asr"), ExitRefused, "no recovery of asr is running now")
	s.want(s.run("watch", "nobody"), ExitFailed, "such as fun-asr-7")
	r := triggerstest.Report("asr", 7, began)
	s.Run(r)
	s.want(s.run("watch", "asr", "--timeout", "300ms"), ExitWaiting, "asr-7 goes on", "diagnose")
	r.Outcome, r.Ended, r.Reason, r.Advice = workflows.OutcomeFailed, began.Add(time.Minute), "no tier passed\x1b[2J\u202e", []string{"mend a standby"}
	s.Run(r)
	p := s.run("watch", "asr-7")
	s.want(p, ExitFailed, "asr-7: failed", "You can: mend a standby")
	if strings.ContainsAny(p.out, "\x1b\u202e") {
		t.Errorf("a reason moves the cursor: %q", p.out)
	}
}

// question is a recovery that asks for agreement.
func question() workflows.Report {
	r := triggerstest.Report("asr", 7, began)
	book := triggerstest.Runbook("asr")
	home, _ := book.TargetNamed(runbooks.PrimaryName)
	r.Plan = runbooks.NewPlan(book, home, nil)
	r.Question = &workflows.Question{ID: "7-1", Text: "may asr move to cross-region?", Plan: r.Plan.Hash, Roles: []string{"approver"}, Tier: "cross-region", Until: began.Add(time.Hour),
		Choices: []workflows.Choice{{Answer: "approve", Leaves: "it is made"}, {Answer: "reject", Leaves: "it is left out"}}}
	return r
}

func TestApproveNamesThePlanThatWasSeen(t *testing.T) {
	s := set(t, nil, "asr")
	for _, verb := range []string{"approve", "reject"} {
		s.want(s.run(verb, "asr"), ExitRefused, "no recovery of asr is running")
	}
	s.Run(triggerstest.Report("asr", 7, began))
	s.want(s.run("approve", "asr", "--plan", "p"), ExitRefused, "asks nothing now")
	r := question()
	s.Run(r)
	for _, verb := range []string{"approve", "reject"} {
		s.want(s.run(verb, "asr"), ExitUsage, "--plan HASH")
		s.want(s.typed("\n", verb, "asr"), ExitFailed, "nothing was done")
	}
	if n := len(s.Orders()); n != 0 {
		t.Fatalf("%d orders", n)
	}
	s.want(s.typed("y\n", "approve", "asr"), ExitOK, "may asr move to cross-region?", "plan "+r.Plan.Hash, "wait up to 10m", "approve: it is made", "approve asr-7: so be it")
	if u := s.last().Input.(workflows.AnswerUpdate); u.Plan != r.Plan.Hash || u.Question != "7-1" || u.Answer != "approve" {
		t.Errorf("%+v", u)
	}
	s.want(s.run("reject", "asr-7", "--plan", "seen earlier", "--reason", "too dear"), ExitOK)
	if u := s.last().Input.(workflows.AnswerUpdate); u.Plan != "seen earlier" || u.Answer != "reject" || u.Reason != "too dear" {
		t.Errorf("%+v", u)
	}
	r.Question.Plan, r.Question.Choices = "", []workflows.Choice{{Answer: "retry"}, {Answer: "skip", Leaves: "it goes on"}}
	s.Run(r)
	s.want(s.run("approve", "asr", "--plan", "p"), ExitRefused, "understudy answer asr CHOICE (retry, skip)")
}

func TestAnswer(t *testing.T) {
	s := set(t, nil, "asr")
	r := question()
	r.Question.Plan, r.Question.Choices = "", []workflows.Choice{{Answer: "retry", Leaves: "once more"}, {Answer: "skip", Leaves: "it goes on"}}
	s.Run(r)
	s.want(s.run("answer", "asr"), ExitUsage, "skip: it goes on", "--question 7-1")
	s.want(s.run("answer", "asr", "skip"), ExitUsage, "--question")
	s.want(s.run("answer", "asr", "skip", "--question", "7-1", "--reason", "r"), ExitOK, "answer asr-7")
	if u := s.last().Input.(workflows.AnswerUpdate); u.Answer != "skip" || u.Question != "7-1" || u.Reason != "r" {
		t.Errorf("%+v", u)
	}
	s.want(s.typed("n\n", "answer", "asr", "retry"), ExitFailed, "retry: once more", "nothing was done")
	s.want(s.typed("y\n", "answer", "asr", "retry"), ExitOK)
}

func TestVerbsSayWhatTheyLeave(t *testing.T) {
	s := set(t, nil, "asr")
	r := triggerstest.Report("asr", 7, began)
	r.Timeline = append(r.Timeline, workflows.Record{Step: "gate", Tier: "hot", State: workflows.InProgress, Started: began})
	s.Run(r)
	for verb, leaves := range map[string]string{
		"abort": "what was done is undone, and asr stays on primary", "retry": "tried from its beginning", "skip": "the next tier is tried",
		"commit": "it may not be possible now", "rollback": "it may not be possible now",
	} {
		before := len(s.Orders())
		s.want(s.typed("n\n", verb, "asr", "-r", "r"), ExitFailed, leaves, "nothing was done")
		s.want(s.run(verb, "asr"), ExitUsage, "--reason")
		if len(s.Orders()) != before {
			t.Errorf("%s was done", verb)
		}
		s.want(s.run(verb, "asr-7", "--reason", "r"), ExitOK, verb+" asr-7: so be it")
		s.want(s.typed("", verb, "asr", "-y", "-r", "r"), ExitOK)
		if len(s.Orders()) != before+2 {
			t.Errorf("%s: %d orders", verb, len(s.Orders())-before)
		}
	}
}

func TestPauseAndResume(t *testing.T) {
	s := set(t, nil, "asr", "tts")
	s.want(s.run("pause"), ExitUsage, "name a service, or --all")
	s.want(s.run("pause", "asr", "--all", "-r", "r"), ExitUsage, "not both")
	s.want(s.run("pause", "asr"), ExitUsage, "--reason")
	s.want(s.run("pause", "asr", "-r", "upgrade"), ExitOK, "pause asr: so be it")
	s.want(s.run("resume", "asr"), ExitOK, "resume asr: so be it")
	s.want(s.run("pause", "--all", "-r", "r"), ExitOK, "asr", "tts", "yes")
	s.Reply(func(o triggers.Order) (any, error) {
		if o.Service == "tts" {
			return nil, fmt.Errorf("%w: busy", triggers.ErrRefused)
		}
		return "ok", nil
	})
	s.want(s.run("pause", "--all", "-r", "again"), ExitFailed, "1 of 2 services did not pause", "busy")
	s.want(s.run("resume", "--all"), ExitOK, "it was not paused")
}

func TestStatusWhyAndMachines(t *testing.T) {
	s := set(t, nil, "asr", "tts")
	s.want(s.run("status"), ExitOK, "SERVICE", "asr", "ready", "primary")
	s.want(s.run("status", "asr"), ExitOK, "runs on", "http://temporal/guard/asr")
	s.want(s.run("status", "nobody"), ExitFailed, "there is no service")
	s.want(s.run("why", "asr"), ExitOK, "guard is born")
	s.want(s.run("status", "--machines"), ExitOK, "MACHINE")
	s.Make(triggers.MachineDetail{Machine: compute.Machine{ID: "i-1", State: compute.Running, Where: "us-west-2a g5.xlarge", Price: 1.006, Tags: map[string]string{compute.TagExpires: "2026-11-24T03:00:00Z"}}, Service: "asr", Kind: "ec2"})
	s.want(s.run("status", "--machines"), ExitOK, "i-1", "g5.xlarge", "1.01", "nothing holds it", "2026-11-24")
	s.Make(triggers.MachineDetail{Machine: compute.Machine{ID: "i-2", State: compute.Running, Price: 2}, Service: "asr", Kind: "ec2", Remove: true, Reason: "it expired 3h00m ago", Cost: 151.5})
	s.want(s.run("status", "--machines"), ExitOK, "i-2", "151.50", "removed at the next sweep: it expired 3h00m ago")
	s.want(s.run("status", "asr", "--machines"), ExitUsage, "not both")
}

func TestPlan(t *testing.T) {
	s := set(t, nil, "asr")
	r := triggerstest.Report("asr", 6, began)
	for _, step := range []string{"gate", "cut over", "verify", "settle"} {
		r.Timeline = append(r.Timeline, workflows.Record{Step: step, Tier: "hot", State: workflows.Done, Started: began, Ended: began.Add(1250 * time.Millisecond)})
	}
	r.Outcome, r.Ended = workflows.OutcomeRecovered, began.Add(time.Minute)
	s.keep(r)
	p := s.run("plan", "asr")
	s.want(p, ExitOK, "plan "+planHash(), "1. hot, within 5s; took 3.8 s before (median of 1)", "1.25 s  - gate: ask http://127.0.0.1:3", "2. cold, within 1m", "note: asked for epoch 7")
	s.want(s.run("plan", "asr", "--tier", "cold"), ExitOK, "would be refused now: only cold was asked for")
	for _, tier := range []string{"hot", "cold", "cross-region"} {
		s.Refuse(tier, "it is on fire")
	}
	s.want(s.run("plan", "asr"), ExitFailed, "no tier would be taken now")
}

func (s *scene) keep(all ...workflows.Report) {
	s.t.Helper()
	for _, r := range all {
		if err := triggerstest.Keep(s.t.Context(), disk.New(filepath.Join(s.dir, "reports")), r); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestHistoryAndReport(t *testing.T) {
	s := set(t, nil, "asr", "asr-2")
	now := time.Now().UTC()
	for i := range 230 {
		r := triggerstest.Report([]string{"asr", "asr-2"}[i%2], int64(i+1), now.Add(-time.Duration(230-i)*time.Hour))
		r.Outcome, r.Tier, r.Ended = workflows.OutcomeRecovered, "hot", r.Started.Add(time.Minute)
		if i%10 == 0 {
			r.Outcome, r.Tier = workflows.OutcomeFailed, ""
		}
		s.keep(r)
	}
	count := func(p printed) int { return strings.Count(p.out, "\nasr") }
	for _, source := range [][]string{nil, {"--data-dir", s.dir}} {
		for args, want := range map[string]int{
			"": 20, "--limit 500": 230, "--limit 3": 3, "--service asr --limit 500": 115, "--outcome failed --limit 500": 23, "--tier hot --limit 500": 207,
			"--since 24h --limit 500": 23, "--since 2d --until 24h --limit 500": 24, "--mode drill": 0, "--trigger alert --limit 500": 230, "--trigger person": 0,
		} {
			p := s.run(append(append([]string{"history"}, strings.Fields(args)...), source...)...)
			if p.code != 0 || count(p) != want {
				t.Errorf("history %s %v: %d, want %d (exit %d) %s", args, source, count(p), want, p.code, p.err)
			}
		}
		s.want(s.run(append([]string{"history", "asr-229"}, source...)...), ExitOK, "# Recovery 229 of asr: recovered")
		s.want(s.run(append([]string{"report", "asr-229"}, source...)...), ExitOK, "# Recovery 229 of asr: recovered", "Timeline")
		s.want(s.run(append([]string{"report", "asr-229", "-o", "json"}, source...)...), ExitOK, `"outcome": "recovered"`)
		s.want(s.run(append([]string{"report", "asr-999"}, source...)...), ExitFailed)
	}
	s.want(s.run("history", "--since", "yesterday"), ExitUsage, "24h, 7d")
	s.want(s.run("history", "--mode", "dry"), ExitUsage)
	var all []triggers.Recovery
	if p := s.run("history", "-o", "json"); json.Unmarshal([]byte(p.out), &all) != nil || len(all) != 20 || all[0].ID != "asr-2-230" {
		t.Errorf("%s", p)
	}
}

func TestLoggingIn(t *testing.T) {
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("pässword: 1"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	web := write("web.yml", fmt.Sprintf("basic_auth_users: {anna: %q, vera: %q}\n", hash, hash))
	s := set(t, func(o *access.Options) {
		o.WebConfig, o.Users = web, []runbooks.User{{Name: "anna", Role: "approver"}, {Name: "vera", Role: "viewer"}}
	}, "asr")
	right, wrong := write("right", "pässword: 1\n"), write("wrong", "guess\n")
	s.want(s.run("status"), ExitDenied, "--user NAME"[:6], "--password-file")
	s.want(s.run("status", "--user", "anna", "--password-file", wrong), ExitDenied, "wrong")
	s.want(s.run("status", "--user", "anna", "--password-file", right), ExitOK, "asr")
	s.want(s.run("pause", "asr", "-r", "r", "--user", "vera", "--password-file", right), ExitDenied, "vera has the role viewer, and this takes responder")
	s.want(s.run("pause", "asr", "-r", "r", "--user", "anna", "--password-file", right), ExitOK)
	if u := s.last().Input.(workflows.PauseUpdate); u.By != "anna" {
		t.Errorf("%+v", u)
	}
	if p := s.run("status", "--user", "anna", "--password-file", filepath.Join(dir, "none")); p.code != ExitUsage {
		t.Errorf("%s", p)
	}
	t.Setenv("UNDERSTUDY_USER", "anna")
	t.Setenv("UNDERSTUDY_PASSWORD_FILE", right)
	s.want(s.run("status"), ExitOK, "asr")
}

func TestAServerThatSendsElsewhereGetsNoPassword(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	s := &scene{t: t, server: server}
	s.want(s.run("status", "--user", "anna", "--password-file", file), ExitAway, "sends us elsewhere")
	if len(got) != 0 {
		t.Errorf("the other server was asked, with %q", <-got)
	}
}

func TestNobodyAnswers(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	s := &scene{t: t, server: server}
	s.want(s.run("status"), ExitAway, "no Understudy answers", "understudy serve")
	s.want(s.run("watch", "asr"), ExitAway, "no Understudy answers")
}

func TestHelpForNewcomers(t *testing.T) {
	s := set(t, nil, "asr")
	s.want(s.run("--help"), ExitOK, "Looking:", "Acting:", "recover", "approve", "completion", "Exit status", "At three in the morning")
	for _, command := range []string{"recover", "abort", "approve", "reject", "answer", "retry", "skip", "commit", "rollback", "pause", "resume", "why", "watch", "history", "report", "status", "plan", "completion"} {
		p := s.run(command, "--help")
		s.want(p, ExitOK, "Usage: understudy "+command)
		if lines := strings.Count(p.out, "\n"); lines < 20 {
			t.Errorf("%s explains itself in %d lines", command, lines)
		}
	}
	s.want(s.run("recvoer"), ExitUsage)
}

func TestShellCompletion(t *testing.T) {
	s := set(t, nil, "fun-asr", "fun-tts")
	s.Run(triggerstest.Report("fun-asr", 7, began))
	t.Setenv("UNDERSTUDY_SERVER", s.server.URL)
	complete := func(line string) string {
		t.Helper()
		t.Setenv("COMP_LINE", line)
		t.Setenv("COMP_POINT", fmt.Sprint(len(line)))
		p := s.run()
		if p.code != 0 {
			t.Errorf("%q: %s", line, p)
		}
		return strings.Join(strings.Fields(p.out), " ")
	}
	for line, want := range map[string]string{
		"understudy rec": "recover", "understudy recover fun-": "fun-asr fun-tts", "understudy abort ": "fun-asr fun-asr-7", "understudy recover fun-asr --tier cr": "cross-region",
		"understudy recover --su": "--supersede", "understudy report fun-": "fun-asr-7", "understudy -o ": "json table",
	} {
		got := complete(line)
		for _, word := range strings.Fields(want) {
			if !strings.Contains(" "+got+" ", " "+word+" ") {
				t.Errorf("%q: %q, want %q", line, got, want)
			}
		}
	}
	s.server.Close()
	if got := complete("understudy recover fun-"); got != "" {
		t.Errorf("without a server: %q", got)
	}
	t.Setenv("COMP_LINE", "")
	os.Unsetenv("COMP_LINE")
	s.want(s.run("completion", "bash"), ExitOK, "completion -c bash")
	s.want(s.run("completion", "-c", "bash"), ExitOK, "complete -o default")
}

// listenAgain takes a port that was just given back.
func listenAgain(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
