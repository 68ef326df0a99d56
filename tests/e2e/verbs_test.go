package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/audit"
	"github.com/understudy-dr/understudy/workflows"
)

// answered is what a request was answered with.
type answered struct {
	status int
	text   string
}

// decide sends a decision, as somebody (name:password) where people log in.
func decide(t *testing.T, u *harness.Understudy, who, path, body, key string) answered {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, u.URL+"/api/v1"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if name, password, ok := strings.Cut(who, ":"); ok {
		r.SetBasicAuth(name, password)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", key)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{response.StatusCode, string(text)}
}

// command runs one of the program's commands, and wants an exit code and texts.
func command(t *testing.T, u *harness.Understudy, code int, wants []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), u.Spec.Path, append([]string{"--server", u.URL}, args...)...)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("understudy %v: exit code %d, want %d\n%s", args, got, code, out)
	}
	for _, want := range wants {
		if !strings.Contains(string(out), want) {
			t.Errorf("understudy %v does not say %q:\n%s", args, want, out)
		}
	}
	return string(out)
}

// audited reads the audit log.
func audited(t *testing.T, u *harness.Understudy) (all []audit.Entry) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(u.Options.Site.DataDir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, e)
	}
	return all
}

// A person pauses, resumes, calls for a recovery ten times at once, watches it
// through a kill of Understudy, and commits.
func TestPeopleSteerARecovery(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{Held: true, Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Policy.Confirm = runbooks.Duration(10 * time.Minute)
		r.Policy.Cooldown = runbooks.Duration(time.Millisecond)
	}})
	u := s.Understudy
	guard(t, u, atRest)
	command(t, u, 0, []string{"no recovery will start by itself"}, "pause", "fun-asr", "--reason", "upgrade", "--user", "anna")
	command(t, u, 0, []string{"paused", "anna", "upgrade"}, "status", "fun-asr")
	s.Primary.Kill()
	alert(t, u, "firing", time.Now())
	guard(t, u, func(g workflows.GuardState) bool { return g.Pending != nil })
	command(t, u, 0, []string{"paused by anna"}, "why", "fun-asr")
	command(t, u, 6, []string{"paused by anna"}, "recover", "fun-asr", "--yes", "--reason", "r")
	if n := count(t, u); n != 0 {
		t.Fatalf("%d recoveries while it is paused", n)
	}
	// A plan that is not the one of now starts nothing.
	command(t, u, 1, []string{"the plan has changed"}, "recover", "fun-asr", "--force", "--plan", "0000000000000000", "--reason", "r")

	// Ten times the same request at once: one recovery.
	var wg sync.WaitGroup
	answers := make([]answered, 10)
	for i := range answers {
		wg.Go(func() {
			answers[i] = decide(t, u, "", "/services/fun-asr/recover", `{"reason":"users hear silence","force":true}`, "button-1")
		})
	}
	wg.Wait()
	for _, a := range answers {
		if a != answers[0] || a.status != 200 || !strings.Contains(a.text, `"started":true`) {
			t.Errorf("%+v, not %+v", a, answers[0])
		}
	}
	running := meanwhile(t, u, func(r workflows.Report) bool {
		return !r.Verified.IsZero() && step(r, runbooks.StepSettle, workflows.InProgress).Step != ""
	})
	id := triggers.RecoveryName("fun-asr", running.Epoch)
	command(t, u, 6, []string{"is running"}, "recover", "fun-asr", "--force", "--yes", "--reason", "once more")

	// It is watched, through a kill of Understudy.
	watch := exec.CommandContext(t.Context(), u.Spec.Path, "--server", u.URL, "watch", "fun-asr")
	var told lockedText
	watch.Stdout, watch.Stderr = &told, &told
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	told.until(t, "settle")
	u.Kill()
	if err := u.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	command(t, u, 6, []string{"no tier is being tried now"}, "skip", "fun-asr", "--reason", "too late")
	command(t, u, 0, []string{"the service stays on hot"}, "commit", id, "--reason", "it sounds well", "--user", "anna")
	if err := watch.Wait(); err != nil || !strings.Contains(told.String(), id+": recovered, now on hot") {
		t.Errorf("watch: %v\n%s", err, told.String())
	}
	r := ended(t, u, 1)
	if !r.Committed || r.Trigger.Kind != workflows.TriggerPerson {
		t.Errorf("%s", r.Markdown())
	}
	guard(t, u, atRest)

	// Days later the same request comes once more: it is answered as before, and starts nothing.
	if again := decide(t, u, "", "/services/fun-asr/recover", `{"reason":"users hear silence","force":true}`, "button-1"); again != answers[0] {
		t.Errorf("%+v, not %+v", again, answers[0])
	}
	if n := count(t, u); n != 1 {
		t.Errorf("%d recoveries", n)
	}
	command(t, u, 6, []string{"recovery " + id + " is over: recovered"}, "abort", id, "--reason", "too late")
	command(t, u, 0, []string{"# Recovery", "users hear silence"}, "report", id)
	command(t, u, 0, []string{id}, "history", "--trigger", "person", "--outcome", "recovered")
	if printed := command(t, u, 0, nil, "history", "--outcome", "failed"); strings.Contains(printed, id) {
		t.Errorf("a recovery among the failed:\n%s", printed)
	}
	// The steps were measured, and plans say so from now on.
	var plan triggers.PlanDetail
	if err := u.Get(t.Context(), "/api/v1/services/fun-asr/plan", &plan); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{runbooks.StepCutOver, runbooks.StepVerify} {
		if !slices.ContainsFunc(plan.Expected, func(e triggers.Expected) bool {
			return e.Tier == runbooks.TierHot && e.Step == name && e.Seconds > 0 && e.Runs == 1
		}) {
			t.Errorf("no seconds of %s: %+v", name, plan.Expected)
		}
	}

	done := map[string]int{}
	for _, e := range audited(t, u) {
		if e.Result == audit.Done {
			done[e.Did+" by "+e.Who]++
		}
		if e.From != "127.0.0.1" || e.At.IsZero() || e.On == "" {
			t.Errorf("the audit has %+v", e)
		}
	}
	if done["pause by anna"] != 1 || done["commit by anna"] != 1 || done["recover by somebody on this host"] != 11 {
		t.Errorf("the audit has %v", done)
	}
}

