package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// rowsLost were written on the primary and never replicated, rowsAway on the standby.
	rowsLost = 2
	rowsAway = 4
)

// homecoming is a scene whose service runs on a cold standby that has written
// rows, and whose primary is mended, with rows of its own that nobody else has.
type homecoming struct {
	*harness.Scene
	// What Understudy says to each part goes through a tap.
	primary, front, haproxy, host *harness.Tap
}

func setHomecoming(t *testing.T, pause time.Duration) *homecoming {
	t.Helper()
	s := &homecoming{Scene: coldScene(t, harness.SceneOptions{Held: true, History: true, Home: true, Without: true})}
	tap := func(make func(part string) (*harness.Tap, error), part string) *harness.Tap {
		tapped, err := make(strings.TrimPrefix(part, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tapped.Close)
		return tapped
	}
	s.primary, s.front = tap(harness.TapHTTP, s.Primary.URL), tap(harness.TapHTTP, s.Front)
	s.haproxy = tap(harness.TapLine, s.HAProxy.Socket)
	calls := s.Runbook.Primary.Activate
	door := calls.URL[:strings.Index(calls.URL, "/take-over")]
	s.host = tap(harness.TapHTTP, door)
	start(t, s.Scene, func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Primary.URL, r.Traffic.Front, r.Traffic.Sockets = s.primary.URL(), s.front.URL(), []string{s.haproxy.Address}
		r.Primary.Activate = &runbooks.Activate{URL: strings.Replace(calls.URL, door, s.host.URL(), 1), Undo: strings.Replace(calls.Undo, door, s.host.URL(), 1)}
		r.Policy.Confirm, r.Policy.ConfirmEvery, r.Policy.Pause = runbooks.Duration(time.Second), runbooks.Duration(200*time.Millisecond), runbooks.Duration(pause)
	})
	write(t, s.History, rowsBefore)
	replicated(t, s.Scene, 0, rowsBefore)
	s.Litestream.Kill()
	write(t, s.History, rowsLost)
	s.Primary.Kill()
	s.Hot.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	if r := ended(t, s.Understudy, 1); r.Tier != runbooks.TierCold {
		t.Fatalf("%s on %s: %s\n%s", r.Outcome, r.Tier, r.Reason, r.Markdown())
	}
	guard(t, s.Understudy, func(g workflows.GuardState) bool { return g.Running == nil && g.Active == runbooks.TierCold })
	write(t, s.away(), rowsAway)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Mend(ctx, door); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		logs, _ := filepath.Glob(filepath.Join(s.Dir, "at-home-*.log"))
		for _, log := range append(logs, filepath.Join(s.Dir, "host.log")) {
			if text, err := os.ReadFile(log); t.Failed() && err == nil {
				t.Logf("%s:\n%s", log, text[max(0, len(text)-2000):])
			}
		}
	})
	return s
}

// away is the history on the standby.
func (s *homecoming) away() string { return s.Runbook.Data[0].Path }

// oneWriter watches until the test ends that primary and standby never serve at once.
func (s *homecoming) oneWriter(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			if now, err := s.Servers(ctx); err == nil && strings.HasPrefix(now["primary"], "UP") && strings.HasPrefix(now["cold"], "UP") {
				t.Errorf("both serve: %v", now)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { stop(); watching.Wait() })
}

