// Package batchrunner shows that docs/batches.md is enough to write a runner: one
// in shell, whose interrupted batch Understudy resumes.
package batchrunner

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/audio"
	"github.com/understudy-dr/understudy/activities/jobs/s3store"
	"github.com/understudy-dr/understudy/activities/jobs/standalone"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	sound "github.com/understudy-dr/understudy/tests/site/audio"
)

const (
	bucket = "batches"
	place  = "fun-asr"
)

// shell is the runner in shell, at work.
type shell struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	said  strings.Builder
}

// scene is what both runners work with.
type scene struct {
	t        *testing.T
	store    *harness.MinIOServer
	site     *harness.Site
	folder   string
	manifest string
	items    int
}

func newScene(t *testing.T) *scene {
	for _, program := range []string{"curl", "jq"} {
		if _, err := harness.Find(program, program); err != nil {
			t.Skipf("missing: %v", err)
		}
	}
	harnesstest.Engines(t)
	s := &scene{t: t, folder: t.TempDir(), store: harnesstest.MinIO(t, bucket), site: harnesstest.ASR(t, harness.SiteOptions{})}
	var text strings.Builder
	for i, words := range []string{"one two three", "four five six", "seven eight nine", "three two one", "six five four", "nine eight seven", "two four six"} {
		clip, err := sound.Say(t.Context(), words)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%d 语音.wav", i)
		if err := os.WriteFile(filepath.Join(s.folder, name), clip.WAV(), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, `{"audio_filepath": %q, "duration": %v, "text": "%s"}`+"\n", name, clip.Duration().Seconds(), words)
		s.items++
	}
	s.manifest = filepath.Join(s.folder, "manifest.jsonl")
	if err := os.WriteFile(s.manifest, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// start starts the runner in shell.
func (s *scene) start(job string) *shell {
	s.t.Helper()
	key, err := secrets.Resolve(s.store.AccessKey)
	if err != nil {
		s.t.Fatal(err)
	}
	secret, err := secrets.Resolve(s.store.SecretKey)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &shell{cmd: exec.Command("sh", "runner.sh", job, s.manifest, s.folder, s.site.URL, harness.ModelVersion)}
	r.cmd.Env = append(os.Environ(), "S3="+s.store.Endpoint+"/"+bucket+"/"+place, "AWS_ACCESS_KEY_ID="+key, "AWS_SECRET_ACCESS_KEY="+secret)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	r.cmd.Stderr = r.cmd.Stdout
	if err := r.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	r.lines = bufio.NewScanner(out)
	s.t.Cleanup(func() { r.signal(syscall.SIGKILL); _ = r.cmd.Wait() })
	return r
}

// signal reaches what the shell has started as well.
func (r *shell) signal(s syscall.Signal) { _ = syscall.Kill(-r.cmd.Process.Pid, s) }

// until reads what it says up to a line that begins so.
func (r *shell) until(t *testing.T, begin string) {
	t.Helper()
	for r.lines.Scan() {
		r.said.WriteString(r.lines.Text() + "\n")
		if strings.HasPrefix(r.lines.Text(), begin) {
			return
		}
	}
	t.Fatalf("it ended without %q:\n%s", begin, &r.said)
}

// ends waits for its end.
func (r *shell) ends(t *testing.T, code int) string {
	t.Helper()
	for r.lines.Scan() {
		r.said.WriteString(r.lines.Text() + "\n")
	}
	_ = r.cmd.Wait()
	if got := r.cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("it ended with %d, not %d:\n%s", got, code, &r.said)
	}
	return r.said.String()
}

// resume is Understudy's own runner on the same job.
func (s *scene) resume(job string, epoch int64) (standalone.Outcome, error) {
	options := s.options(job)
	options.Work.Claim.Epoch = epoch
	return standalone.Run(s.t.Context(), options)
}

func (s *scene) options(job string) standalone.Options {
	s.t.Helper()
	clients := s.store.Clients()
	client, err := clients.For(bucket)
	if err != nil {
		s.t.Fatal(err)
	}
	return standalone.Options{
		Runner: jobs.Runner{
			Store: jobs.NewStore(s3store.New(client, s3client.Location{Bucket: bucket, Key: place})),
			Audio: audio.New(audio.Options{Roots: []string{s.folder}}), Speech: speech.NewClient(), Backoff: 20 * time.Millisecond,
		},
		Job:    jobs.Job{ID: job, Service: "fun-asr", Base: s.folder},
		Work:   jobs.Work{URL: s.site.URL, Revision: harness.ModelVersion},
		Holder: "understudy",
	}
}

func (s *scene) head(job string) jobs.Head {
	s.t.Helper()
	_, h, err := s.options(job).Runner.Store.Open(s.t.Context(), job)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// inferences is how many the server made.
func (s *scene) inferences() int {
	s.t.Helper()
	stats, err := s.site.Stats(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return stats.Inferences
}

func (s *scene) output(job string) string {
	s.t.Helper()
	file, err := s.options(job).Runner.Store.File(s.t.Context(), job, jobs.OutputFile)
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func TestUnderstudyResumesWhatAShellBegan(t *testing.T) {
	s := newScene(t)
	undisturbed := s.options("undisturbed")
	text, err := os.Open(s.manifest)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	undisturbed.Manifest = text
	if out, err := standalone.Run(t.Context(), undisturbed); err != nil || out.Exit != standalone.Done {
		t.Fatalf("%+v, %v", out, err)
	}
	want := s.output("undisturbed")

	t.Run("killed", func(t *testing.T) {
		r := s.start("killed")
		r.until(t, "3 of")
		r.signal(syscall.SIGKILL)
		_ = r.cmd.Wait()
		if out, _ := s.resume("killed", 0); out.Exit != standalone.Held {
			t.Errorf("within its patience: %+v", out)
		}
		out, err := s.resume("killed", 1)
		if err != nil || out.Exit != standalone.Done || s.output("killed") != want {
			t.Errorf("%+v, %v\n%s\nwant\n%s", out, err, s.output("killed"), want)
		}
		if out.Report.RedoneSeconds > 3 || out.Report.Succeeded != int64(s.items) {
			t.Errorf("%+v", out.Report)
		}
	})
	t.Run("stopped, and woken later", func(t *testing.T) {
		r := s.start("stopped")
		r.until(t, "2 of")
		r.signal(syscall.SIGSTOP)
		if out, err := s.resume("stopped", 1); err != nil || out.Exit != standalone.Done {
			t.Fatalf("%+v, %v", out, err)
		}
		r.signal(syscall.SIGCONT)
		if said := r.ends(t, 1); !strings.Contains(said, "somebody else has job stopped: HTTP 412") {
			t.Error(said)
		}
		if got := s.output("stopped"); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		if said := s.start("stopped").ends(t, 1); !strings.Contains(said, "job stopped is finished") {
			t.Error(said)
		}
	})
	t.Run("to its end", func(t *testing.T) {
		s.start("whole").ends(t, 0)
		out, err := s.resume("whole", 0)
		if err != nil || out.Exit != standalone.Done || s.output("whole") != want || out.Report.RedoneSeconds != 0 {
			t.Errorf("%+v, %v", out, err)
		}
	})
	t.Run("the shell resumes what Understudy began", func(t *testing.T) {
		begun := s.options("begun")
		if _, err := text.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if _, err := begun.Runner.Store.Create(t.Context(), begun.Job, text); err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var once sync.Once
		begun.Stop = stop
		begun.Work.Claim.Lanes = 1
		begun.Work.Progress = func(p jobs.Progress) {
			if p.Succeeded >= 3 {
				once.Do(func() { close(stop) })
			}
		}
		if out, err := standalone.Run(t.Context(), begun); err == nil || out.Exit != standalone.Interrupted {
			t.Fatalf("%+v, %v", out, err)
		}
		h := s.head("begun")
		before := s.inferences()
		s.start("begun").ends(t, 0)
		if got, want := s.inferences()-before, s.items-int(h.Window.Item); got != want {
			t.Errorf("%d inferences for %d items", got, want)
		}
		if out, err := s.resume("begun", 0); err != nil || out.Exit != standalone.Done || s.output("begun") != want {
			t.Errorf("%+v, %v\n%s", out, err, s.output("begun"))
		}
		if got, want := s.inferences()-before, s.items-int(h.Window.Item); got != want {
			t.Errorf("%d inferences for %d items", got, want)
		}
	})
}
