//go:build vm

package killed

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	service = "crashed"
	// patience is how long a step of a boot may take under emulation, on a busy computer.
	patience = 5 * time.Minute
)

// Understudy is killed at each step of one boot. What goes on afterwards is the
// same order: in the end there is one machine, and it serves.
func TestKillsAtEachStepOfABootMakeOneMachine(t *testing.T) {
	if err := harness.FindVM(); err != nil {
		t.Skip("missing:", err)
	}
	machines, err := harness.SpeechMachines(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(machines.Close)
	s, err := harness.StartScene(t.Context(), harness.SceneOptions{
		Dir: t.TempDir(), Service: service, Held: true, Cold: true, Env: machines.Env, Inter: time.Second, Fall: 5,
		Edit: func(book *runbooks.Runbook, site *runbooks.Site) {
			cold, _ := book.TierNamed(runbooks.TierCold)
			book.Tiers = []runbooks.Tier{machines.Tier(cold.Volumes[0].Source, harness.FreePort())}
			book.Tiers[0].Within = runbooks.Duration(2 * patience)
			book.Canary.Timeout, book.Policy.Deadline = runbooks.Duration(time.Minute), runbooks.Duration(20*time.Minute)
			for name, store := range site.S3 {
				site.S3[name] = harness.ForGuests(store)
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
	})
	volumes := func(suffix string) []string {
		files, err := filepath.Glob(filepath.Join(machines.Dir, "pools", harness.MachinePool, "understudy+*-"+service+"-*+"+suffix))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	domains := func() (names []string) {
		all, err := machines.Virsh(t.Context(), "list", "--all", "--name")
		if err != nil {
			return nil // it is asked again
		}
		for name := range strings.FieldsSeq(all) {
			if strings.Contains(name, "-"+service+"-") {
				names = append(names, name)
			}
		}
		return names
	}
	guests := func() (n int) {
		for _, name := range domains() {
			n += len(machines.Guests(name + ","))
		}
		return n
	}
	says := func(text string) func() bool {
		return func() bool {
			for _, file := range volumes("console*") {
				if console, err := os.ReadFile(file); err == nil && bytes.Contains(console, []byte(text)) {
					return true
				}
			}
			return false
		}
	}
	s.Primary.Kill()
	s.Hot.Kill()
	alert := map[string]any{"version": "4", "status": "firing", "receiver": "understudy", "alerts": []any{map[string]any{
		"status": "firing", "fingerprint": "f1", "startsAt": time.Now().Format(time.RFC3339Nano), "endsAt": "0001-01-01T00:00:00Z",
		"labels": map[string]string{"alertname": "SpeechServiceDown", "service": service},
	}}}
	if err := s.Understudy.Post(t.Context(), "/api/v1/alerts", alert, new(any)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name    string
		reached func() bool
	}{
		{"its first volume is there", func() bool { return len(volumes("*")) > 0 }},
		{"it is defined", func() bool { return len(domains()) > 0 }},
		{"its processor runs", func() bool { return guests() > 0 }},
		{"its network is up", says("step network done")},
		{"its model is there", says("step mount done")},
		{"its service starts", says("step start done")},
	} {
		for began := time.Now(); !step.reached(); time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > patience {
				t.Fatalf("never: %s", step.name)
			}
		}
		s.Understudy.Kill()
		if n := guests(); n > 1 {
			t.Errorf("%d machines run when %s", n, step.name)
		}
		if err := s.Understudy.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r := ended(t, s.Understudy)
	if r.Outcome != workflows.OutcomeRecovered || r.Tier != runbooks.TierCold {
		t.Fatalf("%s by %q: %s\n%s", r.Outcome, r.Tier, r.Reason, r.Markdown())
	}
	if found := domains(); len(found) != 1 || guests() != 1 || len(volumes("disk*")) != 1 {
		t.Errorf("domains %v, %d processes, disks %v", found, guests(), volumes("disk*"))
	}
	for _, rec := range r.Timeline {
		if rec.Step == runbooks.StepLoad && !strings.Contains(rec.Reason, "its boot: ") {
			t.Errorf("the boot is not in the timeline: %+v", rec)
		}
	}
}

// ended waits until the recovery has ended, and returns its report.
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
