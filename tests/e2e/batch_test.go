package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/standalone"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	batchLanes = 2
	batches    = "/api/v1/services/fun-asr/batches"
)

// batchScene is a scene with a batch store, and a folder of recordings there.
type batchScene struct {
	*harness.Scene
	t     *testing.T
	store *harness.MinIOServer
	// lines are the manifest, items and seconds its figures; longest is its longest recording.
	lines            string
	items            int
	seconds, longest float64
}

// setBatchScene starts a scene. The recording with the name in killer is the last one.
func setBatchScene(t *testing.T, items int, killer string, o harness.SceneOptions) *batchScene {
	t.Helper()
	s := &batchScene{t: t, items: items, store: harnesstest.MinIO(t, "batches", "audio")}
	o.Edit = func(r *runbooks.Runbook, site *runbooks.Site) {
		r.Batches = &runbooks.Batches{Store: "s3://batches/fun-asr", Concurrency: batchLanes}
		site.S3 = map[string]runbooks.S3{"default": s.store.Site()}
	}
	s.Scene = setScene(t, o)
	guard(t, s.Understudy, atRest)
	s.speak(killer)
	return s
}

// speak puts recordings into the store.
func (s *batchScene) speak(killer string) {
	s.t.Helper()
	var clips []audio.Clip
	for _, words := range []string{audio.Digits, "nine eight seven six five four three two one", "two four six eight one three five seven nine"} {
		clip, err := audio.Say(s.t.Context(), words)
		if err != nil {
			s.t.Fatal(err)
		}
		clips = append(clips, clip)
	}
	folder := s.t.TempDir()
	var lines strings.Builder
	for i := range s.items {
		clip, name := clips[i%len(clips)], fmt.Sprintf("%02d-语音.wav", i)
		if killer != "" && i == s.items-1 {
			name = killer
		}
		if err := os.WriteFile(filepath.Join(folder, name), clip.WAV(), 0o644); err != nil {
			s.t.Fatal(err)
		}
		length := clip.Duration().Seconds()
		fmt.Fprintf(&lines, `{"audio_filepath": %q, "duration": %.3f, "speaker": "rms"}`+"\n", name, length)
		s.seconds, s.longest = s.seconds+length, max(s.longest, length)
	}
	if err := s.store.Upload(s.t.Context(), "audio", "calls", folder); err != nil {
		s.t.Fatal(err)
	}
	s.lines = lines.String()
}

func (s *batchScene) submit(job string) {
	s.t.Helper()
	var made triggers.BatchDetail
	if err := s.Understudy.Post(s.t.Context(), batches, triggers.Submission{Job: job, Lines: s.lines, Base: "s3://audio/calls"}, &made); err != nil {
		s.t.Fatal(err)
	}
}

// finished waits for the report of a batch.
func (s *batchScene) finished(job string) triggers.BatchDetail {
	s.t.Helper()
	var b triggers.BatchDetail
	eventually(s.t, func(ctx context.Context) error {
		b = triggers.BatchDetail{}
		if err := s.Understudy.Get(ctx, batches+"/"+job, &b); err != nil {
			return err
		}
		if b.Report == nil {
			return fmt.Errorf("%s: %+v", job, b.Batch)
		}
		return nil
	})
	return b
}

func (s *batchScene) output(job string) string {
	s.t.Helper()
	response, err := http.Get(s.Understudy.URL + batches + "/" + job + "/output")
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("the output of %s: %s %s %v", job, response.Status, text, err)
	}
	return string(text)
}

// inferences waits until a server has begun so many more.
func (s *batchScene) inferences(site *harness.Site, more int) {
	s.t.Helper()
	begun := -1
	eventually(s.t, func(ctx context.Context) error {
		stats, err := site.Stats(ctx)
		if err != nil {
			return err
		}
		if begun < 0 {
			begun = stats.Inferences
		}
		if stats.Inferences < begun+more {
			return fmt.Errorf("%d inferences, and %d at first", stats.Inferences, begun)
		}
		return nil
	})
}

// whole wants that every item is there as in an undisturbed run, and that at most what was in flight was done again.
func (s *batchScene) whole(job, want string, b triggers.BatchDetail) {
	s.t.Helper()
	if r := b.Report; r.Succeeded != int64(s.items) || !r.Clean() || r.RedoneSeconds > batchLanes*s.longest+0.01 {
		s.t.Errorf("%s: %+v", job, r)
	}
	if got := s.output(job); got != want {
		s.t.Errorf("the output of %s is\n%s\nwant\n%s", job, got, want)
	}
	s.t.Logf("%s: %d moves, %.1f of %.1f s of audio done again", job, b.Moves, b.Report.RedoneSeconds, s.seconds)
}

