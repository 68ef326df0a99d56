package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

var kill = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// after is a moment so many milliseconds after the kill.
func after(ms int) time.Time { return kill.Add(time.Duration(ms) * time.Millisecond) }

func done(step string, from, to int) workflows.Record {
	return workflows.Record{Step: step, State: workflows.Done, Started: after(from), Ended: after(to)}
}

// coldReport is a recovery on a cold standby: heard of after 1 s, verified after 10 s.
func coldReport() workflows.Report {
	r := workflows.Report{
		Trigger: workflows.Trigger{OutageSince: after(500), Received: after(1000)}, Verified: after(10_000),
		Timeline: []workflows.Record{
			done(runbooks.StepDiagnose, 1000, 1100), done(runbooks.StepCheck, 1100, 1300),
			done(runbooks.StepMount, 1350, 3000), done(runbooks.StepRestore, 1400, 2000), // side by side
			done(runbooks.StepProvision, 3000, 3200), done(runbooks.StepBoot, 3200, 3250), done(runbooks.StepLoad, 3250, 6000),
			done(runbooks.StepProve, 6100, 7000), done(runbooks.StepCutOver, 7050, 7100),
			done(runbooks.StepVerify, 8100, 10_050), // the canary that went with the switch took too long
			done(runbooks.StepSettle, 10_050, 15_000),
		},
		Breakdown: []workflows.Share{{Name: workflows.PartDetect, Seconds: 0.5}, {Name: workflows.PartMount, Seconds: 1.7}, {Name: workflows.PartLoad, Seconds: 2.8}},
		Restored:  []workflows.Recovered{{LagSeconds: 0.25}},
	}
	r.Outcome, r.Tier, r.RTOSeconds, r.RPOSeconds = workflows.OutcomeRecovered, runbooks.TierCold, 9.5, 0.25
	return r
}

func TestItsOwnShareLeavesOutWhatOthersTook(t *testing.T) {
	r := coldReport()
	// Of 9 s others took 1.65 s together, 0.05 s, 2.75 s, 0.9 s and, from the switch on, 2.9 s.
	if got, want := own(r), 750*time.Millisecond; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r.Verified = time.Time{}
	if got := own(r); got != 0 {
		t.Errorf("%s of a recovery that did not end well", got)
	}
}

func TestTheTimesAreShownAgainstTheObjectives(t *testing.T) {
	for _, tt := range []struct {
		objectives runbooks.Objectives
		want       []string
	}{
		{runbooks.Objectives{RTO: runbooks.Duration(30 * time.Second), RPO: runbooks.Duration(time.Second)}, []string{"objective 30s: met", "objective 1s: met"}},
		{runbooks.Objectives{RTO: runbooks.Duration(9 * time.Second), RPO: runbooks.Duration(time.Millisecond)}, []string{"objective 9s: missed", "objective 1ms: missed"}},
		{runbooks.Objectives{}, []string{"no objective"}},
	} {
		var out bytes.Buffer
		showTimes(&show{out: &out, width: widest}, played{act{"", "hot", "cold"}, kill, triggers.RecoveryDetail{Report: coldReport()}}, tt.objectives)
		for _, want := range append(tt.want, "From hot to cold", "  unseen      0.500 s", "  mount       1.700 s", "(took 1.6 s)", "  load        2.800 s", "  RTO         9.500 s", "  own         0.750 s", "  RPO         0.250 s", "  in all     10.000 s") {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, out.String())
			}
		}
	}
}

func TestATiersOwnObjectivesCount(t *testing.T) {
	r := runbooks.Runbook{
		Objectives: runbooks.Objectives{RTO: 1, RPO: 2},
		Tiers:      []runbooks.Tier{{Name: "hot"}, {Name: "cold", Objectives: &runbooks.Objectives{RTO: 3}}},
	}
	if got := objectivesOf(r, "hot"); got != r.Objectives {
		t.Errorf("hot: %+v", got)
	}
	if got, want := objectivesOf(r, "cold"), (runbooks.Objectives{RTO: 3, RPO: 2}); got != want {
		t.Errorf("cold: %+v", got)
	}
}

