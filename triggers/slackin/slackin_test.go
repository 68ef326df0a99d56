package slackin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/chat/slack"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/triggers/slackin"
)

var users = []runbooks.User{
	{Name: "mia", Role: "approver", Slack: "U_MIA"},
	{Name: "bo", Role: "responder", Slack: "U_BO"},
	{Name: "vi", Role: "viewer", Slack: "U_VI"},
	{Name: "alertmanager", Role: "ingest"},
}

// recovery decides as a real one does: one answer to its question counts, on the plan that it asks about.
type recovery struct {
	mu      sync.Mutex
	plan    string
	roles   string
	decided []string
	ids     map[string]bool
	// holds keeps decisions waiting.
	holds chan bool
	// done gets a word for each decision that was tried.
	done chan string
	err  error
}

func (r *recovery) decide(ctx context.Context, verb string, d slackin.Decision) (string, error) {
	if r.holds != nil {
		select {
		case <-r.holds:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.done <- verb }()
	switch {
	case r.err != nil:
		return "", r.err
	case r.ids[d.ID]:
		return "", errors.New("the same click came twice")
	case r.roles != "" && d.Role != r.roles:
		return "", fmt.Errorf("this is for %ss to decide; %s is a %s", r.roles, d.By, d.Role)
	case d.Plan != r.plan:
		return "", errors.New("the plan has changed; look at it again")
	case len(r.decided) > 0:
		return "", fmt.Errorf("%s was faster", r.decided[0])
	}
	r.ids[d.ID] = true
	r.decided = append(r.decided, fmt.Sprintf("%s %s %s by %s (%s): %s", verb, d.Recovery, d.Answer, d.By, d.Role, d.Reason))
	return "a machine is made", nil
}

func (r *recovery) Answer(ctx context.Context, d slackin.Decision) (string, error) {
	return r.decide(ctx, "answer", d)
}

func (r *recovery) Commit(ctx context.Context, d slackin.Decision) (string, error) {
	return r.decide(ctx, "commit", d)
}

func (r *recovery) Rollback(ctx context.Context, d slackin.Decision) (string, error) {
	return r.decide(ctx, "rollback", d)
}

func (r *recovery) Abort(ctx context.Context, d slackin.Decision) (string, error) {
	return r.decide(ctx, "abort", d)
}

// desk is a Slack, a recovery that asks in it, and what takes the clicks.
type desk struct {
	*fakeslack.Running
	recovery *recovery
	clicks   *slackin.Clicks
	url      string
	log      *logged
}

// logged keeps what was logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func open(t *testing.T, change func(*slackin.Config)) *desk {
	t.Helper()
	server, err := fakeslack.Start("127.0.0.1:0", fakeslack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	m, err := slack.New(slack.Config{Token: fakeslack.Token, APIURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{Running: server, recovery: &recovery{plan: "plan-1", ids: map[string]bool{}, done: make(chan string, 1000)}, log: &logged{}}
	config := slackin.Config{
		Decider: d.recovery, Chat: m, Users: users, SigningSecret: fakeslack.SigningSecret,
		Log: slog.New(slog.NewTextHandler(d.log, nil)), Metrics: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&config)
	}
	if d.clicks, err = slackin.New(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.close(t) })
	app := httptest.NewServer(d.clicks)
	t.Cleanup(app.Close)
	d.url = app.URL + slackin.Path
	d.Interact(d.url)
	choice := func(verb chat.Verb, answer string) string {
		c := chat.Choice{Verb: verb, Recovery: "fun-asr-7", Plan: "plan-1"}
		if verb == chat.Answer {
			c.Question, c.Answer = "q1", answer
		}
		return c.Value()
	}
	_, err = m.Post(t.Context(), "#asr-oncall", chat.Message{Color: chat.Asking, Headline: "fun-asr: may a machine be made?", Actions: []chat.Action{
		{Text: "Approve", Value: choice(chat.Answer, "approve")}, {Text: "Reject", Value: choice(chat.Answer, "reject")},
		{Text: "Commit", Value: choice(chat.Commit, "")}, {Text: "Roll back", Value: choice(chat.Rollback, "")}, {Text: "Abort", Value: choice(chat.Abort, "")},
		{Text: "Foreign", Value: "approve"},
	}}, "k", false)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// close ends the desk, so that everything that was acknowledged is done.
func (d *desk) close(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	d.clicks.Close(ctx)
}

func (d *desk) press(t *testing.T, user, text string) {
	t.Helper()
	b, err := d.Button(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Click(t.Context(), user, b); err != nil {
		t.Fatal(err)
	}
}

func (d *desk) whispered() string {
	text := ""
	for _, w := range d.Whispers() {
		text += w.User + ": " + w.Text + "\n"
	}
	return text
}

func TestADecisionCounts(t *testing.T) {
	d := open(t, func(c *slackin.Config) {
		c.Now = func() time.Time {
			return time.Now().UTC().Truncate(24 * time.Hour).Add(3*time.Hour + 12*time.Minute + 5*time.Second)
		}
	})
	b, err := d.Button("Approve")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := d.Payload("U_MIA", b)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().UTC().Truncate(24 * time.Hour).Add(3*time.Hour + 12*time.Minute)
	if status, said := post(t, d.Signed(d.url, "payload="+url.QueryEscape(payload), at)); status != http.StatusOK || said != "" {
		t.Fatalf("HTTP %d: %s", status, said)
	}
	d.close(t)
	if got := strings.Join(d.recovery.decided, "; "); got != `answer fun-asr-7 approve by mia (approver): pressed "Approve" in Slack` {
		t.Errorf("decided: %s", got)
	}
	seen := d.Transcript()
	if !strings.Contains(seen, "Approve: decided by mia (approver) at 03:12:05 UTC; a machine is made") || strings.Contains(seen, "[Approve]") || strings.Contains(seen, "[Reject]") || !strings.Contains(seen, "[Abort]") {
		t.Errorf("people read:\n%s", seen)
	}
	if d.whispered() != "" {
		t.Errorf("whispered: %s", d.whispered())
	}
	for _, want := range []string{"by=mia", "role=approver", "slack_user=U_MIA", "plan=plan-1", "answer=approve", "recovery=fun-asr-7"} {
		if !strings.Contains(d.log.String(), want) {
			t.Errorf("the audit line lacks %s:\n%s", want, d.log)
		}
	}
}

func TestEveryVerb(t *testing.T) {
	for text, want := range map[string]string{"Commit": "commit fun-asr-7", "Roll back": "rollback fun-asr-7", "Abort": "abort fun-asr-7", "Reject": "answer fun-asr-7 reject"} {
		d := open(t, nil)
		d.press(t, "U_BO", text)
		d.close(t)
		if len(d.recovery.decided) != 1 || !strings.HasPrefix(d.recovery.decided[0], want) {
			t.Errorf("%s: %q, %s", text, d.recovery.decided, d.whispered())
		}
	}
}

func TestRefusalsAreWhispered(t *testing.T) {
	for name, tt := range map[string]struct {
		user, button, want string
		change             func(*recovery)
	}{
		"nobody we know":  {"U_EVE", "Approve", "add slack: U_EVE to yours", nil},
		"no account":      {"", "Approve", "", nil},
		"a viewer":        {"U_VI", "Approve", "vi is a viewer", nil},
		"the wrong role":  {"U_BO", "Approve", "for approvers to decide; bo is a responder", func(r *recovery) { r.roles = "approver" }},
		"a stale plan":    {"U_MIA", "Approve", "the plan has changed", func(r *recovery) { r.plan = "plan-2" }},
		"a second click":  {"U_MIA", "Approve", "bo was faster", func(r *recovery) { r.decided = []string{"bo"} }},
		"not our button":  {"U_MIA", "Foreign", "none of Understudy's", nil},
		"engine is away":  {"U_MIA", "Approve", "no engine", func(r *recovery) { r.err = errors.New("no engine\n<!channel>") }},
		"engine is stuck": {"U_MIA", "Approve", "whether the decision counts is not known", func(r *recovery) { r.err = fmt.Errorf("ask: %w", context.DeadlineExceeded) }},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, nil)
			before := d.Transcript()
			if tt.change != nil {
				tt.change(d.recovery)
			}
			known := len(d.recovery.decided)
			d.press(t, tt.user, tt.button)
			d.close(t)
			if len(d.recovery.decided) != known || d.Transcript() != before {
				t.Errorf("decided: %q, people read:\n%s", d.recovery.decided, d.Transcript())
			}
			said := d.Whispers()
			if tt.want == "" {
				if len(said) > 0 {
					t.Errorf("whispered: %+v", said)
				}
				return
			}
			if len(said) != 1 || said[0].User != tt.user || !strings.Contains(said[0].Text, tt.want) || strings.Contains(said[0].Text, "\n") || len(d.Pings()) > 0 {
				t.Errorf("whispered: %+v", said)
			}
		})
	}
}

