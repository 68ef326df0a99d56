package workflows

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// away is a world whose service runs on hot since a recovery; the primary is mended.
func away(t *testing.T) (*world, RecoveryInput) {
	w := newWorld()
	w.findings[primaryURL] = runbooks.Answers
	w.servers["primary"].State, w.servers["hot"].State = traffic.Maint, traffic.Ready
	in := w.start()
	in.Mode, in.Fenced = ModeFailback, []string{"primary"}
	in.Active, _ = w.runbook.TargetNamed("hot")
	in.Trigger = Trigger{Kind: TriggerPerson, By: "ann", Text: "ann asks for the way home", Received: time.Now(), OutageSince: time.Now()}
	in.Runbook = w.runbook
	return w, in
}

func TestFailback(t *testing.T) {
	w, in := away(t)
	r := w.recoverFrom(t, in)
	if r.Outcome != OutcomeHome || r.Active != "primary" || len(r.Fenced) != 0 || w.states() != "hot=maint primary=ready" {
		t.Errorf("%s on %s, %s\n%s", r.Outcome, r.Active, w.states(), r.Markdown())
	}
	if w.fences != 0 {
		t.Error("the standby was fenced as if it had failed")
	}
}

// A failback that cannot be done leaves the service where it is, serving.
func TestFailbackThatCannotBeDone(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(*world, *RecoveryInput)
		reason string
	}{
		{"the primary is still down", func(w *world, _ *RecoveryInput) { w.findings[primaryURL] = runbooks.Refuses }, "refuses connections"},
		{"its model is wrong", func(w *world, _ *RecoveryInput) { w.heard[primaryURL] = "nine" }, "prove: "},
		{"it is wrong once it has traffic", func(w *world, _ *RecoveryInput) {
			w.onApply = func() { w.heard[primaryURL] = "nine" }
		}, "verify: "},
		{"the epoch store is away", func(w *world, _ *RecoveryInput) { w.epochs.away = true }, "claim: "},
		{"data is written elsewhere, and nobody can bring it home", func(w *world, in *RecoveryInput) {
			in.Runbook.Data = []runbooks.Data{{Kind: "litestream", Replica: "s3://h", Path: "/d"}}
			in.DataEpoch, in.DataKnown = 5, true
		}, "set primary.activate"},
		{"the primary does not take the data over", func(w *world, in *RecoveryInput) {
			in.Runbook.Data = []runbooks.Data{{Kind: "litestream", Replica: "s3://h", Path: "/d"}}
			in.Runbook.Primary.Activate = &runbooks.Activate{Method: "POST", URL: "http://127.0.0.1:1/adopt"}
			in.DataEpoch, in.DataKnown = 5, true
			w.points[5] = replica.Point{Epoch: 5, Position: "9", At: time.Now()}
		}, "did not take the data over"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, in := away(t)
			tt.spoil(w, &in)
			r := w.recoverFrom(t, in)
			if r.Outcome != OutcomeStayed || r.Active != "hot" || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%s on %s: %s\n%s", r.Outcome, r.Active, r.Reason, r.Markdown())
			}
			if w.states() != "hot=ready primary=maint" {
				t.Errorf("balancer: %s", w.states())
			}
			if len(r.Fenced) != 1 {
				t.Errorf("fenced: %v", r.Fenced)
			}
		})
	}
}

