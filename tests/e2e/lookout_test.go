package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/tests/fakewecom"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/triggers/slackin"
	"github.com/understudy-dr/understudy/workflows"
)

// No alert comes, and the primary hangs: the heartbeat notices, and a witness on
// another machine agrees before anything is done.
func TestHeartbeatNoticesAHang(t *testing.T) {
	abreast(t)
	dir := t.TempDir()
	key := filepath.Join(dir, "witness.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	port := harness.FreePort()
	s := setScene(t, harness.SceneOptions{Held: true, Edit: func(r *runbooks.Runbook, site *runbooks.Site) {
		r.Heartbeat = &runbooks.Heartbeat{Interval: runbooks.Duration(400 * time.Millisecond), Failures: 2}
		site.Sites = []runbooks.SiteGroup{{Name: "dc-b", Watchdog: &runbooks.Watchdog{Match: map[string]string{"alertname": "Watchdog"}, Silence: runbooks.Duration(time.Hour)}}}
		site.Witnesses = []runbooks.Witness{{Name: "office", URL: "http://" + harness.Address(port), Key: runbooks.Secret{File: key}}}
	}})
	witness, err := harness.Start(t.Context(), harness.Spec{
		Name: "witness", Path: s.Understudy.Spec.Path, Dir: dir,
		Args:  []string{"witness", "--listen", harness.Address(port), "--key-file", key, "--allow", s.Primary.URL},
		Ready: harness.Responding("http://" + harness.Address(port) + "/healthz"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { witness.Stop(patience) })
	guard(t, s.Understudy, atRest)
	s.Primary.Signal(syscall.SIGSTOP)
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Hung))
	if r.Trigger.Kind != workflows.TriggerHeartbeat || !strings.Contains(r.Trigger.Text, "heartbeats in a row failed") {
		t.Errorf("the trigger is %+v", r.Trigger)
	}
	agreed := false
	for _, o := range r.Evidence.Others {
		agreed = agreed || o.Domain == runbooks.ByWitness+":office" && o.Finding == runbooks.Silent
	}
	if !agreed {
		t.Errorf("the witness did not say what it sees: %+v", r.Evidence)
	}
	if n := count(t, s.Understudy); n != 1 {
		t.Errorf("%d recoveries", n)
	}
	if _, err := fetch(t.Context(), s.Understudy.URL+"/api/v1/services/fun-asr/readiness?now=true"); err != nil {
		t.Fatal(err)
	}
	everyMetric(t, s.Understudy)
}

// everyMetric wants each metric that the shipped rules and the dashboard name to
// be one that this program has shown.
func everyMetric(t *testing.T, u *harness.Understudy) {
	t.Helper()
	wanted := map[string]bool{}
	for _, file := range []string{"deploy/prometheus/understudy.rules.yml", "deploy/grafana/understudy.json"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bunderstudy_[a-z_]+`).FindAllString(string(text), -1) {
			wanted[name] = true
		}
	}
	if len(wanted) < 10 {
		t.Errorf("only %d metrics are named", len(wanted))
	}
	shown := ""
	eventually(t, func(context.Context) (err error) {
		if shown, err = fetch(t.Context(), u.URL+"/metrics"); err != nil {
			return err
		}
		for name := range wanted {
			if !strings.Contains(shown, "\n"+name+"{") && !strings.Contains(shown, "\n"+name+" ") {
				return fmt.Errorf("no metric %s; there are:\n%s", name, strings.Join(regexp.MustCompile(`(?m)^understudy_.*`).FindAllString(shown, -1), "\n"))
			}
		}
		return nil
	})
}

// The monitoring of a whole site ends together with the service: the watchdog
// looks for itself, and asks for the recovery. While the service lives, its
// silence is told to people and moves nothing.
func TestASiteFallsSilent(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{Edit: func(r *runbooks.Runbook, site *runbooks.Site) {
		r.Primary.Site = "dc-a"
		site.Sites = []runbooks.SiteGroup{{Name: "dc-a", Watchdog: &runbooks.Watchdog{
			Match: map[string]string{"alertname": "Watchdog", "site": "dc-a"}, Silence: runbooks.Duration(3 * time.Second), Action: "recover",
		}}}
	}})
	u := s.Understudy
	sign := func() {
		body, _ := json.Marshal(map[string]any{"version": "4", "status": "firing", "alerts": []any{map[string]any{
			"status": "firing", "fingerprint": "w", "startsAt": time.Now().Format(time.RFC3339), "labels": map[string]string{"alertname": "Watchdog", "site": "dc-a"},
		}}})
		if status := post(t, u.URL+"/api/v1/alerts", body); status != http.StatusOK {
			t.Errorf("a sign of life is answered with %d", status)
		}
	}
	guard(t, u, atRest)
	sign()
	eventually(t, func(context.Context) error {
		if told := s.Slack.Transcript(); !strings.Contains(told, "dc-a") {
			return fmt.Errorf("people are not told that dc-a is silent:\n%s", told)
		}
		return nil
	})
	if n := count(t, u); n != 0 {
		t.Fatalf("%d recoveries of a service that lives", n)
	}
	sign() // it is heard of again
	s.Primary.Kill()
	r := ended(t, u, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	if r.Trigger.Kind != workflows.TriggerWatchdog {
		t.Errorf("the trigger is %+v", r.Trigger)
	}
}

// A provisional switch is committed by a button in Slack: by the one who may, and
// once. The message says who it was.
func TestDecisionsInSlack(t *testing.T) {
	abreast(t)
	for _, way := range []string{"signed requests", "a socket"} {
		t.Run(way, func(t *testing.T) { decideInSlack(t, way == "a socket") })
	}
}

func decideInSlack(t *testing.T, socket bool) {
	s := setScene(t, harness.SceneOptions{
		Env: []string{"SLACK_SIGNING=" + fakeslack.SigningSecret, "SLACK_APP=" + fakeslack.AppToken},
		Edit: func(r *runbooks.Runbook, site *runbooks.Site) {
			r.Policy.Confirm = runbooks.Duration(10 * time.Minute)
			if socket {
				site.Chat.Slack.AppToken = runbooks.Secret{Env: "SLACK_APP"}
			} else {
				site.Chat.Slack.SigningSecret = runbooks.Secret{Env: "SLACK_SIGNING"}
			}
			site.Users = []runbooks.User{{Name: "anna", Role: "responder", Slack: "U0ANNA"}, {Name: "vera", Role: "viewer", Slack: "U0VERA"}}
		}})
	s.Slack.Interact(s.Understudy.URL + slackin.Path)
	if socket {
		eventually(t, func(context.Context) error {
			if s.Slack.Sockets() == 0 {
				return fmt.Errorf("no socket is open:\n%s", s.Understudy.Tail(2000))
			}
			return nil
		})
	}
	s.Primary.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	var commit fakeslack.Button
	eventually(t, func(context.Context) (err error) {
		commit, err = s.Slack.Button("commit")
		return err
	})
	told := func(user, want string) {
		t.Helper()
		if err := s.Slack.Click(t.Context(), user, commit); err != nil {
			t.Fatal(err)
		}
		eventually(t, func(context.Context) error {
			for _, w := range s.Slack.Whispers() {
				if w.User == user && strings.Contains(w.Text, want) {
					return nil
				}
			}
			return fmt.Errorf("%s is not told %q: %+v", user, want, s.Slack.Whispers())
		})
	}
	told("U0NOBODY", "no user of Understudy has your Slack account")
	told("U0VERA", "vera is a viewer")
	if err := s.Slack.Click(t.Context(), "U0ANNA", commit); err != nil {
		t.Fatal(err)
	}
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	if n := len(r.Answers); n != 1 || r.Answers[0].By != "anna" || r.Answers[0].Answer != "commit" {
		t.Errorf("the decisions are %+v", r.Answers)
	}
	eventually(t, func(context.Context) error {
		if told := s.Slack.Transcript(); !strings.Contains(told, "Decided: commit, by anna at ") {
			return fmt.Errorf("people do not read who decided:\n%s", told)
		}
		if b, err := s.Slack.Button("commit"); err == nil {
			return fmt.Errorf("the button is still there: %+v", b)
		}
		return nil
	})
	told("U0ANNA", "Not done: ")
	kept := 0
	for _, e := range audited(t, s.Understudy) {
		if e.Who == "anna" && e.Did == "commit" && strings.HasPrefix(e.From, "Slack ") {
			kept++
		}
	}
	if kept != 2 {
		t.Errorf("%d of the two clicks are in the audit", kept)
	}
}

// WeCom can neither edit nor thread: each news is one message there, with its log.
func TestWeComIsToldOnce(t *testing.T) {
	abreast(t)
	robot, err := fakewecom.Start(harness.Address(0), fakewecom.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(robot.Close)
	s := setScene(t, harness.SceneOptions{Env: []string{"WECOM_KEY=" + fakewecom.Key}, Edit: func(r *runbooks.Runbook, site *runbooks.Site) {
		r.Notify = []runbooks.Notify{{Kind: "wecom"}}
		site.Chat.WeCom = &runbooks.WeCom{Key: runbooks.Secret{Env: "WECOM_KEY"}, APIURL: robot.URL}
	}})
	s.Primary.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	wantOutcome(t, ended(t, s.Understudy, 1), workflows.OutcomeRecovered, string(runbooks.Dead))
	eventually(t, func(context.Context) error {
		told := robot.Transcript()
		for _, want := range []string{"recovered", "settle (hot)： done"} {
			if !strings.Contains(told, want) && !strings.Contains(told, strings.ReplaceAll(want, "：", ":")) {
				return fmt.Errorf("people do not read %q:\n%s", want, told)
			}
		}
		return nil
	})
	if n := strings.Count(robot.Transcript(), "settle (hot)"); n != 1 {
		t.Errorf("the log's last line is there %d times:\n%s", n, robot.Transcript())
	}
}