// Two people, and one of them twice: exactly one decision counts, and each other click is told why it does not.
func TestExactlyOneDecisionCounts(t *testing.T) {
	d := open(t, nil)
	approve, err := d.Button("Approve")
	if err != nil {
		t.Fatal(err)
	}
	reject, err := d.Button("Reject")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			user, b := "U_MIA", approve
			if i%2 == 0 {
				user, b = "U_BO", reject
			}
			if err := d.Click(t.Context(), user, b); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	d.close(t)
	if len(d.recovery.decided) != 1 || len(d.Whispers()) != 19 || strings.Count(d.Transcript(), "decided by") != 1 {
		t.Errorf("decided: %q, %d whispers, people read:\n%s", d.recovery.decided, len(d.Whispers()), d.Transcript())
	}
}

func TestOnlyWhatSlackHasSigned(t *testing.T) {
	d := open(t, nil)
	b, err := d.Button("Approve")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := d.Payload("U_MIA", b)
	if err != nil {
		t.Fatal(err)
	}
	body := "payload=" + url.QueryEscape(payload)
	signed := func(body string, age time.Duration) *http.Request { return d.Signed(d.url, body, time.Now().Add(-age)) }
	altered := func(change func(*http.Request)) *http.Request {
		r := signed(body, 0)
		change(r)
		return r
	}
	for _, tt := range []struct {
		name   string
		r      *http.Request
		status int
		said   string
	}{
		{"no signature", altered(func(r *http.Request) { r.Header.Del("X-Slack-Signature") }), 401, "not signed"},
		{"no time", altered(func(r *http.Request) { r.Header.Del("X-Slack-Request-Timestamp") }), 401, "not signed"},
		{"another time", altered(func(r *http.Request) {
			r.Header.Set("X-Slack-Request-Timestamp", fmt.Sprint(time.Now().Unix()+1))
		}), 401, "not signed"},
		{"another body", altered(func(r *http.Request) {
			other := strings.Replace(body, "approve", "reject_", 1)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(other)), int64(len(other))
		}), 401, "not signed"},
		{"six minutes old", signed(body, 6*time.Minute), 401, "apart"},
		{"six minutes ahead", signed(body, -6*time.Minute), 401, "apart"},
		{"by GET", altered(func(r *http.Request) { r.Method = http.MethodGet }), 405, "POST"},
		{"no payload", signed("x=y", 0), 400, "no payload"},
		{"no form", signed("%zz", 0), 400, "no payload"},
		{"payload is no JSON", signed("payload=x", 0), 400, "no interaction"},
		{"too long", signed("payload="+strings.Repeat("x", 1<<20), 0), 413, "at most"},
		{"another interaction", signed("payload="+url.QueryEscape(`{"type":"view_submission","user":{"id":"U_MIA"}}`), 0), 200, ""},
		{"no message", signed("payload="+url.QueryEscape(`{"type":"block_actions","user":{"id":"U_MIA"},"actions":[{"type":"button","value":"x","action_ts":"1"}]}`), 0), 200, ""},
	} {
		status, said := post(t, tt.r)
		if status != tt.status || !strings.Contains(said, tt.said) || strings.Contains(said, fakeslack.SigningSecret) {
			t.Errorf("%s: HTTP %d: %s", tt.name, status, said)
		}
	}
	if status, said := post(t, signed(body, 4*time.Minute)); status != http.StatusOK {
		t.Errorf("genuine, four minutes old: HTTP %d: %s", status, said)
	}
	// The same click again, as it was, and signed anew as Slack would not.
	for _, age := range []time.Duration{4 * time.Minute, 0} {
		if status, said := post(t, signed(body, age)); status != http.StatusConflict || !strings.Contains(said, "taken before") {
			t.Errorf("played again: HTTP %d: %s", status, said)
		}
	}
	d.close(t)
	if len(d.recovery.decided) != 1 || d.whispered() != "" {
		t.Errorf("decided: %q, whispered: %s", d.recovery.decided, d.whispered())
	}
	if status, said := post(t, d.Signed(d.url, "payload="+url.QueryEscape(strings.ReplaceAll(payload, "U_MIA", "U_BO")), time.Now())); status != http.StatusServiceUnavailable {
		t.Errorf("after the end: HTTP %d: %s", status, said)
	}
}