// lockedText is what a program prints while it runs.
type lockedText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lockedText) until(t *testing.T, text string) {
	t.Helper()
	eventually(t, func(context.Context) error {
		if !strings.Contains(l.String(), text) {
			return fmt.Errorf("it never says %q:\n%s", text, l.String())
		}
		return nil
	})
}

// Four people with passwords; a tier that takes the agreement of an approver.
func TestApprovalsAndRoles(t *testing.T) {
	abreast(t)
	passwords := t.TempDir()
	people := []runbooks.User{{Name: "am", Role: "ingest"}, {Name: "vera", Role: "viewer"}, {Name: "rob", Role: "responder"}, {Name: "anna", Role: "approver"}, {Name: "bert", Role: "approver"}}
	for _, p := range people {
		if err := os.WriteFile(filepath.Join(passwords, p.Name), []byte("of "+p.Name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	web := webConfig(t, people)
	s := coldScene(t, harness.SceneOptions{Held: true, Edit: func(r *runbooks.Runbook, site *runbooks.Site) {
		site.Users, site.Listen.WebConfig = people, web
		r.Tiers[1].Approval = &runbooks.Approval{Roles: []string{"approver"}, Timeout: runbooks.Duration(10 * time.Minute)}
	}})
	u := s.Understudy
	as := func(name string, args ...string) []string {
		return append([]string{"--user", name, "--password-file", filepath.Join(passwords, name)}, args...)
	}
	command(t, u, 5, []string{"--password-file"}, "status")
	command(t, u, 5, []string{"am has the role ingest"}, as("am", "status")...)
	command(t, u, 0, []string{"fun-asr", "ready"}, as("vera", "status")...)
	command(t, u, 5, []string{"vera has the role viewer, and this takes responder"}, as("vera", "recover", "fun-asr", "--yes", "--reason", "r")...)
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 401, "/api/v1/services": 401, "/api/v1/openapi.json": 401} {
		response, err := http.Get(u.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s without a login: %d", path, response.StatusCode)
		}
	}
	command(t, u, 0, []string{"wait up to 10m0s for a person (approver)"}, as("vera", "plan", "fun-asr")...)

	s.Primary.Kill()
	s.Hot.Kill()
	hook := fmt.Sprintf(`{"version":"4","status":"firing","alerts":[{"status":"firing","fingerprint":"f1","startsAt":%q,"labels":{"alertname":"SpeechServiceDown","service":"fun-asr"}}]}`, time.Now().Format(time.RFC3339Nano))
	for who, want := range map[string]int{"": 401, "vera:of vera": 403, "am:wrong": 401} {
		if a := decide(t, u, who, "/alerts", hook, "-"); a.status != want {
			t.Errorf("an alert from %q: %+v", who, a)
		}
	}
	if a := decide(t, u, "am:of am", "/alerts", hook, "-"); a.status != 200 {
		t.Fatalf("an alert: %+v", a)
	}
	var detail triggers.RecoveryDetail
	eventually(t, func(context.Context) error {
		printed := exec.CommandContext(t.Context(), u.Spec.Path, append([]string{"--server", u.URL, "-o", "json"}, as("vera", "history")...)...)
		out, err := printed.Output()
		var all []triggers.Recovery
		if err != nil || json.Unmarshal(out, &all) != nil || len(all) != 1 || all[0].Question == "" {
			return fmt.Errorf("nothing is asked: %v\n%s", err, out)
		}
		out, err = exec.CommandContext(t.Context(), u.Spec.Path, append([]string{"--server", u.URL, "-o", "json"}, as("vera", "history", all[0].ID)...)...).Output()
		if err != nil {
			return err
		}
		return json.Unmarshal(out, &detail)
	})
	q := detail.Report.Question
	command(t, u, 2, []string{"--plan HASH"}, as("anna", "approve", "fun-asr")...)
	command(t, u, 5, []string{"rob has the role responder, and this takes approver"}, as("rob", "approve", "fun-asr", "--plan", q.Plan)...)
	command(t, u, 6, []string{"the plan that you saw (0000) is not the one that is asked about"}, as("anna", "approve", "fun-asr", "--plan", "0000")...)
	command(t, u, 6, []string{"is not the one that is open"}, as("anna", "answer", "fun-asr", "approve", "--question", "1-1", "--plan", q.Plan)...)

	// Two people, many repeats, at once: one decision counts, and everybody learns which.
	body := fmt.Sprintf(`{"question":%q,"plan":%q}`, q.ID, q.Plan)
	answers := map[string][]answered{"approve": make([]answered, 8), "reject": make([]answered, 8)}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			answers["approve"][i] = decide(t, u, "anna:of anna", "/recoveries/"+detail.ID+"/approve", body, "the same")
		})
		wg.Go(func() {
			answers["reject"][i] = decide(t, u, "bert:of bert", "/recoveries/"+detail.ID+"/reject", body, "the same")
		})
	}
	wg.Wait()
	won, lost := answers["approve"], answers["reject"]
	if won[0].status != 200 {
		won, lost = lost, won
	}
	for i := range 8 {
		if won[i].status != 200 || won[i].text != won[0].text {
			t.Errorf("who decided is told %+v", won[i])
		}
		if lost[i].status != 409 || !strings.Contains(lost[i].text, "has answered already") && !strings.Contains(lost[i].text, detail.ID+" is over") {
			t.Errorf("who came too late is told %+v", lost[i])
		}
	}
	outcome := workflows.OutcomeFailed
	if answers["approve"][0].status == 200 {
		outcome = workflows.OutcomeRecovered
	}
	command(t, u, map[string]int{workflows.OutcomeRecovered: 0, workflows.OutcomeFailed: 1}[outcome], []string{detail.ID + ": " + outcome}, as("vera", "watch", detail.ID)...)
	done := 0
	for _, e := range audited(t, u) {
		if e.Result == audit.Done && (e.Did == "approve" || e.Did == "reject") && (e.Plan != q.Plan || e.Role != "approver" || e.Question != q.ID) {
			t.Errorf("the audit has %+v", e)
		}
		if e.Result == audit.Done {
			done++
		}
	}
	if done != 8 {
		t.Errorf("the audit has %d decisions that were carried out", done)
	}
}