func TestRowsThatAreLost(t *testing.T) {
	stamp := func(ms int) string { return after(ms).Format(time.RFC3339Nano) }
	before := []row{{1, stamp(-3000)}, {2, stamp(-2000)}, {3, stamp(-500)}, {4, stamp(-100)}}
	for _, tt := range []struct {
		name  string
		after []row
		want  moved
	}{
		{"none", append(before[:4:4], row{5, stamp(9000)}), moved{written: 4, added: 1}},
		{"the newest, and their numbers are given out again", []row{before[0], before[1], {3, stamp(9000)}, {4, stamp(9500)}, {5, stamp(9900)}},
			moved{written: 4, added: 3, lost: 2, oldest: 500 * time.Millisecond}},
		{"all", nil, moved{written: 4, lost: 4, oldest: 3 * time.Second}},
	} {
		if got := compare(before, tt.after, kill); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestWhyRequestsFailed(t *testing.T) {
	verified := after(5000)
	failed := func(from int) answer {
		return answer{began: after(from), ended: after(from + 200), failure: "HTTP 503"}
	}
	for _, tt := range []struct {
		failed []answer
		want   string
	}{
		{[]answer{failed(-100)}, "inside the primary when it died, as with HAProxy alone; the last: HTTP 503"},
		{[]answer{failed(-100), failed(100), failed(200)}, "1 inside the primary when it died, as with HAProxy alone, 2 after the death of the primary and before the first verified answer; the last: HTTP 503"},
		{[]answer{failed(6000)}, "after that answer; the last: HTTP 503"},
	} {
		if got := whyFailed(tt.failed, "the primary", kill, verified); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestAnActCountsWhatEndedInIt(t *testing.T) {
	all := count([]answer{
		{began: after(-300), ended: after(-100), server: "primary"}, {began: after(-100), ended: after(10), failure: "cut"},
		{began: after(900), ended: after(1100), server: "hot"}, {began: after(1900), ended: after(2000), failure: "late"},
	})
	if got := all.between(time.Time{}, kill); got.asked != 1 || got.by["primary"] != 1 {
		t.Errorf("before: %+v", got)
	}
	if got := all.between(kill, after(2000)); got.asked != 2 || got.by["hot"] != 1 || len(got.failed) != 1 {
		t.Errorf("between: %+v", got)
	}
	if got := all.between(after(2000), time.Time{}); got.asked != 1 || len(got.failed) != 1 {
		t.Errorf("since: %+v", got)
	}
	if got, want := all.String(), "clients: 2 answered (primary 1, hot 1), 2 failed"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWhatChangesAtHAProxy(t *testing.T) {
	for _, tt := range []struct {
		name        string
		before, now map[string]string
		want        []string
	}{
		{"the first look", map[string]string{}, map[string]string{"primary": "UP", "hot": "UP", "cold": "MAINT"}, nil},
		{"it moves by itself", map[string]string{"primary": "UP 1/2", "hot": "UP"}, map[string]string{"primary": "DOWN", "hot": "UP"},
			[]string{"primary is DOWN to its checks; its backup has the traffic now"}},
		{"nobody is left", map[string]string{"hot": "UP", "cold": "MAINT"}, map[string]string{"hot": "DOWN", "cold": "MAINT"},
			[]string{"hot is DOWN to its checks; nobody has the traffic"}},
		{"the switch", map[string]string{"hot": "DOWN", "cold": "MAINT"}, map[string]string{"hot": "MAINT", "cold": "UP"},
			[]string{"hot is MAINT: pinned off the traffic, it cannot flap back", "cold is UP: it takes the traffic"}},
	} {
		line := newTimeline(&show{})
		line.balancer(tt.now, tt.before)
		var got []string
		for _, n := range line.waiting {
			got = append(got, n.text)
		}
		if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestAnActBeginsWithAnEmptyTimeline(t *testing.T) {
	var out bytes.Buffer
	line := newTimeline(&show{out: &out, width: widest})
	line.begin(kill)
	report := workflows.Report{Timeline: []workflows.Record{done(runbooks.StepDiagnose, 100, 200)}}
	line.recovery("demo-1", report)
	line.begin(after(60_000))
	report.Timeline[0].Ended = after(60_200)
	line.recovery("demo-2", report)
	line.flush(true)
	if got := out.String(); strings.Contains(got, "demo-1") || !strings.Contains(got, "demo-2") || !strings.Contains(got, "+0.200 s   Understudy    diagnose") {
		t.Errorf("shown:\n%s", got)
	}
}
