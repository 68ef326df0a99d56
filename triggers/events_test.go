package triggers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

// patience is how long an event may take before a test gives up on it.
const patience = 30 * time.Second

type sent struct{ id, kind, data string }

// listening is one event stream.
type listening struct {
	t      *testing.T
	status int
	events chan sent
	stop   context.CancelFunc
}

// listen follows a stream, after the event with this id.
func (s *stage) listen(path, lastID string) *listening {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	s.t.Cleanup(stop)
	r, err := http.NewRequestWithContext(ctx, "GET", s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Last-Event-ID", lastID)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	l := &listening{s.t, answer.StatusCode, make(chan sent, 1000), stop}
	go func() {
		defer answer.Body.Close()
		defer close(l.events)
		var e sent
		lines := bufio.NewScanner(answer.Body)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				e.data = value
			case "":
				if e.data != "" {
					l.events <- e
				}
				e = sent{}
			}
		}
	}()
	return l
}

// next is the next event; ok is false where the stream has ended.
func (l *listening) next() (e sent, ok bool) {
	l.t.Helper()
	select {
	case e, ok = <-l.events:
		return e, ok
	case <-time.After(patience):
		l.t.Fatal("no event came")
		return e, false
	}
}

// until waits for an event that contains a text.
func (l *listening) until(text string) sent {
	l.t.Helper()
	for {
		e, ok := l.next()
		if !ok {
			l.t.Fatalf("the stream has ended, without %s", text)
		}
		if strings.Contains(e.data, text) {
			return e
		}
	}
}

func TestARecoveryIsFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	s := set(t, "asr")
	r := triggerstest.Report("asr", 7, began)
	s.Run(r)
	l := s.listen("/api/v1/recoveries/asr-7/events", "")
	first, _ := l.next()
	var detail triggers.RecoveryDetail
	if err := json.Unmarshal([]byte(first.data), &detail); err != nil || first.kind != "recovery" || detail.ID != "asr-7" || len(detail.Report.Timeline) != 1 || len(detail.Verbs) == 0 {
		t.Fatalf("%v: %+v", err, first)
	}
	r.Timeline = append(r.Timeline, workflows.Record{Step: "gate", Tier: "hot", State: workflows.Done, Reason: "it <passes>\nall", Started: began})
	s.Run(r)
	gate := l.until(`"step":"gate"`)
	s.Run(ended(r, workflows.OutcomeRecovered, "hot", 1))
	last := l.until(`"outcome":"recovered"`)
	if _, ok := l.next(); ok {
		t.Error("the stream goes on after the end")
	}
	// Who comes back with the last event is told that there is no more; who missed it gets it.
	if again := s.listen("/api/v1/recoveries/asr-7/events", last.id); again.status != http.StatusNoContent {
		t.Errorf("after the last event: %d", again.status)
	}
	for _, id := range []string{gate.id, "", "00000000-99", "x", last.id + "x" + "-1"} {
		again := s.listen("/api/v1/recoveries/asr-7/events", id)
		if e, ok := again.next(); !ok || !strings.Contains(e.data, `"outcome":"recovered"`) {
			t.Errorf("after %q: %d %+v", id, again.status, e)
		}
		if _, ok := again.next(); ok {
			t.Error("the stream goes on after the end")
		}
	}
}

