package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// coldPatience is how long a cold standby may take before the benchmark gives up.
const coldPatience = time.Minute

//go:embed cold.sh
var coldScript []byte

// waits are the steps in which Understudy waits for others: for the store, for
// the program that loads its model, for the model that transcribes.
var waits = []string{runbooks.StepMount, runbooks.StepLoad, runbooks.StepProve, runbooks.StepVerify}

// coldTimes are those of the cold standby, since the webhook was sent or the script was started.
type coldTimes struct {
	bare, verified, own sample
	steps               map[string]sample
}

// coldStandby measures until a machine that is made has the traffic, verified:
// its model mounted from S3 and proven byte by byte, and really loaded.
func coldStandby(ctx context.Context, b *bench) (group, error) {
	for _, program := range []string{"s3fs", "curl", "socat"} {
		if _, err := harness.Find(program, program); err != nil {
			return group{}, err
		}
	}
	times := coldTimes{steps: map[string]sample{}}
	for repeat := range b.repeats {
		b.tell("repeat %d of %d", repeat+1, b.repeats)
		if err := b.coldOnce(ctx, filepath.Join(b.dir, fmt.Sprintf("cold-%d", repeat)), &times); err != nil {
			return group{}, err
		}
	}
	return times.group(b.repeats), nil
}

// coldOnce lets the script bring a service back, takes that away again, and then lets Understudy do it.
func (b *bench) coldOnce(ctx context.Context, dir string, times *coldTimes) error {
	s, err := start(ctx, dir, func(ctx context.Context, dir string) (*harness.Scene, error) {
		return harness.StartScene(ctx, harness.SceneOptions{Dir: dir, Cold: true, Held: true, Without: true})
	})
	if err != nil {
		return err
	}
	defer s.Stop()
	ctx, cancel := context.WithTimeout(ctx, 3*coldPatience)
	defer cancel()
	if err := s.StartUnderstudy(ctx); err != nil {
		return err
	}
	s.Primary.Kill()
	s.Hot.Kill()
	took, err := bareCold(ctx, s)
	if err != nil {
		return fmt.Errorf("the bare script: %w", err)
	}
	times.bare = append(times.bare, took)
	pause(ctx, rest)
	began := time.Now()
	if err := sendAlert(ctx, s.Understudy.URL+"/api/v1/alerts", s.Runbook.Service); err != nil {
		return err
	}
	r, err := coldReport(ctx, s, coldPatience)
	if err != nil {
		return err
	}
	times.verified = append(times.verified, r.Verified.Sub(began))
	times.own = append(times.own, ownShare(r, began, waits))
	for _, name := range waits {
		rec := step(r, name)
		times.steps[name] = append(times.steps[name], rec.Ended.Sub(rec.Started))
	}
	return nil
}

// bareCold times the script, and takes away what it has made.
func bareCold(ctx context.Context, s *harness.Scene) (took time.Duration, err error) {
	dir := filepath.Join(s.Dir, "bare")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	id, err := os.ReadFile(s.Cold.MinIO.AccessKey.File)
	if err != nil {
		return 0, err
	}
	secret, err := os.ReadFile(s.Cold.MinIO.SecretKey.File)
	if err != nil {
		return 0, err
	}
	program, err := harness.BuildSite(ctx)
	if err != nil {
		return 0, err
	}
	password := strings.TrimSpace(string(id)) + ":" + strings.TrimSpace(string(secret))
	if err := errors.Join(os.WriteFile(in("password"), []byte(password), 0o600), os.WriteFile(in("cold.sh"), coldScript, 0o755)); err != nil {
		return 0, err
	}
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(s.Cold.Source, "s3://"), "/")
	defer func() { err = errors.Join(err, clearBare(ctx, s, in("mount"), in("pid"))) }()
	script := exec.CommandContext(ctx, in("cold.sh"))
	for name, value := range map[string]string{
		"MOUNT": in("mount"), "BUCKET": bucket, "PREFIX": prefix, "PASSWORD": in("password"), "STORE": s.Cold.MinIO.Endpoint, "PROGRAM": program,
		"ADDRESS": harness.Address(harness.FreePort()), "LOG": in("log"), "PID": in("pid"), "READY": "pocketsphinx-en-us", "RECORDING": filepath.Join(s.Dir, harness.Recording),
		"EXPECT": audio.Digits, "BACKEND": s.Runbook.Traffic.Backend, "SOCKET": s.HAProxy.Socket, "FRONT": s.Front,
	} {
		script.Env = append(script.Env, name+"="+value)
	}
	script.Env = append(script.Env, "PATH="+os.Getenv("PATH"))
	began := time.Now()
	if out, err := script.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	return time.Since(began), nil
}

