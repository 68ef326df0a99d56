package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/stage"
	"github.com/understudy-dr/understudy/workflows"
)

// A machine passes every gate but the last: it hears wrongly through the front
// door. Nothing is left of it: no machine, no mount, no data, no key, and its
// place at the load balancer is free again.
func TestATierFailsAtItsLastGate(t *testing.T) {
	abreast(t)
	s := coldScene(t, harness.SceneOptions{Held: true, History: true, Without: true})
	fault, err := json.Marshal(stage.Fault{Mode: stage.Wrong, After: 1})
	if err != nil {
		t.Fatal(err)
	}
	start(t, s, func(r *runbooks.Runbook, _ *runbooks.Site) {
		p := r.Tiers[1].Provision
		p.Command = append(p.Command, "--fault", string(fault))
		r.Tiers[1].Within = runbooks.Duration(15 * time.Second) // the canary is sent again until then
	})
	write(t, s.History, rowsBefore)
	replicated(t, s, 0, rowsBefore)
	s.Primary.Kill()
	s.Hot.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeFailed, string(runbooks.Dead))
	if at := step(r, runbooks.StepVerify, workflows.Failed); at.Tier != runbooks.TierCold || !strings.Contains(at.Reason, "heard") {
		t.Errorf("verify: %+v\n%s", at, r.Markdown())
	}
	if r.Made != nil || r.Active != runbooks.PrimaryName {
		t.Errorf("made %+v, active %s", r.Made, r.Active)
	}
	nothingLeft(t, s)
	if g := guard(t, s.Understudy, atRest); g.Made != nil || g.Active != runbooks.PrimaryName {
		t.Errorf("the guard: %+v", g)
	}
}

// S3 accepts and never answers. A hot standby takes over all the same; the cold
// one is refused within its time, also where S3 falls silent in the middle of
// the model. Nothing is left of the tries, and no process hangs at a mount. Once
// S3 answers, the next try works.
func TestS3FallsSilent(t *testing.T) {
	abreast(t)
	s := coldScene(t, harness.SceneOptions{Held: true, Without: true})
	wire, err := harness.NewWire(strings.TrimPrefix(s.Cold.MinIO.Endpoint, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(wire.Close)
	const within = 12 * time.Second
	start(t, s, func(r *runbooks.Runbook, site *runbooks.Site) {
		store := s.Cold.MinIO.Site()
		store.Endpoint = "http://" + wire.Address
		site.S3 = map[string]runbooks.S3{"default": store}
		r.Tiers[1].Within = runbooks.Duration(within)
		r.Policy.Cooldown = runbooks.Duration(100 * time.Millisecond)
		r.Traffic.Reconcile = runbooks.Duration(time.Hour) // a person is to be the first who finds the standby dead
	})

	wire.Stall()
	s.Primary.Kill()
	since := time.Now()
	alert(t, s.Understudy, "firing", since)
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	if r.Tier != runbooks.TierHot {
		t.Errorf("tier %s\n%s", r.Tier, r.Markdown())
	}
	alert(t, s.Understudy, "resolved", since)
	guard(t, s.Understudy, func(g workflows.GuardState) bool {
		return atRest(g) && g.Active == runbooks.TierHot && len(g.Seen) == 1 && g.Seen[0].Resolved
	})

	s.Hot.Kill()
	again := func(epoch int) workflows.Report {
		command(t, s.Understudy, 0, nil, "recover", "fun-asr", "--force", "--yes", "--reason", "it is gone")
		r := ended(t, s.Understudy, epoch)
		guard(t, s.Understudy, func(g workflows.GuardState) bool { return atRest(g) && g.Last != nil && g.Last.Epoch == r.Epoch })
		return r
	}
	r = again(2)
	wantOutcome(t, r, workflows.OutcomeFailed, string(runbooks.Dead))
	if at := step(r, runbooks.StepCheck, workflows.Refused); !strings.Contains(at.Reason, "MANIFEST.sha256") || at.Ended.Sub(at.Started) > within {
		t.Errorf("the check: %+v\n%s", at, r.Markdown())
	}
	nothingLeft(t, s)

	if err := wire.Heal(); err != nil {
		t.Fatal(err)
	}
	silent := wire.StallAfter(8 << 20) // of 37 MB
	r = again(3)
	wantOutcome(t, r, workflows.OutcomeFailed, string(runbooks.Dead))
	select {
	case <-silent:
	default:
		t.Error("S3 did not fall silent in the middle of the model")
	}
	if at := step(r, runbooks.StepMount, workflows.Failed); at.Reason == "" {
		t.Errorf("the mount did not fail\n%s", r.Markdown())
	}
	nothingLeft(t, s)

	if err := wire.Heal(); err != nil {
		t.Fatal(err)
	}
	r = again(4)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	call(t, s.Front, 5*time.Second).answers(t, 3)
}

// nothingLeft fails where anything is left of a cold tier that was tried.
func nothingLeft(t *testing.T, s *harness.Scene) {
	t.Helper()
	nothingMade(t, s)
	data := s.Understudy.Options.Site.DataDir
	for _, made := range []string{filepath.Join(data, "machines"), s.Cold.Mount} {
		eventually(t, func(context.Context) error { // the kernel takes a moment for what was killed
			if left := processes(t, made); len(left) > 0 {
				return fmt.Errorf("processes %q of %s are left, in state %s", left, made, states(left))
			}
			return nil
		})
	}
	if stuck := states(processes(t, s.Dir)); strings.Contains(stuck, "D") {
		t.Errorf("a process hangs: %s", stuck)
	}
	for _, private := range []string{filepath.Join(data, "volumes"), filepath.Join(data, "restored")} {
		_ = filepath.WalkDir(private, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() && !strings.HasSuffix(path, ".lock") {
				t.Errorf("%s is left", path)
			}
			return nil
		})
	}
	if len(s.Runbook.Data) > 0 {
		if _, err := os.Stat(s.Runbook.Data[0].Path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the restored history is left: %v", err)
		}
	}
}

// states are those of processes, as the kernel names them.
func states(pids []string) (all string) {
	for _, pid := range pids {
		stat, _ := os.ReadFile("/proc/" + pid + "/stat") // it may have ended meanwhile
		if fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])); len(fields) > 0 {
			all += fields[0]
		}
	}
	return all
}

