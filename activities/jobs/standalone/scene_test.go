package standalone_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/audio"
	"github.com/understudy-dr/understudy/activities/jobs/s3store"
	"github.com/understudy-dr/understudy/activities/jobs/standalone"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/speech/chunk"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	sound "github.com/understudy-dr/understudy/tests/site/audio"
)

const (
	bucket = "batches"
	// runnerVariable makes this test program a runner: a process that can be killed.
	runnerVariable = "UNDERSTUDY_TEST_RUNNER"
	patience       = 2 * time.Minute
)

// order is what a runner process is to do.
type order struct {
	Store   runbooks.S3
	Place   string
	Job     jobs.Job
	URL     string
	Text    string // of the manifest; empty resumes
	Claim   jobs.Claim
	Holder  string
	Seconds float64 // of patience
}

func TestMain(m *testing.M) {
	if text := os.Getenv(runnerVariable); text != "" {
		os.Exit(int(runner(text)))
	}
	os.Exit(m.Run())
}

// runner is the whole of a runner process: Ctrl-C stops it in good order.
func runner(text string) standalone.Exit {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Println(err)
		return standalone.Failed
	}
	stop := make(chan struct{})
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	go func() { <-interrupted; close(stop) }()
	options, err := o.options()
	if err != nil {
		fmt.Println(err)
		return standalone.Failed
	}
	options.Stop = stop
	options.Work.Progress = func(p jobs.Progress) { fmt.Println("progress", p.Succeeded, p.Failed, p.Quarantined) }
	out, err := standalone.Run(context.Background(), options)
	fmt.Printf("redone %v\nended %v\n", out.Progress.RedoneSeconds, err)
	return out.Exit
}

func (o order) options() (standalone.Options, error) {
	clients := s3client.New(map[string]runbooks.S3{"default": o.Store})
	client, err := clients.For(bucket)
	if err != nil {
		return standalone.Options{}, err
	}
	cutter, err := chunk.New(chunk.Options{})
	if err != nil {
		return standalone.Options{}, err
	}
	options := standalone.Options{
		Runner: jobs.Runner{
			Store:  jobs.NewStore(s3store.New(client, s3client.Location{Bucket: bucket, Key: o.Place})),
			Audio:  audio.New(audio.Options{Clients: clients, Roots: []string{o.Job.Base}}),
			Speech: speech.NewClient(), Cutter: cutter, Backoff: 20 * time.Millisecond,
		},
		Job: o.Job, Holder: o.Holder,
		Work:   jobs.Work{URL: o.URL, Claim: o.Claim, Patience: time.Duration(o.Seconds * float64(time.Second))},
		Revise: func(ctx context.Context) (string, error) { return version(ctx, o.URL) },
	}
	if o.Text != "" {
		options.Manifest = strings.NewReader(o.Text)
	}
	return options, nil
}

// version asks a speech server for its model revision.
func version(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/version", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var said struct{ Version string }
	return said.Version, json.NewDecoder(resp.Body).Decode(&said)
}

// process is a running runner.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
	all   bytes.Buffer
}

// start starts a runner as a process of its own.
func start(t *testing.T, o order) *process {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(os.Args[0]), lines: make(chan string, 10000)}
	p.cmd.Env = append(os.Environ(), runnerVariable+"="+string(text))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() { p.signal(syscall.SIGCONT); _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	return p
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// until reads what the runner says until so many items are done.
func (p *process) until(done int) {
	p.t.Helper()
	for line := range p.lines {
		p.all.WriteString(line + "\n")
		var succeeded, failed, quarantined int
		if n, _ := fmt.Sscanf(line, "progress %d %d %d", &succeeded, &failed, &quarantined); n == 3 && succeeded+failed+quarantined >= done {
			return
		}
	}
	p.t.Fatalf("it ended before item %d:\n%s", done, &p.all)
}

// ends waits for the end of the runner.
func (p *process) ends(want standalone.Exit) string {
	p.t.Helper()
	for line := range p.lines {
		p.all.WriteString(line + "\n")
	}
	_ = p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code != int(want) {
		p.t.Errorf("it ended with %d, want %d:\n%s", code, want, &p.all)
	}
	return p.all.String()
}

// scene is a folder of real audio, a store and a speech server.
type scene struct {
	t      *testing.T
	store  *harness.MinIOServer
	site   *harness.Site
	folder string
	text   string // the manifest
	items  int
	length float64 // of the longest piece, in seconds
}

func newScene(t *testing.T, options harness.SiteOptions) *scene {
	t.Helper()
	harnesstest.Engines(t)
	s := &scene{t: t, folder: t.TempDir(), length: 4}
	s.store = harnesstest.MinIO(t, bucket)
	s.site = harnesstest.ASR(t, options)
	var text strings.Builder
	add := func(name string, clip sound.Clip) {
		if err := os.WriteFile(filepath.Join(s.folder, name), clip.WAV(), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, `{"audio_filepath": %q, "duration": %v, "speaker": "rms"}`+"\n", name, clip.Duration().Seconds())
		s.items++
	}
	for i, words := range []string{"one two three", "four five six", "seven eight nine", "three two one", "six five four"} {
		add(fmt.Sprintf("%d-语音.wav", i), s.say(words))
		if i == 2 {
			add("long.wav", s.say(sound.Digits).Repeat(3, 600*time.Millisecond))
		}
	}
	s.text = text.String()
	return s
}

func (s *scene) say(words string) sound.Clip {
	s.t.Helper()
	clip, err := sound.Say(s.t.Context(), words)
	if err != nil {
		s.t.Fatal(err)
	}
	return clip
}

func (s *scene) order(id string) order {
	return order{
		Store: s.store.Site(), Place: "fun-asr", URL: s.site.URL, Text: s.text, Holder: "gpu-a", Seconds: patience.Seconds(),
		Job: jobs.Job{ID: id, Service: "fun-asr", Base: s.folder, Concurrency: 2, Params: jobs.Params{ChunkSeconds: s.length}},
	}
}

// ledger is the store as a bystander sees it.
func (s *scene) ledger() *jobs.Store {
	s.t.Helper()
	client, err := s.store.Clients().For(bucket)
	if err != nil {
		s.t.Fatal(err)
	}
	return jobs.NewStore(s3store.New(client, s3client.Location{Bucket: bucket, Key: "fun-asr"}))
}

// output is the final output of a finished job, and its report.
func (s *scene) output(id string) (string, jobs.Report) {
	s.t.Helper()
	store := s.ledger()
	report, err := store.Report(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	file, err := store.File(s.t.Context(), id, jobs.OutputFile)
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text), report
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

func (s *scene) restartSite() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.site.Restart(ctx); err != nil {
		s.t.Error(err)
	}
}

func newSite(t *testing.T, options harness.SiteOptions) *harness.Site {
	t.Helper()
	return harnesstest.ASR(t, options)
}
