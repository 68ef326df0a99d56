package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// forged is a word that stands in all hostile text; where it begins a line, a
// row or a command, somebody was deceived.
const forged = "FORGED"

// hostile is text that means something to each of the programs it may reach.
func hostile(touch string) map[string]string {
	return map[string]string{
		"newline":   "x\n" + forged + " level=ERROR msg=" + forged,
		"return":    "x\r\n\r\n" + forged + "\x00\x1b[2J",
		"unicode":   "x\u2028" + forged + "\u2029\u0085" + forged + "\u202e",
		"haproxy":   "x; set server fun_asr/hot state maint; disable server fun_asr/hot\nset server fun_asr/hot state maint\n",
		"shell":     "$(touch " + touch + ") `touch " + touch + "` ; touch " + touch + " | touch " + touch + " & '\"",
		"template":  "{{ .Labels }} {{ template \"x\" }} ${HOME} %s %n <%= x %> {address}",
		"slack":     "<!channel> <!here> <@U00000001> <https://evil.example|Approve> &lt;!channel&gt;",
		"markdown":  "| a | b |\n| --- | --- |\n# " + forged + "\n[click](https://evil.example) **x** `y`",
		"sql":       "'; DROP TABLE executions; --",
		"path":      "../../../../etc/passwd",
		"large":     strings.Repeat("A<!channel>\n", 1<<20/12),
		"not utf-8": "\xff\xfe\xfd" + forged,
	}
}

// Labels and annotations are other people's text. Whatever is in them, the
// recovery is the same, and nothing is deceived: not HAProxy, not a shell, not
// the log, not Slack, not the reports.
func TestHostileAlerts(t *testing.T) {
	abreast(t)
	touch, env := filepath.Join(t.TempDir(), "touched"), ""
	s := setScene(t, harness.SceneOptions{Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		// The alert's name is hostile as well; and a fence is the place where something is executed.
		r.Match = []map[string]string{{"service": "fun-asr"}}
		env = filepath.Join(filepath.Dir(touch), "env")
		r.Primary.Fence = []runbooks.Fence{{Kind: "command", Command: []string{"/bin/sh", "-c", `env >"$0"; echo "$@" >>"$0"`, env}}}
	}})
	before := balancer(t, s)
	send := func(status string, since time.Time, fingerprint string) {
		t.Helper()
		labels := map[string]string{"service": "fun-asr", "alertname": strings.Join([]string{"Down", hostile(touch)["newline"], hostile(touch)["slack"], hostile(touch)["shell"]}, " ")}
		annotations := map[string]string{"summary": hostile(touch)["slack"] + hostile(touch)["markdown"] + hostile(touch)["newline"] + hostile(touch)["haproxy"]}
		for name, text := range hostile(touch) {
			labels["label_"+name], annotations[name] = text, text
		}
		if code := alert(t, s.Understudy, status, since, func(a map[string]any) {
			a["labels"], a["annotations"], a["fingerprint"] = labels, annotations, fingerprint
			a["generatorURL"] = "javascript:" + forged
		}); code != http.StatusOK {
			t.Errorf("the webhook was answered with %d", code)
		}
	}

	// The service is well: nothing moves.
	send("firing", time.Now(), hostile(touch)["path"]+hostile(touch)["newline"])
	wantOutcome(t, ended(t, s.Understudy, 1), workflows.OutcomeFalseAlarm, string(runbooks.Healthy))
	unchanged(t, s, before)

	// It crashes: the recovery is as any other.
	s.Primary.Kill()
	since := time.Now()
	send("firing", since, "f2")
	r := ended(t, s.Understudy, 2)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	servers(t, s, "MAINT", "UP")
	send("resolved", since, "f2")
	guard(t, s.Understudy, func(g workflows.GuardState) bool { return atRest(g) && len(g.Seen) == 2 && g.Seen[1].Resolved })

	if _, err := os.Stat(touch); err == nil {
		t.Error("a shell was deceived")
	}
	given, err := os.ReadFile(env)
	if err != nil || !strings.Contains(string(given), "UNDERSTUDY_SERVICE=fun-asr") || strings.Contains(string(given), forged) {
		t.Errorf("the fence was called with\n%s%v", given, err)
	}
	line := regexp.MustCompile(`^time=\S+ level=(INFO|WARN|ERROR|DEBUG) msg=`)
	for text := range strings.Lines(s.Understudy.Tail(16 << 20)) {
		if !line.MatchString(text) || len(text) > 16<<10 {
			t.Errorf("no line of the log's own: %.300q", text)
		}
	}
	eventually(t, func(context.Context) error {
		if told := s.Slack.Transcript(); strings.Count(told, "settle (hot): done") != 1 {
			return fmt.Errorf("people were told:\n%s", told)
		}
		return nil
	})
	if pings := s.Slack.Pings(); len(pings) > 0 {
		t.Errorf("%v were called", pings)
	}
	for text := range strings.Lines(s.Slack.Transcript()) {
		if strings.HasPrefix(strings.TrimLeft(text, " >"), forged) {
			t.Errorf("Slack was deceived: %q", text)
		}
	}
	wellFormed(t, s, r)
}

// markup is what a renderer of Markdown would take for a link, an element or emphasis of the sender's.
var markup = regexp.MustCompile(`(^|[^\\])\[click\]|<|(^|[^\\])\*\*x`)

// wellFormed looks for lines that somebody else wrote in a report and in what the
// program prints, and for markup in what the Temporal UI shows.
func wellFormed(t *testing.T, s *harness.Scene, r workflows.Report) {
	t.Helper()
	path := filepath.Join(s.Understudy.Options.Site.DataDir, "reports", workflows.ReportName("fun-asr", r.Epoch))
	markdown, err := os.ReadFile(path + ".md")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path + ".json"); err != nil || !json.Valid(text) || len(text) > 64<<10 {
		t.Errorf("the report has %d bytes: %v", len(text), err)
	}
	printed := string(markdown)
	for _, command := range [][]string{{"why", "fun-asr"}, {"history"}, {"status", "fun-asr"}, {"history", fmt.Sprint("fun-asr-", r.Epoch)}} {
		text, err := s.Understudy.Command(t.Context(), command...)
		if err != nil {
			t.Errorf("understudy %v: %v\n%s", command, err, text)
		}
		printed += text
	}
	for text := range strings.Lines(printed) {
		if strings.HasPrefix(strings.TrimLeft(text, " |#"), forged) || strings.ContainsAny(strings.TrimRight(text, "\n"), "\x00\x1b\r\u2028\u202e") {
			t.Errorf("a line that somebody else wrote: %q", text)
		}
	}
	if markup.Match(markdown) {
		t.Errorf("markup in a report:\n%s", markdown)
	}
	for id, summary := range summaries(t, s.Understudy) {
		if markup.MatchString(summary) {
			t.Errorf("markup in what the Temporal UI shows of %s: %s", id, summary)
		}
	}
}
