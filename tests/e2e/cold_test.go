package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// coldScene is a scene with a cold tier. What was made is taken away with it.
func coldScene(t *testing.T, o harness.SceneOptions) *harness.Scene {
	t.Helper()
	if _, err := harness.FindMinIO(); err != nil {
		t.Skipf("missing: %v", err)
	}
	if _, err := harness.Find("s3fs", "s3fs"); err != nil {
		t.Skipf("missing: %v", err)
	}
	o.Cold = true
	s := setScene(t, o)
	return s
}

// Primary and hot standby are both gone: a machine is made, its model mounted
// from S3 and verified byte by byte, and it takes the traffic. It serves on
// when Understudy is killed.
func TestColdStandby(t *testing.T) {
	abreast(t)
	s := coldScene(t, harness.SceneOptions{Held: true})
	s.Primary.Kill()
	s.Hot.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	if r.Tier != runbooks.TierCold || r.Made == nil || r.Made.Address == "" {
		t.Fatalf("tier %s, made %+v\n%s", r.Tier, r.Made, r.Markdown())
	}
	for _, name := range []string{runbooks.StepClaim, runbooks.StepCheck, runbooks.StepMount, runbooks.StepProvision, runbooks.StepBoot, runbooks.StepLoad, runbooks.StepProve, runbooks.StepVerify} {
		if rec := step(r, name, workflows.Done); rec.Started.IsZero() {
			t.Errorf("no step %s\n%s", name, r.Markdown())
		}
	}
	call(t, s.Front, 5*time.Second).answers(t, 3)
	s.Understudy.Kill()
	call(t, s.Front, 5*time.Second).answers(t, 3)
	if err := s.Understudy.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	guard(t, s.Understudy, func(g workflows.GuardState) bool { return atRest(g) && g.Active == runbooks.TierCold && g.Made != nil })
}

// A model with one wrong byte never gets traffic, and nothing is left of the try.
func TestAFlippedByte(t *testing.T) {
	abreast(t)
	s := coldScene(t, harness.SceneOptions{Held: true})
	if err := s.Cold.Spoil(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Primary.Kill()
	s.Hot.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeFailed, string(runbooks.Dead))
	rec := step(r, runbooks.StepMount, workflows.Failed)
	if hashes := regexp.MustCompile(`[0-9a-f]{64}`).FindAllString(rec.Reason, -1); !strings.Contains(rec.Reason, harness.SpoiledFile) || len(hashes) != 2 || hashes[0] == hashes[1] {
		t.Errorf("the file and both hashes are not named: %s", rec.Reason)
	}
	nothingMade(t, s)
}

// nothingMade fails where a machine, a mount or a slot is left.
func nothingMade(t *testing.T, s *harness.Scene) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), s.Cold.Mount) {
		t.Errorf("%s is still mounted", s.Cold.Mount)
	}
	if err := listening(s.Cold.Port); err == nil {
		t.Errorf("something listens at port %d", s.Cold.Port)
	}
	eventually(t, func(ctx context.Context) error {
		now, err := s.Servers(ctx)
		if err == nil && !strings.HasPrefix(now["cold"], "MAINT") {
			err = fmt.Errorf("HAProxy shows %v", now)
		}
		return err
	})
}

// listening reports, as an error, that nobody accepts connections at a port.
func listening(port int) error {
	conn, err := net.DialTimeout("tcp", harness.Address(port), time.Second)
	if err == nil {
		_ = conn.Close()
	}
	return err
}
