package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestScriptsAreShell(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("../../deploy/*/understudy-*")
	if err != nil || len(scripts) < 3 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		if filepath.Ext(script) != "" {
			continue // no program
		}
		run(t, "/bin/sh", "-n", script)
		if info, err := os.Stat(script); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s cannot be executed: %v", script, err)
		}
		// A further opinion, where it can be had.
		if shellcheck, err := exec.LookPath("shellcheck"); err == nil {
			run(t, shellcheck, script)
		}
	}
}

func TestScriptsRefuseWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	needs(t, "jq", "jq")
	needs(t, "curl", "curl")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"keepalived": "server primary -\nserver hot -\n",
		"consul":     "service speech\ncatalog http://127.0.0.1:1\nserver primary http://127.0.0.1:1 a\nserver hot http://127.0.0.1:1 b\n",
		"empty":      "# nothing\n",
		"hostile":    "service a;b\ncatalog http://127.0.0.1:1\nserver $(id) http://127.0.0.1:1 a\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ script, config, verb, input, says string }{
		{"keepalived/understudy-keepalived", "keepalived", "apply", `{"set":[{"server":"hot","state":"drain"}]}`, "cannot drain"},
		{"keepalived/understudy-keepalived", "keepalived", "apply", `{"set":[{"server":"cold","state":"ready"}]}`, "names no server cold"},
		{"keepalived/understudy-keepalived", "keepalived", "apply", `{"set":[{"server":"hot","state":"ready","address":"10.0.0.1:1"}]}`, "cannot be changed"},
		{"keepalived/understudy-keepalived", "keepalived", "apply", `{`, "no JSON"},
		{"keepalived/understudy-keepalived", "keepalived", "reset", ``, "usage"},
		{"keepalived/understudy-keepalived", "empty", "view", ``, "names no server"},
		{"keepalived/understudy-keepalived", "hostile", "view", ``, "letters, digits"},
		{"consul/understudy-consul", "consul", "apply", `{"set":[{"server":"hot","state":"drain"}]}`, "use maint"},
		{"consul/understudy-consul", "consul", "apply", `{"set":[{"server":"cold","state":"ready"}]}`, "names no server cold"},
		{"consul/understudy-consul", "consul", "apply", `{"set":[{"server":"hot","state":"ready","address":"10.0.0.1:1"}]}`, "cannot be changed"},
		{"consul/understudy-consul", "consul", "apply", `{`, "no JSON"},
		{"consul/understudy-consul", "consul", "reset", ``, "usage"},
		{"consul/understudy-consul", "empty", "view", ``, "names no server"},
		{"consul/understudy-consul", "hostile", "view", ``, "other characters"},
	} {
		cmd := exec.CommandContext(t.Context(), shipped(t, c.script), filepath.Join(dir, c.config), c.verb)
		cmd.Stdin = strings.NewReader(c.input)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), c.says) {
			t.Errorf("%s %s %s %s: %v, %s; want exit 2 and %q", c.script, c.config, c.verb, c.input, err, out, c.says)
		}
	}
}

func TestKeepalivedKnowsTheConfiguration(t *testing.T) {
	program := needs(t, "keepalived", "keepalived")
	// Where this runs there need be no interface but loopback, which VRRP does not take. That is all it may say.
	file := filepath.Join(t.TempDir(), "keepalived.conf")
	text := replace(t, read(t, shipped(t, "keepalived/keepalived.conf")), "interface eth0", "interface lo", "/var/lib/understudy-vip", filepath.Dir(file),
		"/usr/local/sbin/understudy-vip", shipped(t, "keepalived/understudy-vip"))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.CommandContext(t.Context(), program, "-t", "-f", file).CombinedOutput()
	seen := 0
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "cannot use a loopback interface") && !strings.Contains(line, "Unknown interface!") {
			t.Errorf("keepalived says: %s", line)
		}
		seen++
	}
	if seen == 0 {
		t.Error("keepalived did not read the file")
	}
}
