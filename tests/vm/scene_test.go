//go:build vm

package vm

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/asr"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// said is what the history has before the disaster.
const said = "said before the disaster"

// rung is a tier whose standby is a real machine.
type rung struct{ name, server, pool, image string }

// scene is a site with a primary, the load balancer and Understudy on this
// host, of which the standbys are real machines. Its history is in the store.
func (r *room) scene(t *testing.T, rungs ...rung) *harness.Scene {
	t.Helper()
	s, err := harness.StartScene(t.Context(), harness.SceneOptions{
		Dir: t.TempDir(), Held: true, Cold: true, History: true, Store: r.minio, Env: r.hypervisor.Env,
		Edit: func(book *runbooks.Runbook, site *runbooks.Site) {
			site.S3 = map[string]runbooks.S3{"default": harness.ForGuests(r.minio.Site())}
			book.Data[0].Path = "/data/history.db"
			book.Canary.Timeout = runbooks.Duration(time.Minute)
			book.Tiers = nil
			for _, one := range rungs {
				book.Tiers = append(book.Tiers, r.tier(one, book.Data[0].Path))
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("understudy's log:\n%s", s.Understudy.Tail(8000))
		}
		s.Stop()
		r.clear(t, s.Runbook)
	})
	history, err := asr.OpenHistory(t.Context(), s.History)
	if err != nil {
		t.Fatal(err)
	}
	defer history.Close()
	if err := history.Add(t.Context(), asr.Entry{RawText: said}); err != nil {
		t.Fatal(err)
	}
	s.Litestream.Stop(20 * time.Second) // it brings what is left to the store first
	return s
}

func (r *room) tier(one rung, history string) runbooks.Tier {
	tier := runbooks.Tier{
		Name: one.name, Server: one.server, URL: fmt.Sprintf("http://{address}:%d", port), Within: runbooks.Duration(patience),
		Provision: &runbooks.Provision{
			Kind: "libvirt", URI: r.hypervisor.URI, Pool: one.pool, Ports: []int{port}, Command: command("--history", history),
			Placements: []runbooks.Placement{{Type: "qemu", Image: one.image, Memory: 768, CPUs: 1}},
		},
		Volumes: []runbooks.Volume{{Source: source, Mount: "/models/asr"}},
	}
	if one.name == runbooks.TierCrossRegion {
		tier.Approval = &runbooks.Approval{Waived: true}
	}
	return tier
}

// strike ends all that serves, and alerts.
func strike(t *testing.T, s *harness.Scene) {
	t.Helper()
	s.Primary.Kill()
	s.Hot.Kill()
	alert := map[string]any{"version": "4", "status": "firing", "receiver": "understudy", "alerts": []any{map[string]any{
		"status": "firing", "fingerprint": "f1", "startsAt": time.Now().Format(time.RFC3339Nano), "endsAt": "0001-01-01T00:00:00Z",
		"labels": map[string]string{"alertname": "SpeechServiceDown", "service": s.Runbook.Service},
	}}}
	if err := s.Understudy.Post(t.Context(), "/api/v1/alerts", alert, new(any)); err != nil {
		t.Fatal(err)
	}
}

// recovered waits until the first recovery has ended on a tier, and returns its
// report. Clients then reach the machine, with what the history had.
func recovered(t *testing.T, s *harness.Scene, tier string) workflows.Report {
	t.Helper()
	r := ended(t, s.Understudy)
	if r.Outcome != workflows.OutcomeRecovered || r.Tier != tier {
		t.Fatalf("%s by %s: %s\n%s", r.Outcome, r.Tier, r.Reason, r.Markdown())
	}
	if got := transcribed(t, s.Front); !strings.Contains(got, canary) {
		t.Errorf("heard %s, want %s", got, canary)
	}
	if answer := get(t, s.Front+"/history"); !strings.Contains(answer, said) {
		t.Errorf("the history is %s", answer)
	}
	return r
}

// ended waits until the first recovery has ended, and returns its report.
func ended(t *testing.T, u *harness.Understudy) workflows.Report {
	t.Helper()
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		var all []triggers.Recovery
		err := u.Get(t.Context(), "/api/v1/recoveries", &all)
		if err == nil && len(all) > 0 && all[0].Outcome != triggers.Running {
			var detail triggers.RecoveryDetail
			if err := u.Get(t.Context(), "/api/v1/recoveries/"+all[0].ID, &detail); err != nil {
				t.Fatal(err)
			}
			return detail.Report
		}
		if time.Since(began) > patience {
			t.Fatalf("recoveries: %+v, %v", all, err)
		}
	}
}

// ordered is when the machine that took over was ordered.
func ordered(r workflows.Report) time.Time {
	for _, at := range r.Timeline {
		if at.Tier == r.Tier && at.Step == runbooks.StepProvision {
			return at.Started
		}
	}
	return r.Started
}

// clear removes all machines of a runbook.
func (r *room) clear(t *testing.T, book runbooks.Runbook) {
	ctx := context.WithoutCancel(t.Context())
	for _, tier := range book.Tiers {
		all, err := r.provider.List(ctx, *tier.Provision, book.Service)
		if err != nil {
			t.Error(err)
		}
		for _, m := range all {
			if err := r.provider.Terminate(ctx, compute.Ref{ID: m.ID, Provision: *tier.Provision}); err != nil {
				t.Error(err)
			}
		}
	}
}

// volumesOf are those that machines have in a pool.
func (r *room) volumesOf(t *testing.T, pool string) (names []string) {
	t.Helper()
	text, err := r.hypervisor.Virsh(t.Context(), "vol-list", "--pool", pool)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 && strings.HasPrefix(fields[0], "understudy+") {
			names = append(names, fields[0])
		}
	}
	return names
}