// Understudy is killed at each step of one way home, again and again. The way is
// finished all the same: all rows are at home, those that only the old primary
// had are kept and listed, nothing is left of the standby but its history, and at
// no moment did two servers serve.
func TestTheWayHomeIsKilledAtEachStep(t *testing.T) {
	abreast(t)
	s := setHomecoming(t, 2*time.Minute)
	s.oneWriter(t)
	rows := intact(t, s.away())

	killed := make(chan struct{}, 1)
	kill := func() harness.Fate {
		s.Understudy.Kill()
		killed <- struct{}{}
		return harness.Drop
	}
	moments := []struct {
		name string
		arm  func()
	}{
		{"the primary's proof, before", func() { s.primary.Before("POST ", 1, kill) }},
		{"the primary's proof, after", func() { s.primary.After("POST ", 1, kill) }},
		{"the quiesce, before", func() { s.haproxy.Before("cold state maint", 1, kill) }},
		{"the quiesce, after", func() { s.haproxy.After("cold state maint", 1, kill) }},
		{"the data goes home, before", func() { s.host.Before("POST /take-over", 1, kill) }},
		{"the data is home, its answer lost", func() { s.host.After("POST /take-over", 1, kill) }},
		{"the switch, before", func() { s.haproxy.Before("primary state ready", 1, kill) }},
		{"the switch, after", func() { s.haproxy.After("primary state ready", 1, kill) }},
		{"the front door's canary, after", func() { s.front.After("POST ", 1, kill) }},
		{"the confirm window", func() { s.front.After("POST ", 2, kill) }},
	}
	moments[0].arm()
	command(t, s.Understudy, 0, nil, "failback", "fun-asr", "--reason", "it is mended")
	for i, moment := range moments {
		select {
		case <-killed:
		case <-time.After(patience):
			r := ended(t, s.Understudy, 2)
			t.Fatalf("the moment never came: %s\n%s", moment.name, r.Markdown())
		}
		if i+1 < len(moments) {
			moments[i+1].arm()
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := s.Understudy.Restart(ctx)
		cancel()
		if err != nil {
			t.Fatalf("%s: %v", moment.name, err)
		}
	}
	// The machine takes a moment to end.
	meanwhile(t, s.Understudy, func(r workflows.Report) bool {
		return step(r, runbooks.StepRelease, workflows.InProgress).Step != "" || step(r, runbooks.StepRelease, workflows.Done).Step != ""
	})
	s.Understudy.Kill()
	if err := s.Understudy.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := ended(t, s.Understudy, 2)
	if r.Outcome != workflows.OutcomeHome {
		t.Fatalf("%s: %s\n%s", r.Outcome, r.Reason, r.Markdown())
	}
	g := guard(t, s.Understudy, func(g workflows.GuardState) bool { return g.Running == nil && g.Active == runbooks.PrimaryName })
	if g.Made != nil || !g.DataKnown || g.DataEpoch != r.Epoch {
		t.Errorf("the guard: %+v", g)
	}
	s.isHome(t, r, rows)
}

func (s *homecoming) isHome(t *testing.T, r workflows.Report, rows int) {
	t.Helper()
	servers(t, s.Scene, "UP", "MAINT")
	nothingMade(t, s.Scene)
	if at := intact(t, s.History); at < rows {
		t.Errorf("%d rows are at home, and %d were on the standby", at, rows)
	}
	kept, err := filepath.Glob(s.away() + ".kept-*Z")
	if err != nil || len(kept) != 1 {
		t.Fatalf("the standby's history is kept as %q, %v", kept, err)
	}
	if _, missing, _ := compare(t, kept[0], s.History); missing != 0 {
		t.Errorf("%d rows did not come home", missing)
	}
	aside := fmt.Sprintf("%s.before-epoch-%d", s.History, r.Epoch)
	if _, missing, _ := compare(t, aside, s.History); missing < rowsLost {
		t.Errorf("%d rows of the old primary are kept", missing)
	}
	list, err := os.ReadFile(aside + ".tail.jsonl")
	if err != nil || strings.Count(string(list), "\n") < rowsLost {
		t.Errorf("the list of what was never replicated: %s, %v", list, err)
	}
	if took := step(r, runbooks.StepRestore, workflows.Done); !strings.Contains(took.Reason, aside) {
		t.Errorf("the timeline does not say where the old data is: %+v", took)
	}
	// From now on the primary writes below the prefix of this epoch.
	write(t, s.History, 1)
	replicated(t, s.Scene, r.Epoch, rows+1)
}

// The primary takes the data, and does not come up with it: within the pause
// that the runbook allows, the standby serves again, and the primary has back
// what it had.
func TestAWayHomeThatIsTakenBack(t *testing.T) {
	abreast(t)
	s := setHomecoming(t, 8*time.Second)
	s.oneWriter(t)
	rows := intact(t, s.away())
	s.host.After("POST /take-over", 1, func() harness.Fate {
		// Its server dies while it loads.
		if err := s.AtHome(t.Context(), "stop"); err != nil {
			t.Error(err)
		}
		return harness.GoOn
	})
	command(t, s.Understudy, 0, []string{"runs on cold", "primary  passes its gate", "transactions below epoch", "users wait while the data moves, at most 8s"}, "failback", "fun-asr", "--show")
	command(t, s.Understudy, 0, nil, "failback", "fun-asr", "--reason", "it is mended")
	r := ended(t, s.Understudy, 2)
	if r.Outcome != workflows.OutcomeStayed || r.Active != runbooks.TierCold {
		t.Fatalf("%s on %s: %s\n%s", r.Outcome, r.Active, r.Reason, r.Markdown())
	}
	g := guard(t, s.Understudy, func(g workflows.GuardState) bool { return g.Running == nil && g.Last != nil && g.Last.Epoch == r.Epoch })
	if g.Made == nil || g.DataEpoch == r.Epoch {
		t.Errorf("the guard: %+v", g)
	}
	shown, err := s.Servers(t.Context())
	if err != nil || !strings.HasPrefix(shown["cold"], "UP") || !strings.HasPrefix(shown["primary"], "MAINT") {
		t.Errorf("HAProxy shows %v, %v", shown, err)
	}
	call(t, s.Front, 10*time.Second).answers(t, 1)
	if at := intact(t, s.away()); at < rows {
		t.Errorf("%d rows are on the standby, and %d were", at, rows)
	}
	if at := intact(t, s.History); at < rowsBefore+rowsLost {
		t.Errorf("the primary has %d rows, not those that it had", at)
	}
	// Once it comes up, the way home is open.
	eventually(t, harness.Listening(strings.TrimPrefix(s.Primary.URL, "http://")))
	guard(t, s.Understudy, func(g workflows.GuardState) bool { return time.Now().After(g.CooldownUntil) })
	command(t, s.Understudy, 0, nil, "failback", "fun-asr", "--reason", "it is mended now")
	if r = ended(t, s.Understudy, 3); r.Outcome != workflows.OutcomeHome {
		t.Fatalf("%s: %s\n%s", r.Outcome, r.Reason, r.Markdown())
	}
	s.isHome(t, r, rows)
}