func TestWithoutASecretNothingIsTaken(t *testing.T) {
	d := open(t, func(c *slackin.Config) { c.SigningSecret = "" })
	b, err := d.Button("Approve")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := d.Payload("U_MIA", b)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := post(t, d.Signed(d.url, "payload="+url.QueryEscape(payload), time.Now())); status != http.StatusNotFound {
		t.Errorf("HTTP %d", status)
	}
}

// A recovery, or a Slack, that takes its time must not keep Slack waiting; and a crowd is told to press again.
func TestClicksAreAcknowledgedFirst(t *testing.T) {
	d := open(t, nil)
	d.recovery.holds = make(chan bool)
	b, err := d.Button("Approve")
	if err != nil {
		t.Fatal(err)
	}
	turnedAway := 0
	for range 16 + 256 + 20 {
		if err := d.Click(t.Context(), "U_MIA", b); err != nil {
			turnedAway++
			if !strings.Contains(err.Error(), "press again") {
				t.Fatal(err)
			}
		}
	}
	if turnedAway < 20 || turnedAway > 20+16 { // those at work may not have taken theirs out of the line yet
		t.Errorf("%d clicks were turned away", turnedAway)
	}
	close(d.recovery.holds)
	d.close(t)
	if len(d.recovery.decided) != 1 || len(d.Whispers()) != 16+256+20-turnedAway-1 {
		t.Errorf("decided: %q, %d whispers", d.recovery.decided, len(d.Whispers()))
	}
}

// A Slack that is away after the decision changes nothing about it.
func TestSlackIsAwayAfterTheDecision(t *testing.T) {
	d := open(t, nil)
	d.Inject(fakeslack.Fault{Status: 500})
	d.press(t, "U_BO", "Abort")
	<-d.recovery.done
	d.press(t, "U_MIA", "Approve")
	d.close(t)
	if len(d.recovery.decided) != 1 || !strings.Contains(d.log.String(), "could not be shown") || !strings.Contains(d.log.String(), "could not be told") {
		t.Errorf("decided: %q\n%s", d.recovery.decided, d.log)
	}
}

func TestOneSlackAccountForTwoUsers(t *testing.T) {
	_, err := slackin.New(slackin.Config{Users: []runbooks.User{{Name: "mia", Slack: "U1"}, {Name: "bo", Slack: "U1"}}})
	if err == nil || !strings.Contains(err.Error(), "mia and bo") {
		t.Error(err)
	}
}

func post(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(said)
}