// clearBare takes away what the script has made.
func clearBare(ctx context.Context, s *harness.Scene, mount, pid string) error {
	for _, command := range []string{"state maint", "addr 127.0.0.1 port 1"} {
		if _, err := s.HAProxy.Command(ctx, "set server "+s.Runbook.Traffic.Backend+"/cold "+command); err != nil {
			return err
		}
	}
	if text, err := os.ReadFile(pid); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
	return until(ctx, func(context.Context) error { // the server holds it until it is dead
		if err := syscall.Unmount(mount, 0); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("unmount %s: %w", mount, err)
		}
		return nil
	})
}

// coldReport waits until the recovery is verified.
func coldReport(ctx context.Context, s *harness.Scene, most time.Duration) (workflows.Report, error) {
	patience, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var r workflows.Report
	err := until(patience, func(ctx context.Context) error {
		var all []triggers.Recovery
		if err := s.Understudy.Get(ctx, "/api/v1/recoveries", &all); err != nil || len(all) == 0 {
			return errors.Join(errors.New("no recovery yet"), err)
		}
		var detail triggers.RecoveryDetail
		if err := s.Understudy.Get(ctx, "/api/v1/recoveries/"+all[0].ID, &detail); err != nil {
			return err
		}
		if r = detail.Report; r.Outcome == "" {
			return errors.New("the recovery is under way")
		}
		return nil
	})
	if err == nil && (r.Verified.IsZero() || r.Tier != runbooks.TierCold) {
		err = fmt.Errorf("it was not recovered on the cold standby:\n%s", r.Markdown())
	}
	return r, err
}

// ownShare is what is left of the time until the verified answer without the
// steps in which Understudy waits for others. They come one after the other.
func ownShare(r workflows.Report, began time.Time, waits []string) time.Duration {
	left := r.Verified.Sub(began)
	for _, rec := range r.Timeline {
		if !slices.Contains(waits, rec.Step) || rec.State != workflows.Done {
			continue
		}
		from, to := rec.Started, rec.Ended
		if rec.Step == runbooks.StepVerify {
			// A first canary goes together with the switch; one that was too slow for that is in no step of its own.
			if switched := step(r, runbooks.StepCutOver).Ended; switched.Before(from) {
				from = switched
			}
			to = r.Verified
		}
		left -= max(to.Sub(from), 0)
	}
	return max(left, 0)
}

func (t coldTimes) group(repeats int) group {
	g := group{title: "webhook in, a cold standby made, verified", columns: []string{"Understudy", "bare script"}}
	g.rows = []row{
		{"verified answer, median", []string{t.verified.cell(0.5), t.bare.cell(0.5)}, "15 s"},
		{"verified answer, worst", []string{t.verified.cell(1), t.bare.cell(1)}, "15 s"},
		{"of it Understudy's own, median", []string{t.own.cell(0.5)}, "1 s"},
		{"of it Understudy's own, worst", []string{t.own.cell(1)}, "1 s"},
	}
	course := "Where its time went, at the median:"
	for i, name := range waits {
		if i > 0 {
			course += ","
		}
		course += " " + name + " " + t.steps[name].cell(0.5)
	}
	g.method = []string{
		"Primary and hot standby are dead. A model of 37 MB is mounted by s3fs from MinIO, every byte compared with its manifest, a real",
		"recognizer loads it, transcribes a recording, gets the traffic at HAProxy, and transcribes again through the front door.",
		"bare script: the same in one shell script (s3fs, sha256sum, curl, socat). It goes first, then what it made is taken away.",
		"Own: all but the steps in which the store, the loading and the transcribing are waited for.",
	}
	g.notes = []string{fmt.Sprintf("Repeats: %d. %s.", repeats, course)}
	return g
}
