package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/tests/site/stage"
	"github.com/understudy-dr/understudy/workflows"
)

// ready asks for the readiness now, by the command, and wants its exit status to fit.
func ready(ctx context.Context, u *harness.Understudy) (s workflows.ReadinessState, err error) {
	cmd := exec.CommandContext(ctx, u.Spec.Path, "--server", u.URL, "readiness", protected(u), "--now", "--output", "json")
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	_ = cmd.Run()
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		return s, fmt.Errorf("readiness: %w\n%s%s", err, &out, &told)
	}
	if failing := len(s.Failing("")) > 0; failing != (cmd.ProcessState.ExitCode() == 1) {
		return s, fmt.Errorf("exit code %d with the findings %+v", cmd.ProcessState.ExitCode(), s.Findings)
	}
	return s, nil
}

// trouble is what a look is expected to find.
type trouble struct {
	tier, check, level string
	// words are in what is found, or in what it is about.
	words []string
}

func (w trouble) in(s workflows.ReadinessState) (found activities.Finding, ok bool) {
	for _, f := range s.Findings {
		fits := f.Tier == w.tier && f.Check == w.check && f.Level == w.level
		for _, word := range w.words {
			fits = fits && strings.Contains(f.About+" "+f.What, word)
		}
		if fits {
			return f, true
		}
	}
	return activities.Finding{}, false
}

// breaks breaks something, wants it found with its name, since when, and what to
// do, mends it, and wants it gone by itself.
func breaks(t *testing.T, u *harness.Understudy, w trouble, spoil, mend func() error) {
	t.Helper()
	if err := spoil(); err != nil {
		t.Fatal(err)
	}
	s, err := ready(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	f, ok := w.in(s)
	if !ok || f.Do == "" || f.Since.IsZero() {
		t.Errorf("%+v was found as %+v, among\n%s", w, f, listed(s))
	}
	code, mark := 0, "✓ "+w.tier
	if w.level == activities.LevelFail {
		code, mark = 1, "✗ "+w.tier+" would fail: "
	}
	if w.tier != activities.ServiceTier {
		command(t, u, code, []string{mark}, "status")
	}
	if err := mend(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) error {
		s, err := ready(ctx, u)
		if _, still := w.in(s); err == nil && (still || len(s.Failing("")) > 0) {
			err = fmt.Errorf("mended, it is still found:\n%s", listed(s))
		}
		return err
	})
	if w.tier != activities.ServiceTier {
		command(t, u, 0, []string{"✓ " + w.tier}, "status")
	}
}

func listed(s workflows.ReadinessState) string {
	var b strings.Builder
	for _, f := range s.Findings {
		fmt.Fprintf(&b, "%s %s %s [%s]: %s (%s) since %s\n", f.Level, f.Tier, f.Check, f.About, f.What, f.Do, f.Since)
	}
	return b.String()
}

// What the standbys of this site need, and what of it fails before any disaster.
func TestWhatWouldFailHere(t *testing.T) {
	abreast(t)
	center := harnesstest.Etcd(t)
	expects(t, center, harness.ModelVersion)
	small := tmpfs(t, 360<<20)
	s := coldScene(t, harness.SceneOptions{Held: true, Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Version.Expected = runbooks.Source{Kind: "etcd", Endpoint: center.Endpoint, Key: versionKey}
		volume := &r.Tiers[1].Volumes[0]
		volume.Mode, volume.Mount = "copy", filepath.Join(small, "asr")
	}})
	u := s.Understudy
	guard(t, u, atRest)
	first, err := ready(t.Context(), u)
	if err != nil || len(first.Failing("")) > 0 {
		t.Fatalf("%v\n%s", err, listed(first))
	}

	// Somebody raises the expected version: the running standby has the old one, and the store too.
	raised := func() error { expects(t, center, "2601.1"); return nil }
	back := func() error { expects(t, center, harness.ModelVersion); return nil }
	breaks(t, u, trouble{runbooks.TierHot, "version", activities.LevelFail, []string{"expected 2601.1", harness.ModelVersion}}, raised, back)
	breaks(t, u, trouble{runbooks.TierCold, "version", activities.LevelFail, []string{s.Cold.Source, harness.ModelVersion, "expected 2601.1"}}, raised, back)

	// The standby answers its health check, and hears something else.
	fault := func(f stage.Fault) func() error { return func() error { return s.Hot.Fault(t.Context(), f) } }
	breaks(t, u, trouble{runbooks.TierHot, "canary", activities.LevelFail, []string{"expected"}}, fault(stage.Fault{Mode: stage.Wrong}), fault(stage.Fault{Mode: stage.None}))

	// The disk on which the model would be copied fills up.
	filler := filepath.Join(small, "somebody's file")
	breaks(t, u, trouble{runbooks.TierCold, "disk", activities.LevelFail, []string{small, "MiB free"}},
		func() error { return os.WriteFile(filler, make([]byte, 100<<20), 0o600) }, func() error { return os.Remove(filler) })

	// Chat forgets us.
	breaks(t, u, trouble{activities.ServiceTier, "chat", activities.LevelWarn, []string{"slack #asr-oncall", "token_revoked"}},
		func() error { s.Slack.Inject(fakeslack.Fault{Error: "token_revoked"}); return nil }, func() error { s.Slack.Heal(); return nil })

	// The file of a secret may be read by everybody, or is gone.
	secret := s.Cold.MinIO.SecretKey.File
	breaks(t, u, trouble{activities.ServiceTier, "secrets", activities.LevelWarn, []string{secret, "every user"}},
		func() error { return os.Chmod(secret, 0o644) }, func() error { return os.Chmod(secret, 0o600) })
	breaks(t, u, trouble{activities.ServiceTier, "secrets", activities.LevelWarn, []string{secret, "no such file"}},
		func() error { return os.Rename(secret, secret+".old") }, func() error { return os.Rename(secret+".old", secret) })

	// The store's key is rotated, and nobody tells Understudy.
	const rotated = "another-secret"
	breaks(t, u, trouble{runbooks.TierCold, "model", activities.LevelFail, []string{s.Cold.Source, "credentials"}}, func() error {
		s.Cold.MinIO.Kill()
		for i, setting := range s.Cold.MinIO.Spec.Env {
			if name, _, _ := strings.Cut(setting, "="); name == "MINIO_ROOT_PASSWORD" {
				s.Cold.MinIO.Spec.Env[i] = name + "=" + rotated
			}
		}
		return s.Cold.MinIO.Restart(t.Context())
	}, func() error { return os.WriteFile(secret, []byte(rotated+"\n"), 0o600) })
}

