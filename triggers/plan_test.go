package triggers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

// planned is the plan that a guard with this state would carry out.
func planned(s workflows.GuardState, tier string) string {
	r := triggerstest.Runbook("asr")
	active, _ := r.TargetNamed(s.Active)
	return runbooks.NewPlan(r, active, s.Failed).Only(tier).Hash
}

func TestThePlanShownIsThePlanCarriedOut(t *testing.T) {
	s := set(t, "asr")
	for name, c := range map[string]struct {
		state workflows.GuardState
		tier  string
	}{
		"at home":             {workflows.GuardState{Active: "primary"}, ""},
		"one tier":            {workflows.GuardState{Active: "primary"}, "cold"},
		"away":                {workflows.GuardState{Active: "hot"}, ""},
		"away, home again":    {workflows.GuardState{Active: "hot"}, "primary"},
		"within the cooldown": {workflows.GuardState{Active: "hot", Failed: []string{"primary"}, CooldownUntil: time.Now().Add(time.Hour)}, ""},
	} {
		s.Set("asr", func(g *workflows.GuardState) { *g = c.state })
		var detail triggers.PlanDetail
		s.get("/api/v1/services/asr/plan?tier="+c.tier, &detail)
		if want := planned(c.state, c.tier); detail.Plan.Hash != want {
			t.Errorf("%s: %s, want %s", name, detail.Plan.Hash, want)
		}
	}
	// What failed counts until the cooldown is over.
	s.Set("asr", func(g *workflows.GuardState) {
		*g = workflows.GuardState{Active: "hot", Failed: []string{"primary"}, CooldownUntil: time.Now().Add(-time.Hour)}
	})
	var detail triggers.PlanDetail
	s.get("/api/v1/services/asr/plan", &detail)
	if detail.Plan.Hash != planned(workflows.GuardState{Active: "hot"}, "") {
		t.Error("after the cooldown the plan still leaves out what failed")
	}
	status, _, body := s.ask("", "GET", "/api/v1/services/asr/plan?tier=hot", "")
	if status != 422 || !strings.Contains(body, "its ladder has: primary, cold, cross-region") {
		t.Errorf("the tier where it runs: %d %s", status, body)
	}
}

func TestThePlanAsksEveryTier(t *testing.T) {
	s := set(t, "asr")
	s.Set("asr", func(g *workflows.GuardState) {
		g.Epoch, g.DataEpoch, g.DataKnown, g.Made = 41, 40, true, &activities.Made{Machine: compute.Ref{ID: "m1"}}
	})
	s.Refuse("hot", "version: expected 2512.1, got 2511.0")
	s.Refuse("cold", "model volume: cannot be read", "machine: no capacity")
	var detail triggers.PlanDetail
	s.get("/api/v1/services/asr/plan", &detail)
	var refused []string
	for _, rung := range detail.Plan.Rungs {
		refused = append(refused, rung.Tier+": "+strings.Join(detail.Refusals(rung), ", "))
	}
	if got := strings.Join(refused, "; "); got != "hot: version: expected 2512.1, got 2511.0; cold: model volume: cannot be read, machine: no capacity; cross-region: " {
		t.Error(got)
	}
	if notes := detail.Machines["cold"].Notes; !slices.Equal(notes, []string{"asked for epoch 42, data of epoch 40"}) {
		t.Errorf("%v", notes)
	}
	s.get("/api/v1/services/asr/plan?tier=hot", &detail)
	if len(detail.Gates) != 1 {
		t.Errorf("one tier: %v", detail.Gates)
	}
}

