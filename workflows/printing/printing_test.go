package printing_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
	"github.com/understudy-dr/understudy/workflows/printing"
)

var outage = time.Date(2026, 11, 21, 3, 12, 4, 120e6, time.UTC)

func at(seconds float64) time.Time { return outage.Add(time.Duration(seconds * float64(time.Second))) }

// cold is the report of a recovery on a machine that was made, whose load took
// longer than it ever did.
func cold() workflows.Report {
	r := workflows.Report{
		RecoveryResult: activities.RecoveryResult{
			Epoch: 17, Outcome: workflows.OutcomeRecovered, Active: "cold", Tier: "cold", Verdict: "Dead", RTOSeconds: 33.87,
			Reason: "fun-asr runs on cold, verified through the front door",
			Made:   &activities.Made{Tier: "cold", Machine: compute.Ref{ID: "i-0a1b2c3d"}, Address: "10.0.3.17", Where: "us-west-2b, g6.xlarge"},
		},
		Recovery: "recovery/fun-asr/17", Service: "fun-asr", Mode: workflows.ModeLive, From: "primary", RunbookHash: "3f2a9c0d4be1", Plan: runbooks.Plan{Hash: "91c2ab"},
		Trigger: workflows.Trigger{Kind: workflows.TriggerAlert, Text: "alert SpeechServiceDown: fun-asr cannot be scraped", Received: at(2.1), OutageSince: outage, Fingerprints: []string{"c3ab8ff13720e8ad"}},
		Started: at(2.12), Ended: at(160), Verified: at(33.87), Objective: runbooks.Duration(30 * time.Second), Committed: true, Canaries: 24, NoReturn: true,
		Breakdown: []workflows.Share{{Name: "detect", Seconds: 2.1}, {Name: "decide", Seconds: 0.31}, {Name: "provision", Seconds: 3.2}, {Name: "boot", Seconds: 4.4}, {Name: "restore", Seconds: 1.1}, {Name: "load", Seconds: 21.3}, {Name: "verify", Seconds: 1.25}, {Name: "fence", Seconds: 0.01}, {Name: "switch", Seconds: 0.2}},
		Claim:     "epoch 17 is recorded", RPOSeconds: 1.4, RPOAudioSeconds: 12.5,
		InFlight: []activities.InFlight{{Job: "calls-november", Items: 2, Seconds: 12.5}},
		Evidence: runbooks.Evidence{
			Own:    runbooks.Observation{Domain: runbooks.ByProbe, Finding: runbooks.Refuses, Detail: "dial tcp 192.168.1.10:7860: connection refused", At: at(2.13)},
			Others: []runbooks.Observation{{Domain: runbooks.ByBalancer, Finding: runbooks.Down, Detail: "L4CON", At: at(2.13)}, {Domain: runbooks.ByAlert, Finding: runbooks.Down, Detail: "alert SpeechServiceDown", At: outage}},
		},
		Restored: []workflows.Recovered{{Restored: replica.Restored{Point: replica.Point{Epoch: 16, Position: "txid 2041"}, Path: "/data/history.db", Check: "18231"}, LagSeconds: 1.4}},
		Answers:  []workflows.Answered{{By: "anna", Role: "approver", Question: "may fun-asr move to cold?", Answer: "approve", Plan: "91c2ab", Reason: "the site is dark", At: at(3)}},
		Advice:   []string{"the way home is not taken by itself: mend primary, it stays off the traffic until then"},
	}
	add := func(step, tier, state, why string, from, until float64) {
		r.Timeline = append(r.Timeline, workflows.Record{Step: step, Tier: tier, State: state, Reason: why, Started: at(from), Ended: at(until)})
	}
	add("diagnose", "", workflows.Done, "Dead: refuses connections; the load balancer and the alert agree", 2.12, 2.2)
	add("gate", "hot", workflows.Refused, "version: expected 2512.1, got 2511.0", 2.2, 2.3)
	add("check", "cold", workflows.Done, "nothing stands in the way", 2.3, 2.41)
	add("provision", "cold", workflows.Refused, "us-west-2a, g5.xlarge: no capacity", 2.41, 3)
	add("provision", "cold", workflows.Done, "i-0a1b2c3d at us-west-2b, g6.xlarge", 3, 5.61)
	add("boot", "cold", workflows.Done, "i-0a1b2c3d runs at 10.0.3.17", 5.61, 10.01)
	add("load", "cold", workflows.Done, "it is ready", 11.1, 32.4)
	add(workflows.StepSlow, "cold", workflows.Noted, "load takes longer than it usually does: 15 s and no end", 26.1, 26.1)
	add("prove", "cold", workflows.Done, "heard: one two three", 32.4, 33.1)
	add("cut over", "cold", workflows.Done, "primary is pinned off the traffic, cold is on it; read back", 33.1, 33.4)
	add("verify", "cold", workflows.Done, "through the front door: heard one two three", 33.4, 33.87)
	add("fence host", "primary", workflows.Done, "confirmed: it refuses connections", 33.9, 36)
	add("settle", "cold", workflows.Done, "committed after 24 canaries", 36, 156)
	past := reports.Past{}
	for i := range 12 {
		past.Runs = append(past.Runs, reports.Run{Epoch: int64(4 + i), Mode: workflows.ModeLive, Tier: "cold", Outcome: workflows.OutcomeRecovered, Started: outage.AddDate(0, 0, 7*(i-12)), RTOSeconds: 19 + float64(i*i%7)})
	}
	for step, pace := range map[string][2]float64{"provision": {2.4, 3}, "boot": {4.1, 4.9}, "load": {9.1, 13.2}, "prove": {0.7, 0.9}} {
		past.Steps = append(past.Steps, reports.Pace{Tier: "cold", Step: step, Median: pace[0], P95: pace[1], Longest: pace[1] + 1, Runs: 12})
	}
	for part, pace := range map[string][2]float64{"detect": {2.2, 4.8}, "provision": {3.1, 3.6}, "boot": {4.1, 4.9}, "restore": {1, 1.4}, "load": {9.1, 13.2}, "verify": {1.2, 1.5}} {
		past.Parts = append(past.Parts, reports.Pace{Tier: "cold", Step: part, Median: pace[0], P95: pace[1], Longest: pace[1] + 1, Runs: 12})
	}
	r.Past = &past
	return r
}

