package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/workflows"
)

func TestReportFormatsChainAndTrends(t *testing.T) {
	s := set(t, nil, "asr")
	store := onDisk(s.dir)
	for epoch := int64(1); epoch <= 3; epoch++ {
		b := reports.Bundle{
			Name: workflows.ReportName("asr", epoch), Now: time.Now(), Files: map[string][]byte{".md": []byte("# as written\n"), ".html": []byte("<p>as written\n")},
			JSON: fmt.Appendf(nil, `{"service": "asr", "epoch": %d, "outcome": "recovered", "timeline": [{"step": "prove", "tier": "cold", "state": "done", "started": "2026-11-0%[1]dT03:00:00Z", "ended": "2026-11-0%[1]dT03:00:09Z"}]}`, epoch),
		}
		if err := reports.Keep(t.Context(), store, b); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(s.dir, "reports", workflows.ReportName("asr", 2)+".json")
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range [][]string{nil, {"--data-dir", s.dir}} {
		report := func(args ...string) printed { return s.run(append(append([]string{"report"}, args...), source...)...) }
		for format, want := range map[string]string{"markdown": "# as written\n", "html": "<p>as written\n", "json": string(written)} {
			if p := report("asr-2", "--format", format); p.code != ExitOK || p.out != want {
				t.Errorf("%s %v: exit %d, %q", format, source, p.code, p.out)
			}
		}
		s.want(report("--verify"), ExitOK, "asr", "disk", "asr-3")
		s.want(report("--verify", "asr"), ExitOK, "asr-3")
		s.want(report("--verify", "nobody"), ExitFailed, "there are no reports of nobody")
		s.want(report("--trends", "asr"), ExitOK, "3 reports", "until it is proven", "9.00 s", "prove")
		s.want(report(), ExitUsage, "which report?")
		s.want(report("--trends"), ExitUsage, "of which service?")
		s.want(report("--trends", "--verify"), ExitUsage)
		s.want(report("asr-2", "--format", "pdf"), ExitUsage)

		if err := os.WriteFile(path, []byte(strings.Replace(string(written), "recovered", "Recovered", 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		p := report("--verify")
		s.want(p, ExitFailed, "asr-2: it is not what was written: its bytes do not have its own hash")
		if !strings.Contains(p.err, "the first is asr-2") {
			t.Errorf("%s", p.err)
		}
		s.want(report("--verify", "-o", "json"), ExitFailed, `"number": 2`)
		if err := os.WriteFile(path, written, 0o644); err != nil {
			t.Fatal(err)
		}
		s.want(report("--verify"), ExitOK)
	}
}
