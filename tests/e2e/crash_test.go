package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

// moment is a point in a recovery at which something is killed.
type moment struct {
	name string
	// arm lets a tap act there; nil acts right after the webhook was acknowledged.
	arm func(s *crashScene)
	// serves says that the standby is on the traffic by then, and serves while Understudy is dead.
	serves bool
}

// moments of a recovery from a primary that hangs to a standby that is held, in
// the order in which they come.
var moments = []moment{
	{name: "the webhook, before", arm: func(s *crashScene) { s.webhook.Before("POST /api/v1/alerts", 1, s.kill) }},
	{name: "the webhook, its answer lost", arm: func(s *crashScene) { s.webhook.After("POST /api/v1/alerts", 1, s.kill) }},
	{name: "the webhook, acknowledged"},
	{name: "the primary's probe, before", arm: func(s *crashScene) { s.primary.Before("GET /health", 1, s.kill) }},
	{name: "the gate, before", arm: func(s *crashScene) { s.hot.Before("GET /version", 1, s.kill) }},
	{name: "the gate, after", arm: func(s *crashScene) { s.hot.After("GET /version", 1, s.kill) }},
	{name: "Slack's first message, before", arm: func(s *crashScene) { s.slack.Before("chat.postMessage", 1, s.kill) }},
	{name: "Slack's first message, after", arm: func(s *crashScene) { s.slack.After("chat.postMessage", 1, s.kill) }},
	{name: "Slack's first reply, after", arm: func(s *crashScene) { s.slack.After("thread_ts", 1, s.kill) }},
	{name: "the proof, before", arm: func(s *crashScene) { s.hot.Before("POST ", 1, s.kill) }},
	{name: "the proof, after", arm: func(s *crashScene) { s.hot.After("POST ", 1, s.kill) }},
	{name: "the claim, before", arm: func(s *crashScene) { s.epoch.Before(claim, 1, s.kill) }},
	{name: "the claim, after", arm: func(s *crashScene) { s.epoch.After(claim, 1, s.kill) }},
	{name: "the switch, before", arm: func(s *crashScene) { s.haproxy.Before("set server", 1, s.kill) }},
	{name: "the switch and its read-back, after", arm: func(s *crashScene) { s.haproxy.After("set server", 1, s.kill) }},
	{name: "the front door's canary, before", arm: func(s *crashScene) { s.front.Before("POST ", 1, s.kill) }},
	{name: "the front door's canary, after", arm: func(s *crashScene) { s.front.After("POST ", 1, s.kill) }},
	{name: "the fence, before", arm: func(s *crashScene) { s.fence.Before("POST /off", 1, s.kill) }},
	{name: "the fence, after", arm: func(s *crashScene) { s.fence.After("POST /off", 1, s.kill) }},
	{name: "the confirm window", arm: func(s *crashScene) { s.front.After("POST ", 2, s.kill) }},
	{name: "the last record of the epoch, before", arm: func(s *crashScene) { s.epoch.Before(settled, 1, s.kill) }},
	{name: "the last record of the epoch, after", arm: func(s *crashScene) { s.epoch.After(settled, 1, s.kill) }},
	{name: "Slack's last edit, before", arm: func(s *crashScene) { s.slack.Before(lastEdit, 1, s.kill) }},
	{name: "Slack's last edit, after", arm: func(s *crashScene) { s.slack.After(lastEdit, 1, s.kill) }},
	{name: "Slack's last reply, after", arm: func(s *crashScene) { s.slack.After(lastReply, 1, s.kill) }},
}

// What a request contains in the middle of its text.
const (
	claim     = `"epoch": 1,`
	settled   = `"active": "hot"`
	lastEdit  = "the+way+home"
	lastReply = "committed+after"
)

