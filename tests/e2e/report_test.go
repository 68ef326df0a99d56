package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// A recovery writes its report for people and for programs, sealed and chained;
// whoever changes a byte of it, or takes one away, is found out.
func TestReportsShowTampering(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{Edit: func(r *runbooks.Runbook, _ *runbooks.Site) { r.Policy.Cooldown = runbooks.Duration(time.Hour) }})
	guard(t, s.Understudy, atRest)
	// The first is a false alarm, the second a recovery: two links.
	alert(t, s.Understudy, "firing", time.Now(), func(a map[string]any) { a["fingerprint"] = "f0" })
	first := ended(t, s.Understudy, 1)
	wantOutcome(t, first, workflows.OutcomeFalseAlarm, string(runbooks.Healthy))
	guard(t, s.Understudy, atRest)
	s.Primary.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	r := ended(t, s.Understudy, 2)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	guard(t, s.Understudy, atRest)

	id := fmt.Sprint("fun-asr-", r.Epoch)
	base := filepath.Join(s.Understudy.Options.Site.DataDir, "reports", workflows.ReportName("fun-asr", r.Epoch))
	for format, c := range map[string]struct {
		ext   string
		wants []string
	}{
		"json":     {".json", []string{`"outcome": "recovered"`, `"past"`, `"seal"`, `"before": "` + workflows.ReportName("fun-asr", first.Epoch) + `"`}},
		"markdown": {".md", []string{"# Recovery", "Against earlier runs", "Evidence", "Post-mortem"}},
		"html":     {".html", []string{"<!DOCTYPE html>", "Where the time went", "<svg", "objective 10s: met", "Post-mortem"}},
	} {
		var printed string
		eventually(t, func(ctx context.Context) error { // it is written just after the end is known
			kept, err := os.ReadFile(base + c.ext)
			if err != nil {
				return err
			}
			if printed, err = fetch(ctx, s.Understudy.URL+"/api/v1/recoveries/"+id+"/report?format="+format); err == nil && printed != string(kept) {
				err = fmt.Errorf("%s is not the file that was written: %.300s", format, printed)
			}
			return err
		})
		for _, want := range c.wants {
			if !strings.Contains(printed, want) {
				t.Errorf("%s does not say %q:\n%.3000s", format, want, printed)
			}
		}
		if format == "json" {
			var back workflows.Report
			if err := json.Unmarshal([]byte(printed), &back); err != nil || back.Outcome != r.Outcome || back.Past == nil || len(back.Past.Runs) != 1 {
				t.Errorf("%v: %+v", err, back.Past)
			}
		}
	}

	var chain []reports.Verified
	if err := s.Understudy.Get(t.Context(), "/api/v1/reports/verify", &chain); err != nil || len(chain) != 1 || chain[0].Reports != 2 || len(chain[0].Broken) != 0 {
		t.Fatalf("%v: %+v", err, chain)
	}
	if printed, err := s.Understudy.Command(t.Context(), "report", "--verify"); err != nil || !strings.Contains(printed, chain[0].SHA256) || !strings.Contains(printed, id) {
		t.Errorf("%v\n%s", err, printed)
	}
	content, err := os.ReadFile(base + ".json")
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(base+".json", content, 0o644); err != nil {
		t.Fatal(err)
	}
	if printed, err := s.Understudy.Command(t.Context(), "report", "--verify", "fun-asr"); err == nil || !strings.Contains(printed, id+": it is not what was written") {
		t.Errorf("%v\n%s", err, printed)
	}
	// With nothing running, on the disk alone.
	s.Stop()
	data := s.Understudy.Options.Site.DataDir
	if printed, code := run(t, "report", "--verify", "fun-asr", "--data-dir", data); code != 1 || !strings.Contains(printed, "the first is "+id) {
		t.Errorf("exit code %d\n%s", code, printed)
	}
}