// The primary comes back after the cold standby has taken over, and its
// Litestream goes on writing where it did. What the standby writes is safe, below
// a prefix of its own; what was missing at the cut is what the report says.
func TestThePrimaryComesBackAndWrites(t *testing.T) {
	abreast(t)
	s := coldScene(t, harness.SceneOptions{Held: true, History: true})
	write(t, s.History, rowsBefore)
	arrived := replicated(t, s, 0, rowsBefore)
	s.Litestream.Kill()
	write(t, s.History, 2) // these never arrive
	s.Primary.Kill()
	s.Hot.Kill()
	since := time.Now()
	alert(t, s.Understudy, "firing", since)
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	path := s.Runbook.Data[0].Path
	kept, missing, oldest := compare(t, s.History, path)
	if kept != rowsBefore || missing != 2 || oldest.Before(arrived.At) {
		t.Errorf("%d rows are there, %d are missing, the oldest of %s; the replica was at %s", kept, missing, oldest, arrived.At)
	}
	// Everything up to the point is there, and the lag at the cut spans exactly what is not.
	if len(r.Restored) != 1 || r.Restored[0].Position != arrived.Position || r.Restored[0].Epoch != 0 || r.Restored[0].Check != fmt.Sprint(rowsBefore) {
		t.Errorf("restored: %+v, not from %+v", r.Restored, arrived)
	}
	if want := r.Trigger.OutageSince.Sub(arrived.At).Seconds(); r.RPOSeconds != want || r.RPOSeconds < r.Trigger.OutageSince.Sub(oldest).Seconds() {
		t.Errorf("the recovery point is %.3f s before the outage, not %.3f", r.RPOSeconds, want)
	}

	// The standby's own Litestream writes to the new prefix, the revived primary's to the old one, at the same time.
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	own, err := harness.Litestream(ctx, harness.LitestreamOptions{Dir: dir, DB: path, Replica: replica.Prefix(s.Runbook.Data[0].Replica, 1), S3: s.Cold.MinIO.Site()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Kill)
	if s.Litestream, err = harness.Start(ctx, s.Litestream.Spec); err != nil {
		t.Fatal(err)
	}
	if err := s.Primary.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		write(t, path, 1)
		write(t, s.History, 2)
	}
	before := intact(t, path)
	if before < rowsBefore+3 {
		t.Errorf("the standby's history has %d rows", before)
	}
	replicated(t, s, 0, rowsBefore+8) // the old prefix goes its own way
	point := replicated(t, s, 1, before)
	if point.Epoch != 1 {
		t.Errorf("the standby's prefix is at %+v", point)
	}
	if _, strangers, _ := compare(t, path, s.History); strangers < 3 {
		t.Errorf("the histories were to differ, and do in %d rows", strangers)
	}
	if after := intact(t, path); after < before {
		t.Errorf("the standby's history had %d rows, and has %d", before, after)
	}
	if now, err := s.Servers(ctx); err != nil || now["primary"] != "MAINT" {
		t.Errorf("HAProxy shows %v, %v", now, err)
	}
}

// compare holds one history against another: how many rows of it are there, how
// many are missing, and when the oldest of those was written.
func compare(t *testing.T, of, in string) (kept, missing int, oldest time.Time) {
	t.Helper()
	there := map[string]bool{}
	for _, stamp := range stamps(t, in) {
		there[stamp] = true
	}
	for _, stamp := range stamps(t, of) {
		if there[stamp] {
			kept++
			continue
		}
		missing++
		if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return kept, missing, oldest
}

// stamps are the times at which the rows of a history were written.
func stamps(t *testing.T, file string) (all []string) {
	t.Helper()
	rows, err := history(t, file, "ro").QueryContext(t.Context(), "select timestamp from history order by id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var stamp string
		if err := rows.Scan(&stamp); err != nil {
			t.Fatal(err)
		}
		all = append(all, stamp)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
