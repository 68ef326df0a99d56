package workflows

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	alert := func(change ...func(*Alert)) *Alert {
		a := &Alert{Fingerprint: "f1", StartsAt: now.Add(-time.Minute), Firing: true, Name: "Down"}
		for _, c := range change {
			c(a)
		}
		return a
	}
	ladder := runbooks.Plan{Rungs: []runbooks.Rung{{Tier: "hot"}}}
	exhausted := runbooks.Plan{Rungs: []runbooks.Rung{{Tier: "hot", Refused: "it failed itself within the cooldown"}}}
	answered := []SeenAlert{{Fingerprint: "f1", StartsAt: now.Add(-time.Minute), Last: now, Epoch: 7}}
	resolved := []SeenAlert{{Fingerprint: "f1", StartsAt: now.Add(-time.Minute), Last: now, Resolved: true, Epoch: 7}}
	down, well := &Glance{Verdict: runbooks.Dead, Reason: "refuses"}, &Glance{Verdict: runbooks.Healthy, Reason: "answers"}
	soon, over := now.Add(time.Minute), now.Add(-time.Minute)
	running := &Running{Epoch: 8, Started: now}
	paused := &Pause{By: "ann", Reason: "maintenance", Since: now}

	for name, c := range map[string]struct {
		state    GuardState
		plan     runbooks.Plan
		ask      Ask
		want     Action
		because  string
		override string
	}{
		"a new alert":                           {GuardState{}, ladder, Ask{Alert: alert()}, Start, "", ""},
		"an alert that has resolved":            {GuardState{}, ladder, Ask{Alert: alert(func(a *Alert) { a.Firing = false })}, Ignore, "has resolved", ""},
		"a late copy of one that has resolved":  {GuardState{Seen: resolved}, ladder, Ask{Alert: alert()}, Ignore, "late copy", ""},
		"the same alert, begun again":           {GuardState{Seen: resolved}, ladder, Ask{Alert: alert(func(a *Alert) { a.StartsAt = now })}, Start, "", ""},
		"while a recovery runs":                 {GuardState{Running: running}, ladder, Ask{Alert: alert()}, Join, "recovery 8", "--force --supersede"},
		"by force, while one runs":              {GuardState{Running: running}, ladder, Ask{Force: true}, Join, "recovery 8", ""},
		"by force, in its place":                {GuardState{Running: running}, ladder, Ask{Force: true, Supersede: true}, Start, "takes the place", ""},
		"while paused":                          {GuardState{Paused: paused}, ladder, Ask{Alert: alert()}, Hold, "paused by ann", "understudy resume"},
		"by force, while paused":                {GuardState{Paused: paused}, ladder, Ask{Force: true}, Start, "", ""},
		"without a tier that could be tried":    {GuardState{}, exhausted, Ask{Alert: alert()}, Hold, "no tier of the ladder", ""},
		"outlives its fix":                      {GuardState{Seen: answered, Active: "hot"}, ladder, Ask{Alert: alert()}, Look, "recovery 7 has answered", ""},
		"outlives its fix, the active is well":  {GuardState{Seen: answered, Active: "hot"}, ladder, Ask{Alert: alert(), Looked: well}, Ignore, "hot is Healthy", "--force"},
		"outlives its fix, the active is down":  {GuardState{Seen: answered, Active: "hot"}, ladder, Ask{Alert: alert(), Looked: down}, Start, "", ""},
		"seen, but never answered":              {GuardState{Seen: []SeenAlert{{Fingerprint: "f1", StartsAt: now.Add(-time.Minute)}}}, ladder, Ask{Alert: alert()}, Start, "", ""},
		"at home within the cooldown":           {GuardState{Active: "primary", CooldownUntil: soon}, ladder, Ask{Alert: alert()}, Wait, "cooldown until 03:01:00", "--force"},
		"away within the cooldown":              {GuardState{Active: "hot", Failed: []string{"primary"}, CooldownUntil: soon}, ladder, Ask{Alert: alert()}, Look, "goes on only if hot is down", ""},
		"away within the cooldown, it is well":  {GuardState{Active: "hot", Failed: []string{"primary"}, CooldownUntil: soon}, ladder, Ask{Alert: alert(), Looked: well}, Ignore, "hot is Healthy", ""},
		"away within the cooldown, it is down":  {GuardState{Active: "hot", Failed: []string{"primary"}, CooldownUntil: soon}, ladder, Ask{Alert: alert(), Looked: down}, Start, "hot is down as well", ""},
		"away, down, and nothing is left":       {GuardState{Active: "hot", Failed: []string{"primary"}, CooldownUntil: soon}, exhausted, Ask{Alert: alert(), Looked: down}, Wait, "nothing is left", "--force"},
		"away, nothing is left, none needed":    {GuardState{Active: "hot", Failed: []string{"primary"}, CooldownUntil: soon}, exhausted, Ask{Alert: alert(), Looked: well}, Ignore, "hot is Healthy", ""},
		"away, nothing is left, not looked yet": {GuardState{Active: "hot", Failed: []string{"primary"}, CooldownUntil: soon}, exhausted, Ask{Alert: alert()}, Look, "only if hot is down", ""},
		"away, and even the active just failed": {GuardState{Active: "hot", Failed: []string{"primary", "hot"}, CooldownUntil: soon}, ladder, Ask{Alert: alert(), Looked: down}, Wait, "", ""},
		"by force, within the cooldown":         {GuardState{Active: "primary", CooldownUntil: soon}, ladder, Ask{Force: true}, Start, "", ""},
		"after the cooldown":                    {GuardState{Active: "primary", CooldownUntil: over}, ladder, Ask{Alert: alert()}, Start, "", ""},
		"paused and running":                    {GuardState{Paused: paused, Running: running}, ladder, Ask{Alert: alert()}, Join, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.state.Service = "asr"
			got := Decide(c.state, c.plan, c.ask, now)
			if got.Action != c.want || !strings.Contains(got.Reason, c.because) || !strings.Contains(got.Override, c.override) {
				t.Errorf("got %s (%s) override %q; want %s (…%s…) override …%s…", got.Action, got.Reason, got.Override, c.want, c.because, c.override)
			}
		})
	}
}

