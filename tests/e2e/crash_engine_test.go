package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

// The same moments, and the engine is what is killed: Understudy lives on, and
// what it was doing goes on to its end.
func TestTheEngineIsKilled(t *testing.T) {
	t.Parallel()
	store := harnesstest.MinIO(t, "epochs")
	for _, m := range moments {
		switch m.name {
		case "the gate, before", "the proof, before", "the claim, before", "the front door's canary, before", "Slack's first message, before",
			"the last record of the epoch, before", "Slack's last edit, before":
			continue // the exchange goes on without the engine, so this differs in nothing from after it
		}
		t.Run(m.name, func(t *testing.T) { setCrashScene(t, store, crashOptions{Held: true, Cluster: true}).play(t, m) })
	}
	t.Run("and stays away", func(t *testing.T) { setCrashScene(t, store, crashOptions{Held: true, Cluster: true}).playAway(t) })
}

// playAway posts alerts while the engine is away. What it does not hold is not
// acknowledged, so Alertmanager keeps it and sends it again.
func (s *crashScene) playAway(t *testing.T) {
	t.Helper()
	since := time.Now()
	s.kill()
	for range 2 {
		if status := alert(t, s.Understudy, "firing", since); status != http.StatusServiceUnavailable {
			t.Errorf("without an engine an alert was answered with %d", status)
		}
	}
	s.restart(t)
	s.acknowledge(t, firing(t, since))
	r := s.finished(t)
	t.Log(&s.clock)
	s.audit(t, r)
	s.redeliver(t, since)
	told := 0
	for _, m := range s.Slack.Messages("asr-oncall") {
		if strings.Contains(m.Text, "Understudy itself needs a person") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("people were told %d times that the engine is away:\n%s", told, s.Slack.Transcript())
	}
}