// runner is `understudy batch run`, on the machine of the primary.
func (s *batchScene) runner(job string) *exec.Cmd {
	s.t.Helper()
	dir := s.t.TempDir()
	config, err := json.Marshal(runbooks.Site{APIVersion: runbooks.APIVersion, S3: map[string]runbooks.S3{"default": s.store.Site()}})
	if err != nil {
		s.t.Fatal(err)
	}
	for name, content := range map[string]string{"site.yaml": string(config), "manifest.jsonl": s.lines} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	cmd := exec.Command(s.Understudy.Spec.Path, "batch", "run", filepath.Join(dir, "manifest.jsonl"), "--config", filepath.Join(dir, "site.yaml"), "--job", job,
		"--base", "s3://audio/calls", "--store", "s3://batches/fun-asr", "--service", "fun-asr", "--url", s.Primary.URL, "--concurrency", fmt.Sprint(batchLanes), "--holder", "gpu-a")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// The primary dies in the middle of items, with a batch of ours and one of its
// own machine's runner, which is stopped at that moment. Both go on at the hot
// standby. Then Understudy dies, with its engine, in the middle of another one.
func TestBatchesOutliveServerRunnerAndUnderstudy(t *testing.T) {
	abreast(t)
	s := setBatchScene(t, 14, "", harness.SceneOptions{})
	s.submit("undisturbed")
	undisturbed := s.finished("undisturbed")
	want := s.output("undisturbed")
	s.whole("undisturbed", want, undisturbed)
	if undisturbed.Report.RedoneSeconds != 0 || undisturbed.Moves != 0 || !strings.Contains(want, `"speaker": "rms", "pred_text": "`+audio.Digits+`"`) {
		t.Errorf("undisturbed: %+v\n%s", undisturbed.Report, want)
	}

	old := s.runner("foreign")
	var said bytes.Buffer
	old.Stdout, old.Stderr = &said, &said
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = old.Process.Kill() })
	s.inferences(s.Primary, 2)
	s.submit("ours")
	s.inferences(s.Primary, 5)
	if err := old.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.Primary.Kill()
	if status := alert(t, s.Understudy, "firing", time.Now()); status != 200 {
		t.Fatal(status)
	}
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	if resumed := step(r, runbooks.StepResume, workflows.Done); !strings.HasPrefix(resumed.Reason, "2 of 2 batches resumed, 1 of them another runner's: foreign; at most ") || len(r.InFlight) != 2 {
		t.Errorf("resumed: %+v\n%s", resumed, r.Markdown())
	}
	for _, job := range []string{"ours", "foreign"} {
		b := s.finished(job)
		s.whole(job, want, b)
		for _, lost := range r.InFlight {
			if lost.Job == job && (lost.Unknown != "" || lost.Items > batchLanes || b.Report.RedoneSeconds > lost.Seconds+0.01) {
				t.Errorf("%s: %.1f s were done again, and the report says %+v", job, b.Report.RedoneSeconds, lost)
			}
		}
		if b.Report.Epoch != r.Epoch || b.Report.RedoneSeconds == 0 {
			t.Errorf("%s: %+v", job, b.Report)
		}
	}
	// The old runner wakes: it has lost, says so, and has changed nothing.
	if err := old.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	var left *exec.ExitError
	if err := old.Wait(); !errors.As(err, &left) || left.ExitCode() != int(standalone.Held) || !strings.Contains(said.String(), "this runner stops and changes nothing more") {
		t.Errorf("the old runner ended with %v:\n%s", err, &said)
	}
	if got := s.output("foreign"); got != want {
		t.Error("the old runner changed the output")
	}

	s.submit("killed")
	s.inferences(s.Hot, 4)
	s.Understudy.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Understudy.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	s.whole("killed", want, s.finished("killed"))
}

// Temporal dies in the middle of a batch, in a process of its own: what is in
// flight goes on without it, and the batch is whole.
func TestABatchOutlivesTemporal(t *testing.T) {
	abreast(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience) // the engine may have to be built
	defer cancel()
	engine, err := harness.Engine(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Kill() })
	s := setBatchScene(t, 8, "", harness.SceneOptions{Env: engine.Keys.Env()})
	s.submit("undisturbed")
	s.finished("undisturbed")
	want := s.output("undisturbed")
	s.submit("killed")
	s.inferences(s.Primary, 3)
	engine.Kill()
	if err := engine.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	s.whole("killed", want, s.finished("killed"))
}

// A recording that kills the server each time is quarantined, the rest is done,
// and the ladder does not climb because of it: the server's own supervisor
// brings it back each time.
func TestKillerOfServersIsQuarantined(t *testing.T) {
	abreast(t)
	s := setBatchScene(t, 6, "killer.wav", harness.SceneOptions{PrimaryArgs: []string{"--fault", `{"mode":"crash-mid","file":"killer"}`}})
	over := make(chan struct{})
	var deaths atomic.Int64
	supervised := make(chan error, 1)
	go func() {
		for {
			select {
			case <-s.Primary.Done():
				deaths.Add(1)
				if err := s.Primary.Restart(context.WithoutCancel(t.Context())); err != nil {
					supervised <- err
					return
				}
			case <-over:
				supervised <- nil
				return
			}
		}
	}()
	s.submit("night")
	b := s.finished("night")
	close(over)
	if err := <-supervised; err != nil {
		t.Fatal(err)
	}
	if r := b.Report; r.Quarantined != 1 || r.Failed != 0 || r.Succeeded != int64(s.items-1) || deaths.Load() != jobs.DefaultAttempts {
		t.Errorf("%d deaths, %+v", deaths.Load(), r)
	}
	if strings.Contains(s.output("night"), "killer.wav") {
		t.Error("the killer is in the output")
	}
	if g := guard(t, s.Understudy, atRest); g.Active != runbooks.PrimaryName || count(t, s.Understudy) != 0 {
		t.Errorf("the ladder has climbed: %+v", g)
	}
	if out, err := s.Understudy.Command(t.Context(), "batch", "output", "fun-asr", "night", "--file", "quarantined"); err != nil || !strings.Contains(out, `"error_code": "quarantined"`) {
		t.Errorf("%s %v", out, err)
	}
}
