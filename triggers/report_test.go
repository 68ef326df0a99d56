package triggers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

// seal keeps a report as a recovery does: with its files, in the chain.
func (s *stage) seal(epoch int64) (json string) {
	s.t.Helper()
	b := reports.Bundle{
		Name: workflows.ReportName("asr", epoch), JSON: fmt.Appendf(nil, `{"service": "asr", "epoch": %d, "outcome": "recovered"}`, epoch),
		Files: map[string][]byte{".md": []byte("# as it was written"), ".html": []byte("<p>as it was written")}, Now: time.Now(),
	}
	if err := reports.Keep(s.t.Context(), s.store, b); err != nil {
		s.t.Fatal(err)
	}
	content, err := s.store.Read(s.t.Context(), b.Name+".json")
	if err != nil {
		s.t.Fatal(err)
	}
	return string(content)
}

func TestAReportInEveryFormat(t *testing.T) {
	s := set(t, "asr")
	sealed := s.seal(7)
	s.keep(ended(triggerstest.Report("asr", 6, began), workflows.OutcomeRecovered, "hot", 1)) // by an older version: without its other files
	s.Run(triggerstest.Report("asr", 8, began))
	const page, markdown, object = "text/html; charset=utf-8", "text/markdown; charset=utf-8", "application/json"
	for ask, want := range map[string][2]string{
		"asr-7/report":                                      {object, sealed},
		"asr-7/report?format=json text/html":                {object, sealed},
		"asr-7/report?format=markdown":                      {markdown, "# as it was written"},
		"asr-7/report.md":                                   {markdown, "# as it was written"},
		"asr-7/report text/markdown":                        {markdown, "# as it was written"},
		"asr-7/report?format=html":                          {page, "<p>as it was written"},
		"asr-7/report text/html,application/xhtml+xml,*/*;": {page, "<p>as it was written"},
		"asr-6/report?format=html":                          {page, "<!DOCTYPE html>"},
		"asr-6/report?format=markdown":                      {markdown, "# Recovery 6 of asr: recovered"},
		"asr-6/report":                                      {object, "{\n  \"epoch\": 6"},
		"asr-8/report?format=html":                          {page, "<!DOCTYPE html>"},
		"asr-8/report?format=markdown":                      {markdown, "# Recovery 8 of asr"},
		"asr-8/report":                                      {object, "{\n  \"epoch\": 8"},
	} {
		path, accept, _ := strings.Cut(ask, " ")
		status, headers, body := s.ask("", "GET", "/api/v1/recoveries/"+path, "", "Accept", accept)
		if status != 200 || headers.Get("Content-Type") != want[0] || !strings.HasPrefix(body, want[1]) {
			t.Errorf("%s: %d %s %.80s", ask, status, headers.Get("Content-Type"), body)
		}
		if policy := headers.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script") {
			t.Errorf("%s: %q", ask, policy)
		}
	}
	if status, _, body := s.ask("", "GET", "/api/v1/recoveries/asr-7/report?format=pdf", ""); status != 422 {
		t.Errorf("%d %s", status, body)
	}
}

func TestReportsAreVerified(t *testing.T) {
	s := set(t, "asr", "tts")
	s.seal(7)
	sealed := s.seal(8)
	var all []reports.Verified
	s.get("/api/v1/reports/verify", &all)
	if len(all) != 1 || all[0].Service != "asr" || all[0].Place != "disk" || all[0].Reports != 2 || len(all[0].Broken) != 0 || len(all[0].SHA256) != 64 {
		t.Errorf("%+v", all)
	}
	if err := s.store.Write(t.Context(), workflows.ReportName("asr", 8)+".json", []byte(strings.Replace(sealed, "recovered", "Recovered", 1))); err != nil {
		t.Fatal(err)
	}
	all = nil
	s.get("/api/v1/reports/verify?service=asr", &all)
	if len(all) != 1 || len(all[0].Broken) != 1 || all[0].Broken[0].Report != workflows.ReportName("asr", 8) {
		t.Errorf("%+v", all)
	}
	if status, _, body := s.ask("", "GET", "/api/v1/reports/verify?service=tts", ""); status != 404 {
		t.Errorf("%d %s", status, body)
	}
}

func TestTrendsOfAService(t *testing.T) {
	s := set(t, "asr", "tts")
	for i := range 10 {
		r := triggerstest.Report("asr", int64(i+1), began.AddDate(0, 0, i))
		took := time.Duration(9+6*(i/5)) * time.Second
		r.Timeline = []workflows.Record{
			{Step: runbooks.StepLoad, Tier: "cold", State: workflows.Done, Started: r.Started, Ended: r.Started.Add(took)},
			{Step: runbooks.StepProve, Tier: "cold", State: workflows.Done, Started: r.Started.Add(took), Ended: r.Started.Add(took + time.Second)},
		}
		s.keep(ended(r, workflows.OutcomeRecovered, "cold", 20))
	}
	var trends reports.Trends
	s.get("/api/v1/services/asr/trends", &trends)
	if trends.Runs != 10 || len(trends.Tiers) != 1 || trends.Tiers[0].Change == nil || trends.Tiers[0].Change.Text != "cold got 6.0 s slower since 26 November: load (15.0 s, was 9.0 s)" {
		t.Errorf("%+v", trends)
	}
	s.get("/api/v1/services/tts/trends", &trends)
	if trends.Runs != 0 {
		t.Errorf("%+v", trends)
	}
	if status, _, _ := s.ask("", "GET", "/api/v1/services/nobody/trends", ""); status != 404 {
		t.Errorf("%d", status)
	}
}