func TestThePlanSaysHowLongStepsTook(t *testing.T) {
	s := set(t, "asr", "tts")
	s.keep(ended(triggerstest.Report("tts", 99, began), workflows.OutcomeRecovered, "hot", 1)) // of another service
	for i := range 30 {                                                                        // ten of them too long ago
		r := triggerstest.Report("asr", int64(i+1), began.Add(time.Duration(i)*time.Hour))
		took := time.Duration(i) * time.Second
		r.Timeline = []workflows.Record{
			{Step: "prove", Tier: "hot", State: workflows.Done, Started: r.Started, Ended: r.Started.Add(took)},
			{Step: "gate", Tier: "hot", State: workflows.Refused, Started: r.Started, Ended: r.Started.Add(time.Hour)},
			{Step: "diagnose", State: workflows.Done, Started: r.Started, Ended: r.Started.Add(time.Second / 4)},
			{Step: "settle", Tier: "hot", State: workflows.InProgress, Started: r.Started},
		}
		s.keep(ended(r, workflows.OutcomeRecovered, "hot", 1))
	}
	var detail triggers.PlanDetail
	s.get("/api/v1/services/asr/plan", &detail)
	want := []triggers.Expected{{Step: "diagnose", Seconds: 0.25, P95: 0.25, Runs: 20}, {Tier: "hot", Step: "prove", Seconds: 19.5, P95: 28, Runs: 20}}
	if !slices.Equal(detail.Expected, want) {
		t.Errorf("%+v", detail.Expected)
	}
}

func TestVerbsSayBeforehandWhatTheyLeave(t *testing.T) {
	verb := func(r workflows.Report) string {
		s := set(t, "asr")
		s.Run(r)
		var detail triggers.RecoveryDetail
		s.get("/api/v1/recoveries/asr-7", &detail)
		var all []string
		for _, v := range detail.Verbs {
			all = append(all, strings.TrimSpace(v.Verb+" "+v.Answer)+": "+v.Leaves)
		}
		return strings.Join(all, "; ")
	}
	trying := triggerstest.Report("asr", 7, began)
	trying.Timeline = append(trying.Timeline, workflows.Record{Step: "gate", Tier: "hot", State: workflows.InProgress, Started: began})
	settling := triggerstest.Report("asr", 7, began)
	settling.Active, settling.Verified = "hot", began.Add(time.Second)
	settling.Timeline = append(settling.Timeline, workflows.Record{Step: "settle", Tier: "hot", State: workflows.InProgress, Started: began})
	fenced := settling
	fenced.NoReturn = true
	over := ended(trying, workflows.OutcomeFailed, "", 0)
	over.Ended = time.Time{} // it still cleans up
	for name, c := range map[string]struct {
		report workflows.Report
		want   string
	}{
		"begins":   {triggerstest.Report("asr", 7, began), "abort: what was done is undone, and asr stays on primary"},
		"a tier":   {trying, "retry: what hot did is undone, and it is tried from its beginning; skip: what hot did is undone, and the next tier is tried; abort: what was done is undone, and asr stays on primary"},
		"asks":     {asking(), "answer approve: it is made; answer reject: it is left out; abort: what was done is undone, and asr stays on primary"},
		"settles":  {settling, "commit: asr stays on hot; rollback: asr goes back to primary if that passes its gate and the canary; else it stays on hot; abort: it stops where it stands, with the traffic on hot"},
		"fenced":   {fenced, "commit: asr stays on hot; abort: it stops where it stands, with the traffic on hot"},
		"it ended": {over, ""},
	} {
		if got := verb(c.report); got != c.want {
			t.Errorf("%s:\n%s\n%s", name, got, c.want)
		}
	}
}

func TestMachines(t *testing.T) {
	s := set(t, "asr")
	var list triggers.MachineList
	s.get("/api/v1/machines", &list)
	if list.Machines == nil || len(list.Machines) != 0 {
		t.Errorf("%+v", list)
	}
	s.Make(triggers.MachineDetail{Machine: compute.Machine{ID: "i-1", State: compute.Running}, Service: "asr", Kind: "ec2", Held: "recovery asr-7"})
	s.get("/api/v1/machines", &list)
	if len(list.Machines) != 1 || list.Machines[0].ID != "i-1" || list.Machines[0].State != compute.Running || list.Machines[0].Held != "recovery asr-7" {
		t.Errorf("%+v", list)
	}
}

func TestWhy(t *testing.T) {
	s := set(t, "asr")
	var why []workflows.Decision
	s.get("/api/v1/services/asr/why", &why)
	if len(why) != 1 || why[0].Event != "guard is born" {
		t.Errorf("%+v", why)
	}
}
