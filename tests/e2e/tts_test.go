package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/traffic/nginx"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/workflows"
)

// spoken is the path of a synthesis.
const spoken = "/synthesize"

// voices is the site of the second article: speech synthesis on a primary and a
// backup behind nginx, whose upstream file Understudy owns.
type voices struct {
	primary, backup *harness.Site
	front           string
	traffic         runbooks.Traffic
	slack           *fakeslack.Running
	understudy      *harness.Understudy
}

func setVoices(t *testing.T) *voices {
	t.Helper()
	if _, err := harness.Find("nginx", "nginx-light"); err != nil {
		t.Skipf("missing: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	v := &voices{
		primary: harnesstest.TTS(t, harness.SiteOptions{Name: "primary"}),
		backup:  harnesstest.TTS(t, harness.SiteOptions{Name: "backup"}),
	}
	dir, address := t.TempDir(), harness.Address(harness.FreePort())
	v.front = "http://" + address
	v.traffic = runbooks.Traffic{
		Kind: "nginx", Backend: "tts_backend", File: filepath.Join(dir, "owned", "tts_backend.conf"), Front: v.front, Reconcile: runbooks.Duration(200 * time.Millisecond),
		Servers: map[string]string{"primary": strings.TrimPrefix(v.primary.URL, "http://"), "backup": strings.TrimPrefix(v.backup.URL, "http://")},
	}
	file, err := nginx.Initial(v.traffic, "primary")
	if err == nil {
		err = os.Mkdir(filepath.Dir(v.traffic.File), 0o755)
	}
	if err == nil {
		err = os.WriteFile(v.traffic.File, file, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	server, err := harness.Nginx(ctx, dir, fmt.Sprintf(`
events {}
http {
  access_log off;
  include owned/*.conf;
  server {
    listen %s;
    location / { proxy_pass http://tts_backend; proxy_set_header Host $host; }
    %s
  }
}
`, address, nginx.Location(v.traffic.Backend)), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Kill() })
	v.traffic.Test, v.traffic.Reload = server.Test, server.Reload
	if v.slack, err = fakeslack.Start("127.0.0.1:0", fakeslack.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.slack.Close)
	v.understudy, err = harness.StartUnderstudy(ctx, harness.UnderstudyOptions{
		Dir: dir, Runbooks: []runbooks.Runbook{v.runbook()}, Env: []string{"SLACK_TOKEN=" + fakeslack.Token},
		Site: runbooks.Site{Chat: runbooks.Chat{Slack: &runbooks.Slack{Token: runbooks.Secret{Env: "SLACK_TOKEN"}, APIURL: v.slack.URL}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("understudy's log:\n%s", v.understudy.Tail(8000))
		}
		v.understudy.Kill()
	})
	return v
}

// runbook is the one that is shipped for such a site, with this one's addresses.
func (v *voices) runbook() runbooks.Runbook {
	return runbooks.Runbook{
		APIVersion: runbooks.APIVersion, Service: "sambert-hifigan", Objectives: runbooks.Objectives{RTO: runbooks.Duration(15 * time.Second)},
		Match:   []map[string]string{{"alertname": "SpeechServiceDown", "service": "sambert-hifigan"}},
		Primary: runbooks.Primary{URL: v.primary.URL, Server: "primary"},
		Health:  runbooks.Health{Path: "/health?light=1", Timeout: runbooks.Duration(400 * time.Millisecond), Ready: `status == "ok"`},
		Canary: &runbooks.Canary{Timeout: runbooks.Duration(20 * time.Second), Synthesize: &runbooks.Synthesize{
			Path: spoken, JSON: map[string]any{"text": audio.Digits, "emotion": "neutral", "speed": 1.0}, Audio: "body", MinSeconds: 1,
		}},
		Version: &runbooks.Version{Expected: runbooks.Source{Kind: "value", Value: harness.ModelVersion}, Actual: runbooks.Actual{Path: "/health?light=1", Field: "version"}},
		Traffic: v.traffic,
		Tiers:   []runbooks.Tier{{Name: runbooks.TierHot, URL: v.backup.URL, Server: "backup", Hold: true, Within: runbooks.Duration(10 * time.Second)}},
		Notify:  []runbooks.Notify{{Kind: "slack", Channel: "#asr-oncall"}},
		Policy: runbooks.Policy{
			Cooldown: runbooks.Duration(2 * time.Second), Confirm: runbooks.Duration(time.Second), ConfirmEvery: runbooks.Duration(250 * time.Millisecond),
			Observe: runbooks.Duration(5 * time.Second),
		},
	}
}

// shows checks what nginx's upstream file says, and what nginx itself runs with.
func (v *voices) shows(t *testing.T, primary, backup string) {
	t.Helper()
	file, err := os.ReadFile(v.traffic.File)
	if err != nil {
		t.Fatal(err)
	}
	told, err := fetch(t.Context(), v.front+"/.understudy/tts_backend")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"primary " + primary, "backup " + backup} {
		if !strings.Contains(string(file), "# "+want) {
			t.Errorf("the file does not say %q:\n%s", want, file)
		}
	}
	for server, state := range map[string]string{"primary": primary, "backup": backup} {
		if want := fmt.Sprintf("%s %s %s", server, v.traffic.Servers[server], state); !strings.Contains(told, want) {
			t.Errorf("nginx runs with %q, not with %q", told, want)
		}
	}
}

// Speech synthesis behind nginx: a crash brings the backup on; when that only
// says silence, with a health check that is well, the repaired primary returns.
func TestSpeechSynthesisBehindNginx(t *testing.T) {
	abreast(t)
	v := setVoices(t)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	callers := callWith(t, func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.front+"/version", nil)
		if err != nil {
			return err
		}
		return wanted(client.Do(r))
	})
	callers.answers(t, 10)

	v.primary.Kill()
	alert(t, v.understudy, "firing", time.Now())
	r := ended(t, v.understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	v.shows(t, "maint", "ready")
	proof := step(r, runbooks.StepVerify, workflows.Done)
	if proven := step(r, runbooks.StepProve, workflows.Done); !strings.Contains(proven.Reason, "spoke for") || !strings.Contains(proof.Reason, "spoke for") {
		t.Errorf("the canary: %q, through the front door: %q", proven.Reason, proof.Reason)
	}
	callers.answers(t, 20)
	if seen := stats(t, v.backup); seen.Requests[spoken] < 2 {
		t.Errorf("the backup saw %+v", seen)
	}
	if !strings.Contains(fmt.Sprint(r.Evidence.Others), "front door: HTTP 502") {
		t.Errorf("who says so: %v", r.Evidence.Others)
	}

	// The primary is repaired; then the backup only says silence.
	if err := v.primary.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	guard(t, v.understudy, func(g workflows.GuardState) bool { return atRest(g) && time.Now().After(g.CooldownUntil) })
	suffer(t, v.backup, wrong)
	alert(t, v.understudy, "firing", time.Now(), func(a map[string]any) { a["fingerprint"] = "f2" })
	r = ended(t, v.understudy, 2)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Wrong))
	v.shows(t, "ready", "maint")
	if !strings.Contains(fmt.Sprint(r.Evidence.Canary), "silence") && !strings.Contains(fmt.Sprint(r.Evidence.Canary), "sound") {
		t.Errorf("the canary: %v", r.Evidence.Canary)
	}
	callers.answers(t, 20)
	eventually(t, func(context.Context) error {
		if told := v.slack.Transcript(); strings.Count(told, "settle") != 2 {
			return fmt.Errorf("people were told:\n%s", told)
		}
		return nil
	})
}
