package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

const versionKey = "model/version"

// expects writes the expected version into the config center; empty removes it.
func expects(t *testing.T, center *harness.EtcdServer, version string) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{center.Endpoint}, DialTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if version == "" {
		_, err = client.Delete(ctx, versionKey)
	} else {
		_, err = client.Put(ctx, versionKey, version)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A config center that is empty, hangs or is gone is no reason to refuse a
// standby: the last known version counts, and its age is told. A version that
// differs while all is well is a notice, and no reason to move.
func TestTheConfigCenter(t *testing.T) {
	abreast(t)
	center := harnesstest.Etcd(t)
	expects(t, center, harness.ModelVersion)
	s := setScene(t, harness.SceneOptions{Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Version.Expected = runbooks.Source{Kind: "etcd", Endpoint: center.Endpoint, Key: versionKey}
	}})

	// Somebody raises the expected version, and an alert fires though the service is well.
	before := balancer(t, s)
	expects(t, center, "2601.1")
	alert(t, s.Understudy, "firing", time.Now(), func(a map[string]any) { a["fingerprint"] = "drift" })
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeFalseAlarm, string(runbooks.Healthy))
	if notice := step(r, runbooks.StepDiagnose, workflows.Noted); !strings.Contains(notice.Reason, "expected 2601.1, got "+harness.ModelVersion) || !r.Person {
		t.Errorf("the notice: %+v\n%s", notice, r.Markdown())
	}
	unchanged(t, s, before)

	// It is put back, and then the config center loses its data.
	expects(t, center, harness.ModelVersion)
	refusals(t, s.Understudy, 0)
	expects(t, center, "")
	lastKnown(t, s.Understudy)

	// It hangs when the primary crashes.
	if err := center.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Primary.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	r = ended(t, s.Understudy, 2)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	tellsAge(t, r)
	servers(t, s, "MAINT", "UP")

	// It is gone when the standby crashes, and the primary is repaired.
	center.Thaw()
	center.Kill()
	if err := s.Primary.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Hot.Kill()
	r = ended(t, s.Understudy, 3)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	tellsAge(t, r)
	servers(t, s, "UP", "MAINT")
}

// The config center dies before Understudy was ever asked for a recovery: what
// was expected while it lived is known all the same.
func TestTheConfigCenterDiesFirst(t *testing.T) {
	abreast(t)
	center := harnesstest.Etcd(t)
	expects(t, center, harness.ModelVersion)
	s := setScene(t, harness.SceneOptions{Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Version.Expected = runbooks.Source{Kind: "etcd", Endpoint: center.Endpoint, Key: versionKey}
	}})
	center.Kill()
	s.Primary.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	tellsAge(t, r)
}

// The config center was never there. Then nobody can say what the standby should
// run: it is not switched to, but where the load balancer has moved already, the
// only server that answers is not taken away either.
func TestTheConfigCenterWasNeverThere(t *testing.T) {
	abreast(t)
	center := harnesstest.Etcd(t)
	center.Kill()
	s := setScene(t, harness.SceneOptions{Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Version.Expected = runbooks.Source{Kind: "etcd", Endpoint: center.Endpoint, Key: versionKey}
	}})
	movedAway(t, s)
	callers := call(t, s.Front, patience)
	callers.answers(t, 10)
	alert(t, s.Understudy, "firing", time.Now())
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeFailed, string(runbooks.Dead))
	if gate := step(r, runbooks.StepGate, workflows.Refused); !strings.Contains(gate.Reason, "the expected one is not known") || !r.Person {
		t.Errorf("the gate: %+v", gate)
	}
	callers.answers(t, 10)
	if _, failed := callers.counts(); failed != 0 {
		t.Errorf("%d requests failed: %v", failed, callers.why())
	}
	servers(t, s, "DOWN", "UP")
}

// tellsAge checks that the gate passed with the last known value, and says how old that is.
func tellsAge(t *testing.T, r workflows.Report) {
	t.Helper()
	if gate := step(r, runbooks.StepGate, workflows.Done); !strings.Contains(gate.Reason, "expected version: the last known value, ") || !strings.Contains(gate.Reason, "s old") {
		t.Errorf("the gate: %+v", gate)
	}
}

// lastKnown waits until the plan's gate works with the last known value.
func lastKnown(t *testing.T, u *harness.Understudy) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		gate, err := hotGate(ctx, u)
		if err == nil && (len(gate.Refusals) > 0 || !strings.Contains(strings.Join(gate.Notes, "; "), "the last known value")) {
			err = fmt.Errorf("%+v", gate)
		}
		return err
	})
}

// refusals waits until the plan's gate gives so many reasons against the standby.
func refusals(t *testing.T, u *harness.Understudy, want int) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		gate, err := hotGate(ctx, u)
		if err == nil && len(gate.Refusals) != want {
			err = fmt.Errorf("%+v", gate)
		}
		return err
	})
}

func hotGate(ctx context.Context, u *harness.Understudy) (struct{ Refusals, Notes []string }, error) {
	var detail triggers.PlanDetail
	err := u.Get(ctx, "/api/v1/services/fun-asr/plan", &detail)
	gate := detail.Gates[runbooks.TierHot]
	return struct{ Refusals, Notes []string }{gate.Refusals, gate.Notes}, err
}
