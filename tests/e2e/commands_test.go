package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// run runs the program without a running Understudy, and returns what it prints and its exit code.
func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	program, err := harness.BuildUnderstudy(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"--server", "http://" + harness.Address(harness.FreePort())}, args...)...)
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Ten mistakes, found in one go, each with its line and what to write instead.
func TestValidateNamesEveryMistake(t *testing.T) {
	abreast(t)
	file := filepath.Join(t.TempDir(), "bad.yaml")
	text := `apiVersion: understudy/v1
service: Fun_ASR
match:
  - {}
primary:
  url: 192.168.1.10:7860
  server: primary
  fence: [{kind: http, url: "http://pdu/off", headers: {Authorization: xoxb-1}}]
health:
  timout: 400ms
  busy: ten minutes
canary:
  transcribe: {audio: digits.wav, expect: one, max_wer: 7}
traffic:
  kind: haproxie
  front: http://127.0.0.1:7860
tiers:
  - {name: lukewarm, url: "http://192.168.1.11:7860", server: hot}
policy:
  cooldown: -10m
`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	printed, code := run(t, "validate", file)
	if code != 4 {
		t.Errorf("exit code %d", code)
	}
	for _, mistake := range []struct {
		line         int
		what, remedy string
	}{
		{2, "service", "lower-case letters, digits and dashes"},
		{4, "match[0]", "would match every alert"},
		{6, "primary.url", "begins with http://"},
		{8, "primary.fence[0].headers.Authorization", "never the secret itself"},
		{10, "health.timout", "perhaps you mean timeout"},
		{11, "health.busy", "a number with a unit"},
		{13, "canary.transcribe.max_wer", "out of range"},
		{15, "traffic.kind", "allowed: haproxy, nginx, route53, command"},
		{18, "tiers[0].name", "allowed: hot, warm, cold, cross-region"},
		{20, "policy.cooldown", "negative"},
	} {
		found := regexp.MustCompile(fmt.Sprintf(`(?m)^%s:%d:\d+: %s.*%s`, regexp.QuoteMeta(file), mistake.line, regexp.QuoteMeta(mistake.what), regexp.QuoteMeta(mistake.remedy)))
		if !found.MatchString(printed) {
			t.Errorf("not named: line %d, %s, %s", mistake.line, mistake.what, mistake.remedy)
		}
	}
	if t.Failed() {
		t.Logf("it printed\n%s", printed)
	}
	if strings.Contains(printed, "xoxb-1") {
		t.Errorf("a secret was printed:\n%s", printed)
	}
}

// What people ask at three in the morning, before, during and after a recovery,
// and when nothing runs any more.
func TestCommandsOnALiveSite(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Policy.Cooldown = runbooks.Duration(time.Hour)
		r.Primary.Fence = []runbooks.Fence{{Kind: "command", Command: []string{"/bin/true"}, Confirm: &runbooks.Confirm{Kind: "tcp-closed"}}}
	}})
	ask := func(wants []string, args ...string) string {
		t.Helper()
		printed, err := s.Understudy.Command(t.Context(), args...)
		if err != nil {
			t.Errorf("understudy %v: %v", args, err)
		}
		for _, want := range wants {
			if !strings.Contains(printed, want) {
				t.Errorf("understudy %v does not say %q:\n%s", args, want, printed)
			}
		}
		return printed
	}
	guard(t, s.Understudy, atRest)
	ask([]string{"SERVICE", "fun-asr", "ready", "primary"}, "status")
	plan := ask([]string{
		"fun-asr runs on primary", "1. hot, within 30s", "gate: ask " + s.Hot.URL + " for health, readiness, version",
		"haproxy fun_asr", "pinned", "undo: ", "canary through the front door, " + s.Front, "confirmed by tcp-closed (cannot be undone)", "settle", "report",
	}, "plan", "fun-asr")
	if strings.Contains(plan, "would be refused") {
		t.Errorf("the plan of a site that is well:\n%s", plan)
	}
	ask([]string{"guard is born"}, "why", "fun-asr")

	s.Primary.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	running := meanwhile(t, s.Understudy, func(r workflows.Report) bool { return !r.Verified.IsZero() })
	id := fmt.Sprint("fun-asr-", running.Epoch)
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	guard(t, s.Understudy, atRest)
	alert(t, s.Understudy, "firing", time.Now(), func(a map[string]any) { a["fingerprint"] = "f2" })
	guard(t, s.Understudy, func(g workflows.GuardState) bool { return len(g.Seen) == 2 })

	ask([]string{"cooling down", "hot", "recovered"}, "status")
	ask([]string{"runs on", "hot", "last recovery", "recovered", "cooldown until", "kept off the traffic", "primary", "/workflows/guard%2Ffun-asr"}, "status", "fun-asr")
	ask([]string{"start", "alert SpeechServiceDown: it cannot be scraped", "recovered", "hot is Healthy"}, "why", "fun-asr")
	ask([]string{id, "recovered", "hot", "Dead", "10s"}, "history")
	ask([]string{"# Recovery", "| verdict | Dead |", "first verified answer", "Where the time went", "detect", "Timeline", "cut over", "fence host", "What a person can do now"}, "history", id)
	if printed := ask([]string{`"outcome": "recovered"`}, "history", "--output", "json"); !strings.HasPrefix(strings.TrimSpace(printed), "[") {
		t.Errorf("no JSON:\n%s", printed)
	}
	// From here nothing is left to go to: the plan says so, and its exit code too.
	if printed, err := s.Understudy.Command(t.Context(), "plan", "fun-asr"); err == nil ||
		!strings.Contains(printed, "fun-asr runs on hot") || !strings.Contains(printed, "would be refused now: it failed itself within the cooldown") {
		t.Errorf("the plan with a dead primary: %v\n%s", err, printed)
	}
	for _, args := range [][]string{{"status", "nobody"}, {"history", "fun-asr-99999"}, {"plan", "nobody"}, {"why", "nobody"}} {
		if printed, err := s.Understudy.Command(t.Context(), args...); err == nil || !strings.Contains(printed, "there is no") {
			t.Errorf("understudy %v: %v\n%s", args, err, printed)
		}
	}

	// Nothing runs any more.
	s.Stop()
	data := s.Understudy.Options.Site.DataDir
	for _, args := range [][]string{{"history", "--data-dir", data}, {"history", id, "--data-dir", data}} {
		if printed, code := run(t, args...); code != 0 || !strings.Contains(printed, "recovered") || !strings.Contains(printed, fmt.Sprint(r.Epoch)) {
			t.Errorf("understudy %v: exit code %d\n%s", args, code, printed)
		}
	}
	if printed, code := run(t, "status"); code != 3 || !strings.Contains(printed, "no Understudy answers") || !strings.Contains(printed, "understudy serve") {
		t.Errorf("status: exit code %d\n%s", code, printed)
	}
	// The plan for the day when Understudy itself is down.
	books := filepath.Join(s.Dir, "understudy-runbooks")
	if printed, code := run(t, "plan", "fun-asr", "--runbooks", books); code != 0 || !strings.Contains(printed, "1. hot, within 30s") {
		t.Errorf("plan: exit code %d\n%s", code, printed)
	}
}
