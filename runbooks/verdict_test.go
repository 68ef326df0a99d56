package runbooks_test

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

func saw(domain string, finding runbooks.Finding) runbooks.Observation {
	return runbooks.Observation{Domain: domain, Finding: finding}
}

func TestJudge(t *testing.T) {
	alert := saw(runbooks.ByAlert, runbooks.Down)
	down, up := saw(runbooks.ByBalancer, runbooks.Down), saw(runbooks.ByBalancer, runbooks.Answers)
	blind := saw(runbooks.ByBalancer, runbooks.Blind)
	witness := func(f runbooks.Finding) runbooks.Observation { return saw(runbooks.ByWitness+":a", f) }
	canary := func(f runbooks.Finding) *runbooks.Observation { o := saw(runbooks.ByProbe, f); return &o }
	blocking := runbooks.Health{Busy: runbooks.Duration(10 * time.Minute)}
	inFlight := func(n int, oldest time.Duration) *runbooks.InFlight {
		return &runbooks.InFlight{Requests: n, Oldest: runbooks.Duration(oldest)}
	}
	for name, c := range map[string]struct {
		own      runbooks.Finding
		others   []runbooks.Observation
		canary   *runbooks.Observation
		ownFails string
		inFlight *runbooks.InFlight
		health   runbooks.Health
		silence  time.Duration
		want     runbooks.Verdict
		because  string
	}{
		"well":                                    {own: runbooks.Answers, want: runbooks.Healthy},
		"well, the alert is old":                  {own: runbooks.Answers, others: []runbooks.Observation{alert}, canary: canary(runbooks.Answers), want: runbooks.Healthy},
		"wrong answer":                            {own: runbooks.Answers, others: []runbooks.Observation{alert}, canary: canary(runbooks.Incorrect), want: runbooks.Wrong},
		"inference fails":                         {own: runbooks.Answers, canary: canary(runbooks.Errors), want: runbooks.Wrong},
		"inference never ends":                    {own: runbooks.Answers, canary: canary(runbooks.Silent), want: runbooks.Hung},
		"the canary itself is broken":             {own: runbooks.Answers, canary: canary(runbooks.Blind), want: runbooks.Healthy},
		"503 and the canary fails":                {own: runbooks.Errors, others: []runbooks.Observation{alert}, canary: canary(runbooks.Errors), want: runbooks.Wrong},
		"503, yet it works":                       {own: runbooks.Errors, canary: canary(runbooks.Answers), want: runbooks.Degraded, because: "though an inference succeeds"},
		"slow":                                    {own: runbooks.Slow, canary: canary(runbooks.Answers), want: runbooks.Degraded},
		"refused and alerted":                     {own: runbooks.Refuses, others: []runbooks.Observation{alert}, want: runbooks.Dead},
		"refused, the balancer agrees":            {own: runbooks.Refuses, others: []runbooks.Observation{down}, want: runbooks.Dead},
		"refused, the balancer lags behind":       {own: runbooks.Refuses, others: []runbooks.Observation{up, alert}, want: runbooks.Dead},
		"refused, only we say so":                 {own: runbooks.Refuses, want: runbooks.Unknown, because: "nobody else can confirm"},
		"refused, the balancer is blind":          {own: runbooks.Refuses, others: []runbooks.Observation{blind}, want: runbooks.Unknown},
		"refused, a witness gets answers":         {own: runbooks.Refuses, others: []runbooks.Observation{alert, witness(runbooks.Answers)}, want: runbooks.Unknown, because: "disagree"},
		"unreachable, a witness agrees":           {own: runbooks.Unreachable, others: []runbooks.Observation{witness(runbooks.Unreachable)}, want: runbooks.Dead},
		"unreachable, the balancer reaches it":    {own: runbooks.Unreachable, others: []runbooks.Observation{up, alert}, want: runbooks.Unknown, because: "disagree"},
		"mute and alerted":                        {own: runbooks.Silent, others: []runbooks.Observation{alert}, want: runbooks.Hung},
		"mute, the balancer still gets answers":   {own: runbooks.Silent, others: []runbooks.Observation{alert, up}, want: runbooks.Unknown},
		"mute, only we say so":                    {own: runbooks.Silent, want: runbooks.Unknown},
		"mute during an inference":                {own: runbooks.Silent, others: []runbooks.Observation{alert, down}, inFlight: inFlight(1, time.Minute), health: blocking, silence: time.Minute, want: runbooks.Busy},
		"mute, and who knows whether in flight":   {own: runbooks.Silent, others: []runbooks.Observation{alert}, health: blocking, silence: time.Minute, want: runbooks.Busy, because: "nobody can tell"},
		"mute, nothing in flight":                 {own: runbooks.Silent, others: []runbooks.Observation{alert}, inFlight: inFlight(0, 0), health: blocking, silence: time.Minute, want: runbooks.Hung},
		"mute for longer than any inference":      {own: runbooks.Silent, others: []runbooks.Observation{alert}, inFlight: inFlight(1, time.Minute), health: blocking, silence: 10 * time.Minute, want: runbooks.Hung},
		"a request older than any inference":      {own: runbooks.Silent, others: []runbooks.Observation{alert}, inFlight: inFlight(1, 11*time.Minute), health: blocking, silence: time.Second, want: runbooks.Hung},
		"health answers during inferences anyway": {own: runbooks.Silent, others: []runbooks.Observation{alert}, inFlight: inFlight(3, time.Second), want: runbooks.Hung},
		"our own view fails":                      {own: runbooks.Unreachable, others: []runbooks.Observation{alert, down}, ownFails: "nothing else answers either", want: runbooks.Unknown, because: "our own view"},
		"we could not look":                       {own: runbooks.Blind, others: []runbooks.Observation{alert, down}, want: runbooks.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := runbooks.Judge(runbooks.Evidence{
				Own: saw(runbooks.ByProbe, c.own), Others: c.others, Canary: c.canary, OwnViewFails: c.ownFails, InFlight: c.inFlight,
			}, c.health, c.silence)
			if got != c.want || why == "" || !strings.Contains(why, c.because) {
				t.Errorf("got %s (%s), want %s (…%s…)", got, why, c.want, c.because)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	r, problems := parse(t, minimal+"canary: {transcribe: {audio: a, expect: b}}\n")
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	home, _ := r.TargetNamed(runbooks.PrimaryName)
	hot, _ := r.TargetNamed(runbooks.TierHot)

	plan := runbooks.NewPlan(r, home, nil)
	if len(plan.Rungs) != 1 || plan.Rungs[0].Tier != "hot" || !plan.Tries() {
		t.Errorf("from home: %+v", plan.Rungs)
	}
	if again := runbooks.NewPlan(r, home, nil); again.Hash != plan.Hash {
		t.Error("the same plan has two hashes")
	}
	other := r
	other.Tiers = append([]runbooks.Tier{}, r.Tiers...)
	other.Tiers[0].URL = "http://127.0.0.1:9"
	if changed := runbooks.NewPlan(other, home, nil); changed.Hash == plan.Hash {
		t.Error("another plan has the same hash")
	}

	plan = runbooks.NewPlan(r, hot, nil)
	if len(plan.Rungs) != 1 || plan.Rungs[0].Tier != runbooks.PrimaryName || !plan.Rungs[0].Hold {
		t.Errorf("away, the way back to a repaired primary: %+v", plan.Rungs)
	}
	if plan = runbooks.NewPlan(r, hot, []string{"primary"}); plan.Tries() || plan.Rungs[0].Refused == "" {
		t.Errorf("away, and the primary failed a moment ago: %+v", plan.Rungs)
	}
	r.Data = []runbooks.Data{{Kind: "litestream"}}
	if plan = runbooks.NewPlan(r, hot, nil); plan.Tries() {
		t.Error("a primary whose data is old would be taken")
	}
}
