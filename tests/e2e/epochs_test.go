package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/epoch/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/workflows"
)

const bucket = "epochs"

// keeps has a site keep its epochs in a bucket.
func keeps(store *harness.MinIOServer) func(*runbooks.Runbook, *runbooks.Site) {
	return func(_ *runbooks.Runbook, site *runbooks.Site) {
		site.S3 = map[string]runbooks.S3{"default": store.Site()}
		site.Epochs = &runbooks.EpochStore{Kind: "s3", URL: "s3://" + bucket + "/understudy"}
	}
}

// recorded is what the store holds.
func recorded(t *testing.T, store *harness.MinIOServer) epoch.Record {
	t.Helper()
	client, err := store.Clients().For(bucket)
	if err != nil {
		t.Fatal(err)
	}
	var r epoch.Record
	eventually(t, func(ctx context.Context) (err error) {
		r, err = s3store.New(client, s3client.Location{Bucket: bucket, Key: "understudy"}).Read(ctx, "fun-asr")
		return err
	})
	return r
}

// A hot switch does not wait for the epoch store. It says so, and makes the
// record good once the store is back.
func TestTheEpochStoreIsAway(t *testing.T) {
	abreast(t)
	store := harnesstest.MinIO(t, bucket)
	s := setScene(t, harness.SceneOptions{Edit: func(r *runbooks.Runbook, site *runbooks.Site) {
		keeps(store)(r, site)
		r.Policy.Confirm = runbooks.Duration(10 * time.Second)
	}})
	store.Kill()
	s.Primary.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	r := meanwhile(t, s.Understudy, func(r workflows.Report) bool { return !r.Verified.IsZero() })
	servers(t, s, "MAINT", "UP")
	if !strings.Contains(r.Claim, "the epoch store is away") || !strings.Contains(step(r, runbooks.StepCutOver, workflows.Done).Reason, "goes on without it") {
		t.Errorf("it does not say that the store is away: %q\n%s", r.Claim, r.Markdown())
	}
	if err := store.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = meanwhile(t, s.Understudy, func(r workflows.Report) bool { return strings.Contains(r.Claim, "recorded later") })
	if r.Outcome != "" {
		t.Errorf("the record was made good only after the end: %s", r.Outcome)
	}
	if kept := recorded(t, store); kept.Epoch != r.Epoch || !strings.HasPrefix(kept.Holder, r.Recovery) {
		t.Errorf("the store holds %+v", kept)
	}
	wantOutcome(t, ended(t, s.Understudy, 1), workflows.OutcomeRecovered, string(runbooks.Dead))
	guard(t, s.Understudy, atRest)
	if kept := recorded(t, store); kept.Active != runbooks.TierHot {
		t.Errorf("the store holds %+v", kept)
	}
}

// Whoever loses the data directory loses no order: the next epoch is higher than
// any before.
func TestTheDataDirectoryIsGone(t *testing.T) {
	for name, withStore := range map[string]bool{"with the store": true, "without a store": false} {
		t.Run(name, func(t *testing.T) {
			abreast(t)
			var o harness.SceneOptions
			if withStore {
				o.Edit = keeps(harnesstest.MinIO(t, bucket))
			}
			s := setScene(t, o)
			s.Primary.Kill()
			alert(t, s.Understudy, "firing", time.Now())
			first := ended(t, s.Understudy, 1)
			wantOutcome(t, first, workflows.OutcomeRecovered, string(runbooks.Dead))
			// A second one, so that epochs are not only as many as guards were born.
			if err := s.Primary.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.Hot.Kill()
			second := ended(t, s.Understudy, 2)
			wantOutcome(t, second, workflows.OutcomeRecovered, string(runbooks.Dead))
			guard(t, s.Understudy, atRest)
			if err := s.Hot.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}

			s.Understudy.Kill()
			if err := os.RemoveAll(s.Understudy.Options.Site.DataDir); err != nil {
				t.Fatal(err)
			}
			if err := s.Understudy.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			g := guard(t, s.Understudy, atRest)
			if g.Active != runbooks.PrimaryName || g.Born == "" {
				t.Errorf("the new guard: %+v", g)
			}
			s.Primary.Kill()
			alert(t, s.Understudy, "firing", time.Now())
			third := ended(t, s.Understudy, 1)
			wantOutcome(t, third, workflows.OutcomeRecovered, string(runbooks.Dead))
			if !(first.Epoch < second.Epoch && second.Epoch < third.Epoch) {
				t.Errorf("epochs %d, %d, and after the loss %d", first.Epoch, second.Epoch, third.Epoch)
			}
			servers(t, s, "MAINT", "UP")
		})
	}
}

