package workflows

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

const coldURL = "http://cold"

// ladderWorld is a world whose hot standby is gone as well, with a cold tier of
// the kind given: its model comes from S3, its data from a replica.
func ladderWorld(kind string) *world {
	w := newWorld()
	w.findings[hotURL] = runbooks.Refuses
	w.findings[coldURL], w.heard[coldURL] = runbooks.Answers, digits
	w.servers["cold"] = &traffic.Server{Name: "cold", State: traffic.Maint, Address: "192.0.2.1:1"}
	w.points[0] = replica.Point{Epoch: 0, Position: "7", At: time.Now()}
	cold := runbooks.Tier{
		Name: "cold", URL: "http://{address}", Server: "cold", Within: runbooks.Duration(20 * time.Second),
		Provision: &runbooks.Provision{Kind: kind, Command: []string{"./start"}},
		Volumes:   []runbooks.Volume{{Source: "s3://models/m", Mount: "/models/m", Manifest: "MANIFEST.sha256"}},
	}
	if kind == "ec2" {
		cold.Provision = &runbooks.Provision{Kind: kind, Placements: []runbooks.Placement{
			{Region: "west", Zone: "a", Type: "g5", Image: "ami"}, {Region: "west", Zone: "b", Type: "g5", Image: "ami"}, {Region: "east", Zone: "c", Type: "g5", Image: "ami"},
		}}
	}
	w.runbook.Tiers = append(w.runbook.Tiers, cold)
	w.runbook.Data = []runbooks.Data{{Kind: "litestream", Replica: "s3://history/asr", Path: "/data/history.db"}}
	w.runbook.Policy.Limits = runbooks.Limits{Machines: 1, PerDay: 3, TTL: runbooks.Duration(time.Hour)}
	return w
}

// nothingLeft fails where a recovery left something behind.
func nothingLeft(t *testing.T, w *world) {
	t.Helper()
	if live := w.machines.live(); len(live) != 0 || len(w.mounted) != 0 || len(w.restored) != 0 {
		t.Errorf("left behind: machines %v, volumes %v, data %v", live, w.mounted, w.restored)
	}
	if s := w.servers["cold"]; s.State != traffic.Maint || s.Address != "192.0.2.1:1" {
		t.Errorf("the balancer's slot is left as %+v", s)
	}
}

func TestColdStandby(t *testing.T) {
	for _, kind := range []string{"local", "ec2"} {
		t.Run(kind, func(t *testing.T) {
			w := ladderWorld(kind)
			r := w.recover(t)
			if r.Outcome != OutcomeRecovered || r.Tier != "cold" || r.Made == nil || r.Made.Address != "cold" {
				t.Fatalf("%s\n%s", r.Outcome, r.Markdown())
			}
			if s := w.servers["cold"]; s.State != traffic.Ready || s.Address != "cold:80" {
				t.Errorf("the balancer's slot: %+v", s)
			}
			if w.servers["primary"].State != traffic.Maint {
				t.Error("the failed primary is not pinned")
			}
			if live := w.machines.live(); len(live) != 1 {
				t.Errorf("machines: %v", live)
			}
			if len(r.Restored) != 1 || r.Restored[0].Position != "7" || r.DataEpoch != 7 || !r.DataKnown {
				t.Errorf("data: %+v, epoch %d", r.Restored, r.DataEpoch)
			}
			if kind == "local" && (len(w.mounted) != 1 || len(w.restored) != 1) {
				t.Errorf("brought: %v %v", w.mounted, w.restored)
			}
			if w.epochs.records["asr"].Epoch != 7 {
				t.Error("the epoch was not recorded")
			}
			if len(w.budget.Taken) != 1 || !w.budget.Taken[0].Done {
				t.Errorf("budget: %+v", w.budget)
			}
		})
	}
}