// What a tier needs that makes its machines in a cloud: at each place an image,
// permission, credentials, and room. What is wrong at one of two places is told,
// and stops nothing.
func TestWhatWouldFailInTheCloud(t *testing.T) {
	abreast(t)
	var forbidden atomic.Bool
	home, away := ec2.NewRegion(ec2fixture.Region), ec2.NewRegion("us-east-1")
	away.Images = nil // nobody has copied it there
	s := coldScene(t, harness.SceneOptions{Held: true, Without: true})
	tier := &s.Runbook.Tiers[1]
	account := cloud(t, s, tier, ec2.Options{Regions: []ec2.Region{home, away}, Allow: func(a ec2.Access) bool {
		return a.Action != "ec2:RunInstances" || !forbidden.Load()
	}})
	here, there := ec2fixture.Place("a"), ec2fixture.Place("a")
	there.Region, there.Zone, there.Subnet = "us-east-1", "us-east-1a", "subnet-us-east-1a"
	tier.Provision.Placements = []runbooks.Placement{here, there}
	start(t, s, func(_ *runbooks.Runbook, site *runbooks.Site) { site.AWS = account.AWS })
	u := s.Understudy
	machine := func(level string, words ...string) trouble {
		return trouble{runbooks.TierCold, "machine", level, words}
	}

	breaks(t, u, machine(activities.LevelWarn, there.Text(), "InvalidAMIID.NotFound", "image copy"), func() error { return nil }, func() error {
		account.AddImage(there.Region, ec2.Image{ID: ec2fixture.Image, Name: "asr-2512"})
		return nil
	})
	eventually(t, func(context.Context) error { // people heard of it, though every tier would have worked
		if told := s.Slack.Transcript(); !strings.Contains(told, "something needs mending") || !strings.Contains(told, "mended: cold "+there.Text()) {
			return fmt.Errorf("people were told:\n%s", told)
		}
		return nil
	})
	breaks(t, u, machine(activities.LevelFail, here.Text(), "UnauthorizedOperation"),
		func() error { forbidden.Store(true); return nil }, func() error { forbidden.Store(false); return nil })
	breaks(t, u, machine(activities.LevelFail, here.Text(), "RequestExpired"),
		func() error { account.Expire(ec2.AccessKey); return nil }, func() error {
			account.SetKey("AKIAROTATEDROTATED00", ec2.SecretKey)
			account.Rotate("AKIAROTATEDROTATED00", ec2.SecretKey)
			return nil
		})

	// A quota shows in orders alone, which drills give: what the latest one at a place came to is remembered until
	// another one is taken there.
	drill := func() error {
		command(t, u, 0, []string{"drilled", "0 orphans"}, "drill", "fun-asr", "--tier", "cold", "--reason", "is there room?", "--wait")
		return nil
	}
	breaks(t, u, machine(activities.LevelWarn, here.Text(), "VcpuLimitExceeded", "quota"), func() error {
		account.Inject(ec2.Fault{Action: "RunInstances", Zone: here.Zone, Code: "VcpuLimitExceeded", Message: "You have requested more vCPU capacity than your current vCPU limit of 0 allows"})
		defer account.Heal()
		return drill()
	}, drill)
	if alive := account.Alive(); len(alive) != 0 {
		t.Errorf("the drills have left %+v", alive)
	}
}

// tmpfs mounts a small disk that ends with the test.
func tmpfs(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("missing: the right to mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}