// Two Understudys look after one service, and hear of one outage at once. One of
// them acts; the other says who does, keeps out of the way however often the
// alert is repeated, and learns where the service runs.
func TestTwoUnderstudys(t *testing.T) {
	abreast(t)
	store := harnesstest.MinIO(t, bucket)
	var site runbooks.Site
	s := setScene(t, harness.SceneOptions{Edit: func(r *runbooks.Runbook, sf *runbooks.Site) {
		keeps(store)(r, sf)
		sf.Epochs.Patience = runbooks.Duration(3 * time.Second) // a store that is slow, and not away, is no licence to act
		r.Policy.Confirm = runbooks.Duration(4 * time.Second)
		site = *sf
	}})
	second, err := harness.StartUnderstudy(t.Context(), harness.UnderstudyOptions{
		Dir: s.Dir, Name: "second", Site: site, Runbooks: []runbooks.Runbook{s.Runbook}, Env: s.Understudy.Options.Env,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the second one's log:\n%s", second.Tail(4000))
		}
		second.Kill()
	})
	both := []*harness.Understudy{s.Understudy, second}
	since := time.Now()
	tell := func() {
		var wg sync.WaitGroup
		for _, u := range both {
			wg.Go(func() { alert(t, u, "firing", since) })
		}
		wg.Wait()
	}

	s.Primary.Kill()
	tell()
	// One ends at once; that is the one that stands down.
	var winner, loser *harness.Understudy
	eventually(t, func(ctx context.Context) error {
		for i, u := range both {
			all, err := recoveries(ctx, u)
			if err != nil {
				return err
			}
			if len(all) > 0 && all[0].Outcome == workflows.OutcomeSuperseded {
				winner, loser = both[1-i], u
				return nil
			}
		}
		return fmt.Errorf("nobody stands down")
	})
	acting := recorded(t, store)
	down := ended(t, loser, 1)
	if !strings.Contains(down.Reason, acting.Holder) || !strings.Contains(down.Reason, "stands down") {
		t.Errorf("%s acts, and the other says: %s", acting.Holder, down.Reason)
	}
	// While the recovery runs, the alert is repeated, and another one comes: it would have a higher epoch.
	meanwhile(t, winner, func(r workflows.Report) bool { return !r.Verified.IsZero() })
	tell()
	guard(t, loser, func(g workflows.GuardState) bool {
		return atRest(g) && decisions(g, workflows.Ignore, "has answered this alert") == 1
	})
	alert(t, loser, "firing", time.Now(), func(a map[string]any) { a["fingerprint"] = "f2" })
	again := ended(t, loser, 2)
	wantOutcome(t, again, workflows.OutcomeSuperseded, string(runbooks.Dead))
	if again.Epoch <= acting.Epoch || !strings.Contains(again.Reason, "its recovery has not ended") {
		t.Errorf("epoch %d: %s", again.Epoch, again.Reason)
	}
	if r := meanwhile(t, winner, func(workflows.Report) bool { return true }); r.Outcome != "" {
		t.Fatalf("the recovery has ended too early to see: %s", r.Markdown())
	}
	if now := recorded(t, store); now != acting {
		t.Errorf("the running recovery was overtaken by %+v", now)
	}

	r := ended(t, winner, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	servers(t, s, "MAINT", "UP")
	if kept := recorded(t, store); kept.Holder != acting.Holder || kept.Active != runbooks.TierHot {
		t.Errorf("the store holds %+v", kept)
	}
	// After its end the other one learns where the service runs, and has nothing to do.
	tell()
	g := guard(t, loser, func(g workflows.GuardState) bool { return atRest(g) && g.Active == runbooks.TierHot })
	if decisions(g, workflows.Start, "") != count(t, loser) {
		t.Errorf("the guard: %+v", g)
	}
	all, err := recoveries(t.Context(), loser)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if cut := step(report(t, loser, one.ID), runbooks.StepCutOver, workflows.Done); one.Outcome != workflows.OutcomeSuperseded || !cut.Started.IsZero() {
			t.Errorf("both acted: %+v", one)
		}
	}
	if len(all) != 2 {
		t.Errorf("%d recoveries that stand down", len(all))
	}
	if told := s.Slack.Transcript(); !strings.Contains(told, "superseded") || !strings.Contains(told, strings.TrimPrefix(acting.Holder, r.Recovery+" @ ")) {
		t.Errorf("people were told:\n%s", told)
	}

	// The standby dies, the primary is repaired: again one of them acts, and the traffic goes home.
	if err := s.Primary.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Hot.Kill()
	eventually(t, func(ctx context.Context) error {
		kept := recorded(t, store)
		if kept.Active != runbooks.PrimaryName || kept.Epoch <= acting.Epoch {
			return fmt.Errorf("the store holds %+v", kept)
		}
		return nil
	})
	tell() // who stood down this time looks again when there is news
	for _, u := range both {
		guard(t, u, func(g workflows.GuardState) bool { return atRest(g) && g.Active == runbooks.PrimaryName })
	}
	servers(t, s, "UP", "MAINT")
}