// A tier that fails, wherever it fails, leaves nothing behind, and nothing that must not happen has happened.
func TestAColdStandbyThatFailsLeavesNothing(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(*world)
		want   string // in the timeline
		orders int
	}{
		{"the common store is down", func(w *world) {
			w.bucket = errors.New("no answer")
			w.runbook.Depends = []runbooks.Dependency{{Name: "models", URL: "s3://models"}}
		}, "shared cause: models is down", 0},
		{"nothing is replicated", func(w *world) { clear(w.points) }, "nothing of /data/history.db is replicated", 0},
		{"the order would be refused", func(w *world) { w.machines.check[""] = compute.ErrRefused }, "order refused", 0},
		{"the epoch store is away", func(w *world) { w.epochs.away = true }, "without it nothing is made", 0},
		{"the day's machines are used up", func(w *world) {
			for _, key := range []string{"1", "2", "3"} {
				w.budget.Taken = append(w.budget.Taken, Taken{Kind: activities.BudgetMachine, Service: "asr", Key: key, At: time.Now(), Done: true})
			}
			w.runbook.Policy.Deadline = runbooks.Duration(5 * time.Second)
		}, "allows 3", 0},
		{"the model is wrong", func(w *world) { w.mountErr = volumes.ErrWrong }, "not what its manifest says", 0},
		{"the data is damaged", func(w *world) { w.restoreErr = replica.ErrDamaged }, "does not pass its check", 0},
		{"the machine is refused", func(w *world) { w.machines.script[""] = []error{compute.ErrRefused} }, "order refused", 1},
		{"it never gets ready", func(w *world) {
			w.findings[coldURL] = runbooks.Refuses
			w.runbook.Tiers[1].Within = runbooks.Duration(700 * time.Millisecond)
		}, "not ready in time", 1},
		{"the canary is wrong before it has traffic", func(w *world) { w.heard[coldURL] = "nine nine nine" }, "nine", 1},
		{"the front door does not answer well", func(w *world) {
			w.onApply = func() { w.heard[coldURL] = "nine nine nine" }
		}, "nine", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := ladderWorld("local")
			tt.spoil(w)
			r := w.recover(t)
			if r.Outcome != OutcomeFailed || !strings.Contains(r.Markdown(), tt.want) {
				t.Errorf("%s, want %q\n%s", r.Outcome, tt.want, r.Markdown())
			}
			if len(w.machines.orders) != tt.orders {
				t.Errorf("%d orders, want %d", len(w.machines.orders), tt.orders)
			}
			if r.Made != nil || r.DataKnown {
				t.Errorf("made %+v, data %v", r.Made, r.DataKnown)
			}
			nothingLeft(t, w)
			if got := w.states(); got != "cold=maint hot=maint primary=ready" {
				t.Errorf("balancer: %s", got)
			}
		})
	}
}

// The same order is repeated until there is an answer; only a definite no moves on; at the end one machine lives.
func TestPlacements(t *testing.T) {
	tests := []struct {
		name   string
		script map[string][]error
		zones  string
		person bool
	}{
		{"the first place has room", nil, "a", false},
		{"no room in the first two", map[string][]error{"a": {compute.ErrCapacity}, "b": {compute.ErrCapacity}}, "abc", false},
		{"the quota of a region is used up", map[string][]error{"a": {compute.ErrQuota}}, "ac", true},
		{"an answer is lost", map[string][]error{"a": {errAnswerLost}}, "aa", false},
		{"no room, then two answers are lost", map[string][]error{"a": {compute.ErrCapacity}, "b": {errors.New("timeout"), errAnswerLost}}, "abbb", false},
		{"expired credentials are renewed", map[string][]error{"a": {compute.ErrCredentials, compute.ErrCredentials}}, "aaa", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := ladderWorld("ec2")
			w.machines.script = tt.script
			if w.machines.script == nil {
				w.machines.script = map[string][]error{}
			}
			r := w.recover(t)
			if r.Outcome != OutcomeRecovered || r.Tier != "cold" {
				t.Fatalf("%s\n%s", r.Outcome, r.Markdown())
			}
			zones, keys := "", map[string]string{}
			for _, o := range w.machines.orders {
				zones += o.Placement.Zone
				if key, ok := keys[o.Placement.Zone]; ok && key != o.Key {
					t.Errorf("zone %s was asked with two keys", o.Placement.Zone)
				}
				keys[o.Placement.Zone] = o.Key
			}
			if zones != tt.zones {
				t.Errorf("asked %s, want %s", zones, tt.zones)
			}
			if live := w.machines.live(); len(live) != 1 {
				t.Errorf("machines: %v", live)
			}
			if r.Person != tt.person {
				t.Errorf("person %v", r.Person)
			}
		})
	}
}