func TestAllIsFollowed(t *testing.T) {
	t.Parallel()
	s := set(t, "asr", "tts")
	l := s.listen("/api/v1/events", "")
	seen := map[string]bool{}
	var last sent
	for len(seen) < 2 {
		last, _ = l.next()
		var service triggers.Service
		if err := json.Unmarshal([]byte(last.data), &service); err != nil || last.kind != "service" || service.State != "ready" {
			t.Fatalf("%v: %+v", err, last)
		}
		seen[service.Service] = true
	}
	r := triggerstest.Report("tts", 7, began)
	s.Run(r)
	l.until(`"running":"tts-7"`)
	running := l.until(`"outcome":"running"`)
	s.Run(ended(r, workflows.OutcomeFailed, "", 0))
	over := l.until(`"outcome":"failed"`)
	if running.kind != "recovery" || over.kind != "recovery" {
		t.Errorf("%+v, %+v", running, over)
	}
	l.stop()
	// Who comes back hears what has changed, and nothing else.
	s.Set("asr", func(g *workflows.GuardState) { g.Active = "hot" })
	again := s.listen("/api/v1/events", over.id)
	for {
		e, _ := again.next()
		if strings.Contains(e.data, `"service":"asr"`) {
			if !strings.Contains(e.data, `"state":"away"`) {
				t.Errorf("asr is told again as it was: %+v", e)
			}
			break
		}
	}
}

// A thousand listeners cost the engine what one does, and nobody listening costs nothing.
func TestListenersShareTheQuestions(t *testing.T) {
	t.Parallel()
	s := set(t, "asr")
	s.Run(triggerstest.Report("asr", 7, began))
	var all []*listening
	for range 60 {
		all = append(all, s.listen("/api/v1/recoveries/asr-7/events", ""))
	}
	for _, l := range all {
		l.next()
	}
	before := s.Asked()["recovery/asr/7"]
	if before >= 60+60 { // each asks once whether it is there
		t.Errorf("asked %d times", before)
	}
	r := triggerstest.Report("asr", 7, began)
	r.Reason = "now"
	s.Run(r)
	for _, l := range all {
		l.until(`"reason":"now"`)
		l.stop()
	}
	rounds := s.Asked()["recovery/asr/7"] - before
	if rounds >= 60 {
		t.Errorf("60 listeners asked %d times for one change", rounds)
	}
	// When all are gone, the questions stop.
	deadline := time.Now().Add(patience)
	for quiet, asked := 0, -1; quiet < 3; {
		now := s.Asked()["recovery/asr/7"]
		if now == asked {
			quiet++
		} else {
			quiet, asked = 0, now
		}
		if time.Now().After(deadline) {
			t.Fatal("it still asks, for nobody")
		}
		time.Sleep(700 * time.Millisecond) // longer than a pulse
	}
}

func TestStreamsEndWhenUnderstudyStops(t *testing.T) {
	s := set(t, "asr")
	s.Run(triggerstest.Report("asr", 7, began))
	all := []*listening{s.listen("/api/v1/events", ""), s.listen("/api/v1/recoveries/asr-7/events", "")}
	for _, l := range all {
		l.next()
	}
	s.api.Close()
	for _, l := range all {
		for {
			if _, ok := l.next(); !ok {
				break
			}
		}
	}
	if l := s.listen("/api/v1/events", ""); l.status != 503 {
		t.Errorf("after the end: %d", l.status)
	}
}

func TestTooManyListenersAreTurnedAway(t *testing.T) {
	t.Parallel()
	s := set(t, "asr")
	turned := 0
	for range 510 {
		if l := s.listen("/api/v1/events", ""); l.status == 503 {
			turned++
		}
	}
	if turned != 10 {
		t.Errorf("%d turned away", turned)
	}
}

// A stream outlives the times that bound ordinary requests.
func TestAStreamOutlivesTheServersTimes(t *testing.T) {
	t.Parallel()
	s := set(t, "asr")
	server := httptest.NewUnstartedServer(s.front)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(s.api.Close)
	s.url = server.URL
	s.Run(triggerstest.Report("asr", 7, began))
	l := s.listen("/api/v1/recoveries/asr-7/events", "")
	for i := range 3 {
		e, ok := l.next()
		if !ok {
			t.Fatalf("the stream was cut off after %d events", i)
		}
		if i == 0 && !strings.HasSuffix(e.id, "-1") {
			t.Errorf("the first id is %s", e.id)
		}
		time.Sleep(400 * time.Millisecond)
		r := triggerstest.Report("asr", 7, began)
		r.Reason = fmt.Sprint(i)
		s.Run(r)
	}
}
