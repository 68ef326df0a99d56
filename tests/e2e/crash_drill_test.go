package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// drillMoments of drills of the cold tier, in the order in which they come. Each
// drill is killed more than once: it is brought to its end by an Understudy that
// knows of it from its history alone.
var drillMoments = [][]moment{
	{
		{name: "asked for"}, // as soon as it was taken
		{name: "the launch taken and not answered", arm: func(s *crashScene) { s.launch.Before("GET /", 1, s.strike) }},
		{name: "the machine is given back", arm: func(s *crashScene) { s.machine.After("POST ", 1, s.strikeOnceGone) }},
	},
	{
		{name: "the check", arm: func(s *crashScene) { s.epoch.Before(manifested, 1, s.kill) }},
		{name: "the launch answered", arm: func(s *crashScene) { s.machine.Before("GET /health", 1, s.kill) }},
	},
	{
		{name: "the mount in the middle of the model", arm: func(s *crashScene) { s.epoch.After(reading, 1, s.strike) }},
		{name: "the proof before", arm: func(s *crashScene) { s.machine.Before("POST ", 1, s.kill) }},
	},
	{
		{name: "the restore", arm: func(s *crashScene) { s.epoch.Before(restoring, 1, s.strike) }},
		{name: "the proof after", arm: func(s *crashScene) { s.machine.After("POST ", 1, s.kill) }},
	},
}

// A drill is killed with Understudy at each of its steps, loses its machine, and
// loses S3: it ends, people can read how, and nothing is left of it.
func TestADrillIsKilled(t *testing.T) {
	abreast(t)
	store := harnesstest.MinIO(t, "epochs")
	stock(t, store)
	s := &crashScene{options: crashOptions{Held: true, Cold: true}, store: store, epochs: "s3://epochs/drill"}
	s.Scene = setScene(t, harness.SceneOptions{
		Held: true, Without: true, Cold: true, Store: store, History: true,
		Edit: func(r *runbooks.Runbook, site *runbooks.Site) {
			s.wire(t, r, site)
			r.Policy.Limits.PerDay, site.Budgets.MachinesPerDay = 100, 100
		},
	})
	if err := s.StartUnderstudy(t.Context()); err != nil {
		t.Fatal(err)
	}
	guard(t, s.Understudy, atRest)
	write(t, s.History, rowsBefore)
	replicated(t, s.Scene, 0, rowsBefore)
	shown, err := s.Servers(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	for _, moments := range drillMoments {
		var what []string
		var before int64
		for i, m := range moments {
			what = append(what, m.name)
			s.killed = make(chan struct{})
			if m.arm != nil {
				m.arm(s)
			}
			if i > 0 {
				s.restart(t) // armed before: what goes on does so at once
			} else if before = s.askForDrill(t); m.arm == nil {
				s.kill()
			}
			s.awaitKill(t)
		}
		s.restart(t)
		s.auditDrill(t, "killed: "+strings.Join(what, ", "), before, workflows.OutcomeDrilled)
	}

	// The machine ends between two looks at it.
	s.machine.Before("POST ", 1, func() harness.Fate {
		s.endMachine(t)
		return harness.GoOn
	})
	s.auditDrill(t, "the machine is lost", s.askForDrill(t), workflows.OutcomeDrillFailed)

	// S3 ends once the model is loaded: nothing needs it any more, nor the way back.
	lost := make(chan struct{})
	lose := func() harness.Fate {
		store.Kill()
		close(lost)
		return harness.GoOn
	}
	s.machine.Before("POST ", 1, lose)
	s.auditDrill(t, "S3 is lost behind the model", s.askForDrill(t), workflows.OutcomeDrilled)
	<-lost
	if err := store.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}

	// It ends in the middle of the model: the drill would wait for it until the tier's time is over, and somebody ends it.
	lost = make(chan struct{})
	s.epoch.Before(reading, 1, lose)
	before := s.askForDrill(t)
	<-lost
	command(t, s.Understudy, 0, nil, "abort", fmt.Sprint("fun-asr-", before+1), "--reason", "S3 is away")
	s.auditDrill(t, "S3 is lost in the middle of the model", before, workflows.OutcomeAborted)
	if err := store.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, err := s.Servers(t.Context()); err != nil || fmt.Sprint(now) != fmt.Sprint(shown) {
		t.Errorf("HAProxy shows %v, before it was %v (%v)", now, shown, err)
	}
}

// askForDrill starts one, and returns the epoch of the one before it.
func (s *crashScene) askForDrill(t *testing.T) (before int64) {
	t.Helper()
	if last := guard(t, s.Understudy, atRest).LastDrill; last != nil {
		before = last.Epoch
	}
	command(t, s.Understudy, 0, []string{"fun-asr-"}, "drill", "fun-asr", "--tier", "cold", "--reason", "practice")
	return before
}

// auditDrill waits for the end of a drill that began after another one, and
// wants nothing to be left of it.
func (s *crashScene) auditDrill(t *testing.T, what string, before int64, outcome string) {
	t.Helper()
	g := guard(t, s.Understudy, func(g workflows.GuardState) bool {
		return atRest(g) && g.LastDrill != nil && g.LastDrill.Epoch > before
	})
	r := report(t, s.Understudy, fmt.Sprint("fun-asr-", g.LastDrill.Epoch))
	if r.Outcome != outcome || len(r.Orphans) != 0 || step(r, runbooks.StepOrphans, workflows.Done).Started.IsZero() || g.Active != runbooks.PrimaryName {
		t.Errorf("%s: %s, on %s, orphans %q\n%s", what, r.Outcome, g.Active, r.Orphans, r.Markdown())
	}
	var list triggers.MachineList
	if err := s.Understudy.Get(t.Context(), "/api/v1/machines", &list); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(list.Machines, func(m triggers.MachineDetail) bool { return m.State != compute.Gone }) || list.Problem != "" {
		t.Errorf("%s: machines: %+v", what, list)
	}
	if left := s.machines(t); len(left) != 0 {
		t.Errorf("%s: speech servers are left: %q", what, left)
	}
	if left := processes(t, "s3fs", s.Cold.Mount); len(left) != 0 {
		t.Errorf("%s: mounting programs are left: %q", what, left)
	}
	if mounts := mountsBelow(t, s.Dir); len(mounts) != 0 {
		t.Errorf("%s: mounted is still %q", what, mounts)
	}
	if left, err := os.ReadDir(filepath.Dir(s.Runbook.Data[0].Path)); err == nil && len(left) != 0 {
		t.Errorf("%s: of the restored history there is still %v", what, left)
	}
	nothingMade(t, s.Scene)
}

// machines are the processes that serve in the place of the cold standby.
func (s *crashScene) machines(t *testing.T) []string {
	t.Helper()
	return processes(t, "speech-site\x00asr", harness.Address(s.Cold.Port))
}

func (s *crashScene) endMachine(t *testing.T) {
	for _, text := range s.machines(t) {
		if pid, err := strconv.Atoi(text); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// strikeOnceGone lets the exchange go on, and ends Understudy in the moment in
// which the machine has ended.
func (s *crashScene) strikeOnceGone() harness.Fate {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for ctx.Err() == nil && listening(s.Cold.Port) == nil {
			time.Sleep(time.Millisecond)
		}
		s.strike()
	}()
	return harness.GoOn
}