func TestUnderstudyIsKilled(t *testing.T) {
	t.Parallel()
	store := harnesstest.MinIO(t, "epochs")
	stock(t, store)
	run := func(o crashOptions, m moment) func(t *testing.T) {
		return func(t *testing.T) { setCrashScene(t, store, o).play(t, m) }
	}
	for _, m := range moments {
		t.Run(m.name, run(crashOptions{Held: true}, m))
	}
	// A required fence comes before the climb.
	for _, m := range chosen(t, "the fence, before", "the fence, after") {
		t.Run("required, "+m.name, run(crashOptions{Held: true, Required: true}, m))
	}
	// HAProxy has moved by itself; what is left to do is to pin, to verify and to watch.
	for _, m := range chosen(t, "the webhook, acknowledged", "the switch, before", "the switch and its read-back, after", "the front door's canary, after", "the confirm window") {
		t.Run("moved, "+m.name, run(crashOptions{}, m))
	}
	// The path of a scene goes to s3fs, which takes no comma.
	for _, m := range coldMoments {
		t.Run("cold "+m.name, run(crashOptions{Held: true, Cold: true}, m))
	}
	for _, m := range cloudMoments {
		t.Run("cloud "+m.name, run(crashOptions{Held: true, Cold: true, Cloud: true}, m))
	}
	for name, o := range map[string]crashOptions{
		"frozen before the switch":                       {Held: true, Within: frozenWithin},
		"frozen before the switch, and its engine lives": {Held: true, Within: frozenWithin, Cluster: true},
		"moved, frozen before the switch":                {Within: frozenWithin},
	} {
		t.Run(name, func(t *testing.T) { setCrashScene(t, store, o).playFrozen(t) })
	}
	t.Run("frozen before the switch while another finishes", func(t *testing.T) {
		setCrashScene(t, store, crashOptions{Held: true, Cluster: true, Within: patience}).playOvertaken(t)
	})
}

// chosen are some of the moments, by their names.
func chosen(t *testing.T, names ...string) []moment {
	t.Helper()
	var some []moment
	for _, m := range moments {
		if slices.Contains(names, m.name) {
			some = append(some, m)
		}
	}
	if len(some) != len(names) {
		t.Fatalf("of the moments %q there are only %d", names, len(some))
	}
	return some
}

// play lets a recovery crash at a moment, and looks at what came of it.
func (s *crashScene) play(t *testing.T, m moment) {
	t.Helper()
	since := s.crash(t, m)
	r := s.finished(t)
	t.Log(&s.clock)
	s.audit(t, r)
	s.redeliver(t, since)
}

// crash lets the outage begin, kills at the moment, and starts again. An alert
// that was not acknowledged comes again, as Alertmanager sends it.
func (s *crashScene) crash(t *testing.T, m moment) (since time.Time) {
	t.Helper()
	since = time.Now()
	if m.arm != nil {
		m.arm(s)
	}
	acknowledged := make(chan bool, 1)
	body := firing(t, since)
	go func() { acknowledged <- send(s.webhook.URL(), body) }()
	known := false
	if m.arm == nil {
		if known = <-acknowledged; !known {
			t.Fatal("the webhook was not acknowledged")
		}
		s.kill()
	}
	s.awaitKill(t)
	if m.serves {
		call(t, s.Front, 5*time.Second).answers(t, 3)
	}
	s.restart(t)
	if !known && !<-acknowledged {
		s.acknowledge(t, body)
	}
	return since
}

// acknowledge posts a webhook until it is taken, as Alertmanager does.
func (s *crashScene) acknowledge(t *testing.T, body []byte) {
	t.Helper()
	eventually(t, func(context.Context) error {
		if !send(s.Understudy.URL, body) {
			return errors.New("the webhook was not acknowledged after the restart either")
		}
		return nil
	})
}

// firing is the webhook of one alert.
func firing(t *testing.T, since time.Time) []byte {
	t.Helper()
	body, err := json.Marshal(map[string]any{"version": "4", "status": "firing", "receiver": "understudy", "alerts": []any{map[string]any{
		"status": "firing", "fingerprint": "f1", "startsAt": since.Format(time.RFC3339Nano), "endsAt": "0001-01-01T00:00:00Z",
		"labels":      map[string]string{"alertname": "SpeechServiceDown", "service": "fun-asr"},
		"annotations": map[string]string{"summary": "it cannot be scraped"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// send posts a webhook and reports whether it was acknowledged.
func send(url string, body []byte) bool {
	response, err := http.Post(url+"/api/v1/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode == http.StatusOK
}