// Down, up, down, and then the standby, all within one cooldown: one start.
func TestAServiceThatFlapsIsMovedOnce(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	ladder := runbooks.Plan{Rungs: []runbooks.Rung{{Tier: "hot"}}}
	nothing := runbooks.Plan{Rungs: []runbooks.Rung{{Tier: "primary", Refused: "it failed itself within the cooldown"}}}
	s := GuardState{Service: "asr", Active: "primary"}
	starts := 0
	for i, step := range []struct {
		firing  bool
		starts  time.Duration // of the alert
		plan    runbooks.Plan
		looked  runbooks.Verdict
		want    Action
		because string
	}{
		{true, 0, ladder, "", Start, ""},
		{true, 0, ladder, runbooks.Healthy, Ignore, "recovery 1 has answered this alert"}, // repeated after the fix
		{false, 0, ladder, "", Ignore, "resolved"},                                        // up
		{true, 0, ladder, "", Ignore, "late copy"},
		{true, time.Minute, nothing, runbooks.Healthy, Ignore, "hot is Healthy"}, // down: hot alone is left, and serves
		{true, time.Minute, ladder, runbooks.Healthy, Ignore, "hot is Healthy"},  // the same with a tier that has not failed
		{false, time.Minute, ladder, "", Ignore, "resolved"},                     // up
		{true, 2 * time.Minute, ladder, "", Look, "goes on only if hot is down"},
		{true, 2 * time.Minute, nothing, runbooks.Dead, Wait, "it failed itself within the cooldown"}, // the standby as well
	} {
		now = now.Add(10 * time.Second)
		a := Alert{Fingerprint: "f1", StartsAt: time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC).Add(step.starts), Firing: step.firing, Name: "Down"}
		ask := Ask{Alert: &a}
		if step.looked != "" {
			ask.Looked = &Glance{Verdict: step.looked, Reason: "as the test says"}
		}
		got := Decide(s, step.plan, ask, now)
		if got.Action != step.want || !strings.Contains(got.Reason, step.because) {
			t.Errorf("step %d: %s (%s), want %s (…%s…)", i, got.Action, got.Reason, step.want, step.because)
		}
		known := s.note(a, now)
		if got.Action == Start {
			starts++
			known.Epoch = 1
			s.Active, s.Failed, s.CooldownUntil = "hot", []string{"primary"}, now.Add(time.Hour)
		}
	}
	if starts != 1 {
		t.Errorf("%d starts", starts)
	}
}

func TestSeenAlertsAreBounded(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	var s GuardState
	s.note(Alert{Fingerprint: "old", StartsAt: now, Firing: true}, now.Add(-8*24*time.Hour))
	for i := range 2 * maxSeen {
		s.note(Alert{Fingerprint: "f", StartsAt: now.Add(time.Duration(i) * time.Second), Firing: true}, now)
	}
	if len(s.Seen) != maxSeen {
		t.Errorf("%d alerts are kept", len(s.Seen))
	}
	if s.seen(Alert{Fingerprint: "old", StartsAt: now}) != nil {
		t.Error("an alert of last week is kept")
	}
	newest := Alert{Fingerprint: "f", StartsAt: now.Add(time.Duration(2*maxSeen-1) * time.Second)}
	s.seen(newest).Epoch = 9
	newest.Firing = false
	if known := s.note(newest, now); !known.Resolved || known.Epoch != 9 || len(s.Seen) != maxSeen {
		t.Errorf("noted again: %+v", known)
	}
}
