//go:build client

// Package client proves that the API can be used by its document alone: a public
// linter finds nothing wrong with it, and a client that a public generator makes
// of it starts a recovery. tests/client.sh installs both.
package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// stranger is a program that knows nothing of Understudy but the generated client.
const stranger = `
import json, sys, time
from understudy_client import Client
from understudy_client.api.services import recover, list_services
from understudy_client.api.recoveries import get_recovery
from understudy_client.models import Call

client = Client(base_url=sys.argv[1])
names = [s.service for s in list_services.sync(client=client)]
assert names == ["fun-asr"], names
for _ in range(2):  # the same key twice is one recovery
    called = recover.sync("fun-asr", client=client, idempotency_key="stranger-1", body=Call(reason="users hear silence"))
    assert called.started, called
for _ in range(600):
    detail = get_recovery.sync(called.recovery, client=client)
    if detail.report.outcome:
        break
    time.sleep(0.1)
print(json.dumps({"recovery": called.recovery, "outcome": detail.report.outcome}))
`

func TestAStrangersClient(t *testing.T) {
	if err := harness.FindEngines(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	s, err := harness.StartScene(ctx, harness.SceneOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "REDOCLY_TELEMETRY=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	resp, err := http.Get(s.Understudy.URL + "/api/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "openapi.json"), document, 0o600); err != nil {
		t.Fatal(err)
	}
	if said := run("npx", "-y", os.Getenv("OPENAPI_LINTER"), "lint", "openapi.json"); !strings.Contains(said, "is valid") || strings.Contains(said, "warning(s)") {
		t.Errorf("the linter says:\n%s", said)
	}
	run("openapi-python-client", "generate", "--path", "openapi.json", "--output-path", "client", "--overwrite")
	run("python", "-m", "compileall", "-q", "client")

	s.Primary.Kill()
	script := filepath.Join(dir, "client", "stranger.py")
	if err := os.WriteFile(script, []byte(stranger), 0o600); err != nil {
		t.Fatal(err)
	}
	var said struct{ Recovery, Outcome string }
	out := run("python", script, s.Understudy.URL)
	if err := json.Unmarshal([]byte(out), &said); err != nil || said.Outcome != workflows.OutcomeRecovered {
		t.Errorf("%v: %s", err, out)
	}
}