// Data that was written on the standby goes home, and its machine is given back last.
func TestFailbackWithDataFromAMachine(t *testing.T) {
	var asked string
	primary := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.String() }))
	defer primary.Close()
	w := ladderWorld("local")
	w.findings[primaryURL] = runbooks.Answers
	w.servers["primary"].State, w.servers["cold"].State = traffic.Maint, traffic.Ready
	w.points[5] = replica.Point{Epoch: 5, Position: "9", At: time.Now()}
	made, err := w.machines.Create(t.Context(), compute.Order{Key: "old", Service: "asr", Mode: ModeLive})
	if err != nil {
		t.Fatal(err)
	}
	in := w.start()
	in.Mode, in.DataEpoch, in.DataKnown, in.Fenced = ModeFailback, 5, true, []string{"primary"}
	in.Active = runbooks.Target{Name: "cold", URL: coldURL, Server: "cold", Address: "cold:80"}
	in.Made = &activities.Made{Tier: "cold", Machine: compute.Ref{ID: made.ID, Key: "old", Provision: *w.runbook.Tiers[1].Provision}, Address: "cold"}
	in.Runbook.Primary.Activate = &runbooks.Activate{Method: "POST", URL: primary.URL + "/adopt?from={from}&epoch={epoch}"}
	r := w.recoverFrom(t, in)
	if r.Outcome != OutcomeHome || r.Active != "primary" || r.Made != nil || len(w.machines.live()) != 0 {
		t.Fatalf("%s on %s, machines %v\n%s", r.Outcome, r.Active, w.machines.live(), r.Markdown())
	}
	if asked != "/adopt?from=5&epoch=7" || r.DataEpoch != 7 {
		t.Errorf("the primary was asked %q, data epoch %d", asked, r.DataEpoch)
	}
	if !r.Person || !strings.Contains(strings.Join(r.Advice, "\n"), "not replicated below epoch 7") {
		t.Errorf("nobody is told that the primary's data is not replicated: %q", r.Advice)
	}
}

// What fails after the data has moved gives it back, and the users do not wait for that.
func TestFailbackGivesTheDataBack(t *testing.T) {
	var asked []string
	primary := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.URL.String()) }))
	defer primary.Close()
	w, in := away(t)
	in.Runbook.Data = []runbooks.Data{{Kind: "litestream", Replica: "s3://h", Path: "/d"}}
	in.Runbook.Batches = &runbooks.Batches{Store: "s3://b"}
	in.DataEpoch, in.DataKnown = 5, true
	in.Runbook.Primary.Activate = &runbooks.Activate{Method: "POST", URL: primary.URL + "/adopt?from={from}&epoch={epoch}", Undo: primary.URL + "/return?epoch={epoch}"}
	w.points[5] = replica.Point{Epoch: 5, Position: "9", At: time.Now()}
	w.onApply = func() {
		w.heard[primaryURL] = "nine" // it is wrong once it has traffic
		if w.servers["primary"].State == traffic.Ready && w.servers["hot"].State == traffic.Ready {
			t.Error("both are on the traffic")
		}
	}
	r := w.recoverFrom(t, in)
	if r.Outcome != OutcomeStayed || r.Active != "hot" || r.DataEpoch != 5 || w.states() != "hot=ready primary=maint" {
		t.Errorf("%s on %s, data epoch %d, %s\n%s", r.Outcome, r.Active, r.DataEpoch, w.states(), r.Markdown())
	}
	if len(asked) != 2 || asked[1] != "/return?epoch=7" {
		t.Errorf("the primary was asked %q", asked)
	}
}

// A batch that does not come to rest would write on the standby while its data is on the way.
func TestFailbackWaitsForBatches(t *testing.T) {
	w, in := away(t)
	in.Runbook.Data = []runbooks.Data{{Kind: "litestream", Replica: "s3://h", Path: "/d"}}
	in.Runbook.Batches = &runbooks.Batches{Store: "s3://b"}
	in.Runbook.Primary.Activate = &runbooks.Activate{Method: "POST", URL: "http://127.0.0.1:1/adopt"}
	in.DataEpoch, in.DataKnown = 5, true
	r := w.recoverFrom(t, in, func(env *testsuite.TestWorkflowEnvironment) {
		env.OnActivity(acts.AwaitRest, mock.Anything, mock.Anything).Return(activities.AwaitRestResult{Working: []string{"night"}}, nil)
	})
	if r.Outcome != OutcomeStayed || !strings.Contains(r.Reason, "night") || w.states() != "hot=ready primary=maint" {
		t.Errorf("%s: %s, %s\n%s", r.Outcome, r.Reason, w.states(), r.Markdown())
	}
}