// Beyond loopback nobody is served whom nobody knows.
func TestUnderstudyDoesNotListenOpenly(t *testing.T) {
	abreast(t)
	dir := t.TempDir()
	site := fmt.Sprintf("apiVersion: understudy/v1\nlisten: {api: \"0.0.0.0:%d\", temporal: \"%s\", ui: \"%s\"}\nrunbooks: [%s]\ndata_dir: %s\n",
		harness.FreePort(), harness.Address(harness.FourPorts()), harness.Address(harness.FreePort()), filepath.Join(dir, "books"), filepath.Join(dir, "data"))
	book := "apiVersion: understudy/v1\nservice: x\nmatch: [{alertname: Down}]\nprimary: {url: \"http://127.0.0.1:1\", server: a}\ntraffic: {kind: haproxy, sockets: [/tmp/none.sock], backend: x, front: \"http://127.0.0.1:2\"}\ntiers: [{name: hot, url: \"http://127.0.0.1:3\", server: b}]\n"
	if err := os.MkdirAll(filepath.Join(dir, "books"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"understudy.yaml": site, "books/x.yaml": book} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	printed, code := run(t, "serve", "--config", filepath.Join(dir, "understudy.yaml"))
	if code != 1 || !strings.Contains(printed, "nobody would have to log in") || !strings.Contains(printed, "listen.web_config") {
		t.Errorf("exit code %d\n%s", code, printed)
	}
}
