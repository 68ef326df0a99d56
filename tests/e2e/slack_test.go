package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// Slack hangs. The service comes back before Slack has said a word, the recovery
// ends, and the messages follow when Slack answers again.
func TestSlackHangs(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{})
	s.Slack.Inject(fakeslack.Fault{Hang: 30 * time.Second})
	s.Primary.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	if told := s.Slack.Transcript(); told != "" {
		t.Errorf("Slack did not hang:\n%s", told)
	}
	if len(s.Slack.Calls("chat.postMessage")) == 0 {
		t.Error("nobody has tried to tell people")
	}
	servers(t, s, "MAINT", "UP")

	s.Slack.Heal()
	eventually(t, func(context.Context) error {
		told := s.Slack.Transcript()
		for _, want := range []string{"recovered", "Runs on: hot", "> ", "diagnose: done. Dead", "settle (hot): done"} {
			if !strings.Contains(told, want) {
				return fmt.Errorf("people do not read %q:\n%s", want, told)
			}
		}
		return nil
	})
	if n := len(s.Slack.Messages("asr-oncall")); n > 3 {
		t.Errorf("%d messages and replies, for one recovery", n)
	}
}

// The bot's token is in no history, no log, no answer and no file.
func TestTheTokenIsNowhere(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{})
	// Slack refuses, so that errors about it are written down as well.
	s.Slack.Inject(fakeslack.Fault{Error: "invalid_auth", Times: 2})
	s.Slack.Inject(fakeslack.Fault{Status: 500, Times: 1})
	s.Primary.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	guard(t, s.Understudy, atRest)

	places := map[string][]byte{"log": []byte(s.Understudy.Tail(16 << 20))}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, path := range []string{
		"/metrics", "/api/v1/openapi.json", "/api/v1/services", "/api/v1/services/fun-asr", "/api/v1/services/fun-asr/plan",
		"/api/v1/recoveries", fmt.Sprintf("/api/v1/recoveries/fun-asr-%d", r.Epoch),
	} {
		text, err := fetch(ctx, s.Understudy.URL+path)
		if err != nil {
			t.Fatal(err)
		}
		places[path] = []byte(text)
	}
	for id, history := range histories(t, s.Understudy) {
		places[id] = history
	}
	for _, id := range []string{workflows.GuardID("fun-asr"), workflows.RecoveryID("fun-asr", r.Epoch), workflows.AnnouncementID("fun-asr", fmt.Sprint(r.Epoch))} {
		if !bytes.Contains(places[id], []byte("fun-asr")) {
			t.Errorf("the history of %s was not read", id)
		}
	}
	s.Understudy.Stop(patience) // everything is on disk now
	written := 0
	err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		places[path], err = os.ReadFile(path)
		written++
		return err
	})
	if err != nil || written < 10 {
		t.Fatalf("%d files were read: %v", written, err)
	}
	for place, text := range places {
		if bytes.Contains(text, []byte(fakeslack.Token)) {
			t.Errorf("the token is in %s", place)
		}
	}
}