func TestApproval(t *testing.T) {
	approve := func(env *testsuite.TestWorkflowEnvironment, u AnswerUpdate, check func(error)) {
		env.UpdateWorkflow(AnswerUpdateName, "", &testsuite.TestUpdateCallback{
			OnAccept: func() { check(nil) }, OnReject: check, OnComplete: func(any, error) {},
		}, u)
	}
	tests := []struct {
		name     string
		answer   func(q Question) AnswerUpdate
		refused  string
		outcome  string
		timeline string
	}{
		{"approved", func(q Question) AnswerUpdate {
			return AnswerUpdate{By: "ann", Role: "approver", Question: q.ID, Plan: q.Plan, Answer: "approve", Reason: "go"}
		}, "", OutcomeRecovered, "approved by ann"},
		{"rejected", func(q Question) AnswerUpdate {
			return AnswerUpdate{By: "ann", Role: "approver", Question: q.ID, Plan: q.Plan, Answer: "reject", Reason: "no"}
		}, "", OutcomeFailed, "rejected by ann"},
		{"nobody answers", nil, "", OutcomeFailed, "silence is never a yes"},
		{"another plan", func(q Question) AnswerUpdate {
			return AnswerUpdate{By: "ann", Role: "approver", Question: q.ID, Plan: "old", Answer: "approve"}
		}, "not the one that is asked about", OutcomeFailed, "silence is never a yes"},
		{"the wrong role", func(q Question) AnswerUpdate {
			return AnswerUpdate{By: "bob", Role: "viewer", Question: q.ID, Plan: q.Plan, Answer: "approve"}
		}, "may not decide this", OutcomeFailed, "silence is never a yes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := ladderWorld("ec2")
			w.runbook.Tiers[1].Approval = &runbooks.Approval{Roles: []string{"approver"}, Timeout: runbooks.Duration(10 * time.Minute)}
			r := w.recover(t, func(env *testsuite.TestWorkflowEnvironment) {
				env.RegisterDelayedCallback(func() {
					value, err := env.QueryWorkflow(ProgressQueryName)
					if err != nil {
						t.Error(err)
						return
					}
					var now Report
					if err := value.Get(&now); err != nil || now.Question == nil {
						t.Errorf("nothing is asked: %v", err)
						return
					}
					if len(w.machines.orders) != 0 {
						t.Error("a machine was ordered before anybody agreed")
					}
					if tt.answer == nil {
						return
					}
					approve(env, tt.answer(*now.Question), func(err error) {
						if tt.refused == "" && err != nil || tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)) {
							t.Errorf("answered: %v", err)
						}
					})
					// A second click changes nothing.
					if tt.refused == "" {
						approve(env, AnswerUpdate{By: "eve", Role: "approver", Question: now.Question.ID, Plan: now.Question.Plan, Answer: "reject"}, func(err error) {
							if err == nil {
								t.Error("a second answer was taken")
							}
						})
					}
				}, time.Minute)
			})
			if r.Outcome != tt.outcome || !strings.Contains(r.Markdown(), tt.timeline) {
				t.Errorf("%s, want %s and %q\n%s", r.Outcome, tt.outcome, tt.timeline, r.Markdown())
			}
			if tt.outcome == OutcomeFailed {
				nothingLeft(t, w)
				if len(w.machines.orders) != 0 {
					t.Error("a machine was ordered without agreement")
				}
			}
		})
	}
}

// A standby that is warmed up while the hot one is tried, and not needed, is given back.
func TestPrewarmedAndNotNeeded(t *testing.T) {
	w := ladderWorld("local")
	w.findings[hotURL] = runbooks.Answers
	w.runbook.Tiers[1].Prewarm = true
	r := w.recover(t)
	if r.Outcome != OutcomeRecovered || r.Tier != "hot" || r.Made != nil {
		t.Fatalf("%s\n%s", r.Outcome, r.Markdown())
	}
	nothingLeft(t, w)
}

// Somebody else's epoch: what was made is removed, the traffic is left alone.
func TestSupersededBeforeAnythingIsMade(t *testing.T) {
	w := ladderWorld("local")
	w.epochs.records["asr"] = epoch.Record{Service: "asr", Epoch: 9, Holder: "other"}
	r := w.recover(t)
	if r.Outcome != OutcomeSuperseded || len(w.machines.orders) != 0 || len(w.applied) != 0 {
		t.Errorf("%s, %d orders, %d changes\n%s", r.Outcome, len(w.machines.orders), len(w.applied), r.Markdown())
	}
}

// The machine of an active that failed is given back once the service runs elsewhere.
func TestTheFailedMachineIsGivenBack(t *testing.T) {
	w := ladderWorld("local")
	w.findings[hotURL], w.findings[coldURL] = runbooks.Answers, runbooks.Refuses
	old, err := w.machines.Create(t.Context(), compute.Order{Key: "old", Service: "asr", Mode: ModeLive})
	if err != nil {
		t.Fatal(err)
	}
	in := w.start()
	in.Active = runbooks.Target{Name: "cold", URL: coldURL, Server: "cold"}
	in.Made = &activities.Made{Tier: "cold", Machine: compute.Ref{ID: old.ID, Key: "old", Provision: *w.runbook.Tiers[1].Provision}, Address: "cold"}
	in.Plan = runbooks.NewPlan(w.runbook, in.Active, []string{"primary"})
	r := w.recoverFrom(t, in)
	if r.Outcome != OutcomeRecovered || r.Tier != "hot" || r.Made != nil || len(w.machines.live()) != 0 {
		t.Errorf("%s, machines %v\n%s", r.Outcome, w.machines.live(), r.Markdown())
	}
}