func printed(t *testing.T, r workflows.Report) (markdown, page string) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	files, err := printing.Files(text)
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("PRINT_TO"); dir != "" {
		if err := os.WriteFile(fmt.Sprintf("%s/%s.html", dir, strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())), files[".html"], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return string(files[".md"]), string(files[".html"])
}

func TestAReportSaysEverything(t *testing.T) {
	markdown, page := printed(t, cold())
	for _, want := range []string{
		"Recovery 17 of fun-asr", "recovered", "33.87 s", "30s", "missed by 3.9 s", "load (cold) took 21.30 s, longer than it usually does", "9.10 s", "13.20 s",
		"version: expected 2512.1, got 2511.0", "no capacity", "i-0a1b2c3d", "connection refused", "c3ab8ff13720e8ad", "3f2a9c0d4be1", "91c2ab", "approve", "anna", "the site is dark",
		"history.db", "What was the cause?", "follow-up", "the way home is not taken by itself",
		"calls-november: at most 12.5 s of audio in 2 items were in flight and are done again",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
		if !strings.Contains(strings.NewReplacer("\\_", "_", "\\*", "*").Replace(markdown), want) && want != "33.87 s" {
			t.Errorf("the Markdown does not say %q", want)
		}
	}
	for _, want := range []string{"audio done again", "12.50 s", "at most: 2 items of 1 batches were in flight", "objective 30s", `class="over"`, "txid 2041", "answers 18231", "this run", `class="slow"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if strings.Count(page, `class="over"`) != 1 || strings.Count(page, `<tr class="slow">`) != 1 {
		t.Error("only the load was slow")
	}
}

// A page is opened from a disk by somebody who trusts it.
func TestOtherPeoplesTextStaysText(t *testing.T) {
	hostile := `</style></text><script>alert("x")</script><img src=x onerror=1>|` + "`{{.}}`\n# h"
	r := cold()
	r.Reason, r.Trigger.Text, r.Answers[0].By, r.Answers[0].Reason, r.Evidence.Own.Detail, r.Trigger.Fingerprints = hostile, hostile, hostile, hostile, hostile, []string{hostile}
	r.InFlight = []activities.InFlight{{Job: hostile, Unknown: hostile}}
	r.Lost, r.Orphans, r.Timeline[1].Reason = hostile, []string{hostile}, hostile
	if markdown, _ := printed(t, r); strings.Contains(markdown, "<script") || strings.Contains(markdown, "\n# h") {
		t.Errorf("the Markdown holds a script, or a heading of others:\n%s", markdown)
	}
	r.Service, r.Outcome, r.Reason, r.Trigger.Text, r.Trigger.By, r.Claim, r.Active, r.From, r.Verdict, r.Lost = hostile, hostile, hostile, hostile, hostile, hostile, hostile, hostile, hostile, hostile
	r.RunbookHash, r.Plan.Hash, r.Recovery, r.Orphans, r.Advice, r.Trigger.Fingerprints = hostile, hostile, hostile, []string{hostile}, []string{hostile}, []string{hostile}
	r.Breakdown[0].Name, r.Answers[0].By, r.Answers[0].Reason, r.Evidence.OwnViewFails, r.Evidence.Own.Detail = hostile, hostile, hostile, hostile, hostile
	r.Restored[0].Path, r.Restored[0].Check, r.Made.Where, r.Drilled = hostile, hostile, hostile, []workflows.Practice{{Tier: hostile, Reason: hostile}}
	for i := range r.Timeline {
		r.Timeline[i].Reason, r.Timeline[i].Tier, r.Timeline[i].State = hostile, hostile, hostile
	}
	_, page := printed(t, r)
	for _, tag := range []string{"<script", "<img", "onerror=1>"} {
		if strings.Contains(page, tag) {
			t.Errorf("the page holds %q", tag)
		}
	}
	wellFormed(t, page)
}

// wellFormed fails where the page's elements do not fit into each other: then
// something broke out of its place.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, append(xml.HTMLAutoClose, "meta"), xml.HTMLEntity
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("the page: %v", err)
			return
		}
	}
}

func TestPagesOfEveryKind(t *testing.T) {
	drill := cold()
	drill.Mode, drill.Outcome, drill.Tier, drill.Active, drill.Verified, drill.RTOSeconds, drill.Made = workflows.ModeDrill, workflows.OutcomeDrilled, "", "primary", time.Time{}, 0, nil
	drill.Reason, drill.Drilled, drill.Restored, drill.Answers, drill.RPOSeconds = "cold proven in 30.3 s; 0 orphans", []workflows.Practice{{Tier: "cold", Passed: true, Seconds: 30.3}}, nil, nil, 0
	home := cold()
	home.Mode, home.Outcome, home.Active, home.Tier, home.From = workflows.ModeFailback, workflows.OutcomeHome, "primary", "primary", "cold"
	failed := cold()
	failed.Outcome, failed.Verified, failed.RTOSeconds, failed.Past, failed.Made = workflows.OutcomeFailed, time.Time{}, 0, nil, nil
	failed.Reason = "no tier passed; hot gate: version: expected 2512.1, got 2511.0"
	quick := cold()
	quick.RTOSeconds, quick.Verified, quick.Past = 0.41, at(0.41), nil
	quick.Breakdown = []workflows.Share{{Name: "detect", Seconds: 0.3}, {Name: "decide", Seconds: 0.05}, {Name: "switch", Seconds: 0.06}}
	for name, c := range map[string]struct {
		report workflows.Report
		want   []string
		not    []string
	}{
		"a drill":                {drill, []string{"Drill 17 of fun-asr", "1 of 1", "by steps", "proven"}, []string{"objective 30s"}},
		"the way home":           {home, []string{"Failback 17 of fun-asr", "home after"}, []string{"objective 30s", "was missed"}},
		"all tiers failed":       {failed, []string{"no verified answer", `class="badge bad"`}, []string{"Against earlier runs", "beyond"}},
		"a quick one":            {quick, []string{"410 ms", "met"}, []string{"objective 30s</text>"}},
		"nothing at all":         {workflows.Report{}, []string{"running"}, []string{"<svg"}},
		"one that just began":    {workflows.Report{Service: "x", Mode: "live", Timeline: []workflows.Record{{Step: "gate", State: "running", Started: outage}}}, []string{"Recovery 0 of x"}, []string{"NaN"}},
		"a negative step":        {workflows.Report{Timeline: []workflows.Record{{Step: "gate", State: "done", Started: outage, Ended: outage.Add(-time.Hour)}}}, nil, []string{"NaN", "<svg"}},
		"an outage of zero time": {workflows.Report{Verified: outage, Breakdown: []workflows.Share{{Name: "detect"}}}, nil, []string{"NaN", "Inf", "<svg"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, page := printed(t, c.report)
			for _, want := range c.want {
				if !strings.Contains(page, want) {
					t.Errorf("the page does not say %q", want)
				}
			}
			for _, not := range append(c.not, "NaN", "<no value>", "http://", "https://", "src=", "@import", "url(") {
				if strings.Contains(strings.ReplaceAll(page, `http-equiv`, ""), not) {
					t.Errorf("the page says %q", not)
				}
			}
			wellFormed(t, page)
		})
	}
}

func TestTheSameReportPrintsTheSame(t *testing.T) {
	text, err := json.Marshal(cold())
	if err != nil {
		t.Fatal(err)
	}
	first, err := printing.Files(text)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := printing.Files(text)
		if err != nil || !bytes.Equal(first[".html"], again[".html"]) || !bytes.Equal(first[".md"], again[".md"]) {
			t.Fatal("another page")
		}
	}
	if _, err := printing.Files([]byte("{broken")); err == nil {
		t.Error("what is no report was printed")
	}
}
