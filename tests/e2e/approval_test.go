package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/slackin"
	"github.com/understudy-dr/understudy/workflows"
)

// approvers of the scenes below, with the passwords "of NAME" and Slack accounts.
var approvers = []runbooks.User{
	{Name: "am", Role: "ingest"}, {Name: "vera", Role: "viewer", Slack: "U0VERA"}, {Name: "rob", Role: "responder", Slack: "U0ROB"},
	{Name: "anna", Role: "approver", Slack: "U0ANNA"}, {Name: "bert", Role: "approver", Slack: "U0BERT"},
}

// webConfig writes a web config file in which each user has the password "of NAME".
func webConfig(t *testing.T, people []runbooks.User) string {
	t.Helper()
	hashes := map[string]string{}
	for _, p := range people {
		hash, err := bcrypt.GenerateFromPassword([]byte("of "+p.Name), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		hashes[p.Name] = string(hash)
	}
	text, err := json.Marshal(map[string]any{"basic_auth_users": hashes})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readAs lets the helpers read as somebody; a request that names another login keeps it.
func readAs(u *harness.Understudy, name string) {
	u.URL = "http://" + url.UserPassword(name, "of "+name).String() + "@" + u.Options.Site.Listen.API
}

// asking is a scene whose hot standby takes the traffic only when an approver has
// agreed, in Slack or with a password.
func asking(t *testing.T, socket bool, timeout time.Duration) *harness.Scene {
	t.Helper()
	web := webConfig(t, approvers)
	s := setScene(t, harness.SceneOptions{
		Held: true, Env: []string{"SLACK_SIGNING=" + fakeslack.SigningSecret, "SLACK_APP=" + fakeslack.AppToken},
		Edit: func(r *runbooks.Runbook, site *runbooks.Site) {
			site.Users, site.Listen.WebConfig = approvers, web
			r.Tiers[0].Approval = &runbooks.Approval{Roles: []string{"approver"}, Timeout: runbooks.Duration(timeout)}
			if site.Chat.Slack.SigningSecret = (runbooks.Secret{Env: "SLACK_SIGNING"}); socket {
				site.Chat.Slack.AppToken = runbooks.Secret{Env: "SLACK_APP"}
			}
		},
	})
	s.Slack.Interact("http://" + s.Understudy.Options.Site.Listen.API + slackin.Path)
	readAs(s.Understudy, "vera")
	if socket {
		eventually(t, func(context.Context) error {
			if s.Slack.Sockets() == 0 {
				return fmt.Errorf("no socket is open")
			}
			return nil
		})
	}
	return s
}

// down raises the alert of a dead primary, as Alertmanager would with its password.
func down(t *testing.T, s *harness.Scene) {
	t.Helper()
	s.Primary.Kill()
	hook := fmt.Sprintf(`{"version":"4","status":"firing","alerts":[{"status":"firing","fingerprint":"f1","startsAt":%q,"labels":{"alertname":"SpeechServiceDown","service":"fun-asr"}}]}`, time.Now().Format(time.RFC3339Nano))
	if a := decide(t, s.Understudy, "am:of am", "/alerts", hook, "-"); a.status != http.StatusOK {
		t.Fatalf("an alert: %+v", a)
	}
}

// choice waits for the button of a question in Slack.
func choice(t *testing.T, s *harness.Scene, q *workflows.Question, text string) (found fakeslack.Button) {
	t.Helper()
	eventually(t, func(context.Context) error {
		for _, b := range s.Slack.Buttons() {
			if b.Text == text && strings.Contains(b.Value, q.ID) {
				found = b
				return nil
			}
		}
		return fmt.Errorf("no button %q of question %s: %+v", text, q.ID, s.Slack.Buttons())
	})
	return found
}

// press presses a button, and wants it told to the one who did why it does not count.
func press(t *testing.T, s *harness.Scene, user string, b fakeslack.Button, want string) {
	t.Helper()
	if err := s.Slack.Click(t.Context(), user, b); err != nil {
		t.Fatal(err)
	}
	whispered(t, s, user, want)
}

func whispered(t *testing.T, s *harness.Scene, user, want string) {
	t.Helper()
	eventually(t, func(context.Context) error {
		for _, w := range s.Slack.Whispers() {
			if w.User == user && strings.Contains(w.Text, want) {
				return nil
			}
		}
		return fmt.Errorf("%s is not told %q: %+v", user, want, s.Slack.Whispers())
	})
}

// undecided fails where a refused click or request has changed anything.
func undecided(t *testing.T, s *harness.Scene) {
	t.Helper()
	if d := asked(t, s.Understudy); len(d.Report.Answers) != 0 || d.Report.Active != runbooks.PrimaryName {
		t.Errorf("something was decided: %+v, on %s", d.Report.Answers, d.Report.Active)
	}
	servers(t, s, "DOWN", "MAINT")
}

// Somebody agrees in Slack and somebody else refuses by the API, at one moment:
// one of them decides, and the other is told who was faster. Whoever may not
// decide, and whatever was sent before, decides nothing.
func TestApprovalInSlackAndByTheAPI(t *testing.T) {
	for _, way := range []string{"signed requests", "a socket"} {
		t.Run(way, func(t *testing.T) {
			abreast(t)
			s := asking(t, way == "a socket", 10*time.Minute)
			down(t, s)
			detail := asked(t, s.Understudy)
			approve := choice(t, s, detail.Report.Question, "approve")
			eventually(t, func(ctx context.Context) error {
				shown, err := s.Servers(ctx)
				if err == nil && !strings.HasPrefix(shown["primary"], "DOWN") {
					err = fmt.Errorf("HAProxy shows %v", shown)
				}
				return err
			})
			press(t, s, "U0NOBODY", approve, "no user of Understudy has your Slack account")
			press(t, s, "U0VERA", approve, "vera is a viewer")
			press(t, s, "U0ROB", approve, "this takes approver")
			stale := approve
			stale.Value = strings.ReplaceAll(approve.Value, detail.Report.Question.Plan, strings.Repeat("0", len(detail.Report.Question.Plan)))
			if stale.Value == approve.Value {
				t.Fatalf("the button does not name the plan: %s", approve.Value)
			}
			press(t, s, "U0ANNA", stale, "is not the one that is asked about")
			undecided(t, s)
			if way == "signed requests" {
				forge(t, s, approve)
				undecided(t, s)
			}
			atOnce(t, s, detail, approve)
		})
	}
}

// forge sends what Slack has not signed, or has signed long ago, and a signed
// click a second time.
func forge(t *testing.T, s *harness.Scene, b fakeslack.Button) {
	t.Helper()
	target := "http://" + s.Understudy.Options.Site.Listen.API + slackin.Path
	send := func(what string, r *http.Request, want int, because string) {
		t.Helper()
		response, err := http.DefaultClient.Do(r.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != want || !strings.Contains(string(text), because) {
			t.Errorf("%s is answered with %s, %s, %v", what, response.Status, text, err)
		}
	}
	body := func(user string) string {
		t.Helper()
		text, err := s.Slack.Payload(user, b)
		if err != nil {
			t.Fatal(err)
		}
		return "payload=" + url.QueryEscape(text)
	}
	now := time.Now()
	send("a click of an hour ago", s.Slack.Signed(target, body("U0ANNA"), now.Add(-time.Hour)), 401, "apart")
	unsigned := s.Slack.Signed(target, body("U0ANNA"), now)
	unsigned.Header.Del("X-Slack-Signature")
	send("a click that nobody has signed", unsigned, 401, "not signed")
	changed := s.Slack.Signed(target, body("U0VERA"), now)
	changed.Body = io.NopCloser(strings.NewReader(body("U0ANNA")))
	changed.ContentLength = -1
	send("another click under a signature", changed, 401, "not signed")
	twice := body("U0ROB") // who may not approve
	send("a click", s.Slack.Signed(target, twice, now), 200, "")
	send("the same once more", s.Slack.Signed(target, twice, now), 409, "taken before")
}

// atOnce lets bert agree in Slack and anna refuse by the API at one moment.
func atOnce(t *testing.T, s *harness.Scene, detail triggers.RecoveryDetail, approve fakeslack.Button) {
	t.Helper()
	q := detail.Report.Question
	var together sync.WaitGroup
	var clicked error
	var told answered
	together.Go(func() { clicked = s.Slack.Click(t.Context(), "U0BERT", approve) })
	together.Go(func() {
		told = decide(t, s.Understudy, "anna:of anna", "/recoveries/"+detail.ID+"/reject", fmt.Sprintf(`{"question":%q,"plan":%q,"reason":"not tonight"}`, q.ID, q.Plan), "at once")
	})
	together.Wait()
	if clicked != nil {
		t.Fatal(clicked)
	}
	r := ended(t, s.Understudy, 1)
	if len(r.Answers) != 1 || r.Answers[0].Plan != q.Plan || r.Answers[0].Role != "approver" {
		t.Fatalf("the decisions are %+v", r.Answers)
	}
	if r.Answers[0].By == "bert" {
		if told.status != 409 || !strings.Contains(told.text, "bert has answered already: approve") && !strings.Contains(told.text, "is over") {
			t.Errorf("anna, who came too late, is told %+v", told)
		}
		wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
		servers(t, s, "MAINT", "UP")
	} else {
		if told.status != 200 {
			t.Errorf("anna, who decided, is told %+v", told)
		}
		whispered(t, s, "U0BERT", "Not done: ")
		wantOutcome(t, r, workflows.OutcomeFailed, string(runbooks.Dead))
		servers(t, s, "DOWN", "MAINT")
	}
	t.Logf("%s was faster", r.Answers[0].By)
	late := fmt.Sprintf(`{"question":%q,"plan":%q}`, q.ID, q.Plan)
	if a := decide(t, s.Understudy, "anna:of anna", "/recoveries/"+detail.ID+"/approve", late, "late"); a.status != 409 || !strings.Contains(a.text, "is over") && !strings.Contains(a.text, "has answered already") {
		t.Errorf("an answer after the decision is told %+v", a)
	}
	eventually(t, func(context.Context) error {
		for _, b := range s.Slack.Buttons() {
			if strings.Contains(b.Value, q.ID) {
				return fmt.Errorf("the button is still there: %+v", b)
			}
		}
		return nil
	})
	if n := count(t, s.Understudy); n != 1 {
		t.Errorf("%d recoveries", n)
	}
}

// Nobody answers in time: nothing is moved, and a button that is pressed later says so.
func TestAnApprovalExpires(t *testing.T) {
	abreast(t)
	s := asking(t, false, 4*time.Second)
	down(t, s)
	approve := choice(t, s, asked(t, s.Understudy).Report.Question, "approve")
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeFailed, string(runbooks.Dead))
	if at := step(r, runbooks.StepApprove, workflows.Refused); !strings.Contains(at.Reason, "silence is never a yes") {
		t.Errorf("an answer that never came: %+v", at)
	}
	press(t, s, "U0ANNA", approve, "is over")
	servers(t, s, "DOWN", "MAINT")
}
