package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// modelsWest is the bucket of the other site's models.
const modelsWest = "models-west"

// west is a site that takes over when the first one is gone: its own S3, with
// the model, its own load balancer, and a host on which a standby can be made.
type west struct {
	store   *harness.MinIOServer
	haproxy *harness.HAProxyServer
	front   string
	port    int
	mount   string
}

// A site stops whole: load balancer, S3, services. A person is asked before
// anything is made at the other one; where nobody answers, or answers about
// another plan, nothing is. Agreed to, the other site serves, through its own
// load balancer, from its own bucket.
func TestASiteStopsWhole(t *testing.T) {
	abreast(t)
	east := harnesstest.MinIO(t, "models")
	s := setScene(t, harness.SceneOptions{Held: true, Without: true})
	w := newWest(t, s)
	tier := w.tier(t)
	start(t, s, func(r *runbooks.Runbook, site *runbooks.Site) {
		r.Tiers = append(r.Tiers, tier)
		site.S3 = map[string]runbooks.S3{"default": east.Site(), "west": w.store.Site()}
		there := site.S3["west"]
		there.Buckets = []string{modelsWest}
		site.S3["west"] = there
	})
	for _, stop := range []func(){s.HAProxy.Kill, east.Kill, s.Primary.Kill, s.Hot.Kill} {
		stop()
	}

	// Silence is never a yes.
	since := time.Now()
	alert(t, s.Understudy, "firing", since)
	first := asked(t, s.Understudy)
	w.untouched(t, s)
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeFailed, string(runbooks.Dead))
	if at := step(r, runbooks.StepApprove, workflows.Refused); !strings.Contains(at.Reason, "nobody agreed") {
		t.Errorf("an answer that never came: %+v", at)
	}
	w.untouched(t, s)
	late := fmt.Sprintf(`{"question":%q,"plan":%q}`, first.Report.Question.ID, first.Report.Question.Plan)
	if a := decide(t, s.Understudy, "", "/recoveries/"+first.ID+"/approve", late, "late"); a.status != 409 || !strings.Contains(a.text, "is over") {
		t.Errorf("an answer after the time is told %+v", a)
	}

	// A person looks at the plan, and agrees to it.
	command(t, s.Understudy, 0, nil, "recover", "fun-asr", "--force", "--yes", "--reason", "the site is gone")
	second := asked(t, s.Understudy)
	q := second.Report.Question
	if a := decide(t, s.Understudy, "", "/recoveries/"+second.ID+"/approve", fmt.Sprintf(`{"question":%q,"plan":"0000"}`, q.ID), "stale"); a.status != 409 || !strings.Contains(a.text, "is not the one that is asked about") {
		t.Errorf("a yes to another plan is told %+v", a)
	}
	w.untouched(t, s)
	yes := fmt.Sprintf(`{"question":%q,"plan":%q}`, q.ID, q.Plan)
	if a := decide(t, s.Understudy, "", "/recoveries/"+second.ID+"/approve", yes, "yes"); a.status != 200 {
		t.Fatalf("the yes is told %+v", a)
	}
	if a := decide(t, s.Understudy, "", "/recoveries/"+second.ID+"/approve", yes, "a second click"); a.status != 409 || !strings.Contains(a.text, "has answered already") {
		t.Errorf("a second click is told %+v", a)
	}
	r = ended(t, s.Understudy, 2)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	if r.Tier != runbooks.TierCrossRegion || r.Made == nil {
		t.Errorf("tier %s, made %+v\n%s", r.Tier, r.Made, r.Markdown())
	}
	call(t, w.front, 5*time.Second).answers(t, 3)
	if at := step(r, runbooks.StepMount, workflows.Done); !strings.Contains(at.Reason, w.mount) {
		t.Errorf("mounted: %+v", at)
	}
	if !strings.Contains(r.Markdown(), "every byte of the model is as its manifest says") {
		t.Errorf("the model was not hashed behind the service:\n%s", r.Markdown())
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || !strings.Contains(string(mounts), w.mount) {
		t.Errorf("%s is not mounted: %v", w.mount, err)
	}
}

func newWest(t *testing.T, s *harness.Scene) *west {
	t.Helper()
	if _, err := harness.Find("s3fs", "s3fs"); err != nil {
		t.Skipf("missing: %v", err)
	}
	w := &west{store: harnesstest.MinIO(t, modelsWest), port: harness.FreePort(), mount: filepath.Join(s.Dir, "west", "asr")}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	model, err := harness.BuildModel(ctx, "asr", harness.ModelVersion)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.Upload(ctx, modelsWest, "asr", model); err != nil {
		t.Fatal(err)
	}
	address := harness.Address(harness.FreePort())
	w.front = "http://" + address
	w.haproxy, err = harness.HAProxy(ctx, t.TempDir(), fmt.Sprintf(`defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout check 200ms
frontend speech
  bind %s
  default_backend asr_west
backend asr_west
  option httpchk GET /health
  server west 127.0.0.1:1 check inter 250ms disabled
`, address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.haproxy.Kill)
	return w
}

// tier is the other site's as the runbook describes it.
func (w *west) tier(t *testing.T) runbooks.Tier {
	t.Helper()
	program, err := harness.BuildSite(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return runbooks.Tier{
		Name: runbooks.TierCrossRegion, Server: "west", URL: fmt.Sprintf("http://{address}:%d", w.port), Within: runbooks.Duration(patience),
		Approval:  &runbooks.Approval{Roles: []string{"approver"}, Timeout: runbooks.Duration(3 * time.Second)},
		Traffic:   &runbooks.Traffic{Kind: "haproxy", Sockets: []string{w.haproxy.Socket}, Backend: "asr_west", Front: w.front},
		Provision: &runbooks.Provision{Kind: "local", Command: []string{program, "asr", "--model", w.mount, "--listen", harness.Address(w.port)}},
		Volumes:   []runbooks.Volume{{Source: "s3://" + modelsWest + "/asr", Mount: w.mount, Verify: "size"}},
	}
}

// untouched fails where anything was made at the other site.
func (w *west) untouched(t *testing.T, s *harness.Scene) {
	t.Helper()
	var list triggers.MachineList
	if err := s.Understudy.Get(t.Context(), "/api/v1/machines", &list); err != nil || len(list.Machines) != 0 {
		t.Errorf("machines: %+v, %v", list, err)
	}
	if mounts := mountsBelow(t, s.Dir); len(mounts) != 0 {
		t.Errorf("mounted: %q", mounts)
	}
	if listening(w.port) == nil {
		t.Errorf("something listens at port %d", w.port)
	}
	if shown, err := w.haproxy.Command(t.Context(), "show servers state asr_west"); err != nil || !strings.Contains(shown, " west 127.0.0.1 ") {
		t.Errorf("the load balancer shows %s, %v", shown, err)
	}
}

// asked waits until the newest recovery asks whether it may.
func asked(t *testing.T, u *harness.Understudy) (detail triggers.RecoveryDetail) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		all, err := recoveries(ctx, u)
		if err != nil || len(all) == 0 {
			return fmt.Errorf("recoveries: %+v, %w", all, err)
		}
		detail = triggers.RecoveryDetail{}
		if err := u.Get(ctx, "/api/v1/recoveries/"+all[0].ID, &detail); err != nil {
			return err
		}
		if detail.Report.Question == nil {
			return fmt.Errorf("nothing is asked:\n%s", detail.Report.Markdown())
		}
		return nil
	})
	return detail
}
