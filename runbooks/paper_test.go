package runbooks_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/runbooks"
)

func TestPaper(t *testing.T) {
	library, problems := runbooks.LoadLibrary("fun-asr.yaml", "sambert-hifigan.yaml")
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for service, wants := range map[string][]string{
		"fun-asr": {
			"curl -sS -i -m 5 http://192.168.1.10:7860/health", "echo 'set server fun_asr/hot state ready' | socat stdio unix-connect:/run/haproxy/admin.sock",
			"echo 'set server fun_asr/primary state maint'", "approver must agree", "litestream restore", "sha256sum --quiet -c MANIFEST.sha256", "/usr/local/bin/pdu-off gpu-a",
			"aws ec2 run-instances --region us-west-2", "It must hear: **one two three", "sqlite3 /app/webui/data/history.db 'select count(*) from history'", "the weight 100",
		},
		"sambert-hifigan": {
			"nginx -s reload", "curl -sS -m 60 -H 'Content-Type: application/json'",
			`curl -sS -X POST -H "Authorization: Bearer $(cat /etc/understudy/host.token)" 'http://192.168.1.11:8403/take-over`,
		},
	} {
		r, _ := library.Lookup(service)
		page := runbooks.Paper(r)
		for _, want := range wants {
			if !strings.Contains(page, want) {
				t.Errorf("%s by hand does not say %q:\n%s", service, want, page)
			}
		}
		// Every command is one that a shell can read.
		for i, block := range strings.Split(page, "```") {
			if i%2 == 0 {
				continue
			}
			if out, err := exec.Command("sh", "-n", "-c", block).CombinedOutput(); err != nil {
				t.Errorf("a shell does not read this: %s\n%s", out, block)
			}
		}
	}
}

// What a runbook says is quoted: it is shown on paper, and typed.
func TestPaperIsQuoted(t *testing.T) {
	r, problems := parse(t, strings.Replace(minimal, "primary: {", "primary: {fence: [{kind: command, command: [\"stop it\", \"$(reboot)\", \"it's\"]}], ", 1))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if page := runbooks.Paper(r); !strings.Contains(page, `'stop it' '$(reboot)' 'it'\''s'`) {
		t.Error(page)
	}
}
