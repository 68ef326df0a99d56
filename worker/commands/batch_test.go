package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/jobstest"
	"github.com/understudy-dr/understudy/activities/jobs/standalone"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

// setBatches is a scene whose service has a batch store.
func setBatches(t *testing.T) (*scene, *triggerstest.Batches) {
	t.Helper()
	batches := triggerstest.NewBatches(t)
	library := triggerstest.BatchLibrary("asr")
	s := setEdited(t, nil, func(c *triggers.APIConfig) {
		c.Batches, c.Library = batches.Batching(), func() *runbooks.Library { return library }
	}, "asr")
	return s, batches
}

// list writes a manifest of so many items, and returns its path.
func list(t *testing.T, name string, items int) string {
	t.Helper()
	var text strings.Builder
	for i := range items {
		fmt.Fprintf(&text, `{"audio_filepath": "%d.wav", "duration": 2}`+"\n", i)
	}
	return put(t, filepath.Join(t.TempDir(), name), text.String())
}

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBatchFromTheCommandLine(t *testing.T) {
	s, batches := setBatches(t)
	calls := list(t, "Calls 21.jsonl", 3)
	s.want(s.run("batch", "submit", "asr", calls), ExitUsage, "--base s3://bucket/prefix")
	s.want(s.run("batch", "submit", "asr", calls, "--base", "s3://audio/calls", "--language", "zh", "--concurrency", "7"), ExitOK, "calls-21: 3 items, 6.0s of audio, is running", "understudy batch status asr calls-21")
	if j, _, err := batches.Open(t.Context(), "calls-21"); err != nil || j.Concurrency != 7 || j.Attempts != 2 || j.Params.Language != "zh" {
		t.Errorf("%+v %v", j, err)
	}
	batches.Works("calls-21", triggers.BatchRun{Running: true, State: workflows.BatchState{Active: "hot"}, Live: jobs.Progress{Items: 3, Counts: jobs.Counts{Succeeded: 1, AudioSeconds: 2}, TotalSeconds: 6, Speed: 4}})
	s.want(s.run("batch", "status"), ExitOK, "asr", "calls-21", "running", "1 of 3", "2.0s of 6.0s", "4.0x", "1s", "hot")
	s.want(s.run("batch", "status", "asr", "calls-21"), ExitOK, "worked on", "hot, epoch 0", "s3://batches/asr/calls-21")
	var detail triggers.BatchDetail
	if p := s.run("batch", "status", "asr", "calls-21", "-o", "json"); json.Unmarshal([]byte(p.out), &detail) != nil || detail.Succeeded != 1 {
		t.Error(p)
	}
	s.want(s.run("batch", "status", "asr", "--wait"), ExitUsage, "name it")
	s.want(s.run("batch", "output", "asr", "calls-21"), ExitRefused, "items are left to do")
	s.want(s.run("batch", "cancel", "asr", "calls-21"), ExitUsage, "--reason")
	s.want(s.run("batch", "cancel", "asr", "calls-21", "--reason", "wrong folder"), ExitOK, "batch cancel asr/calls-21: cancelled")
	s.want(s.run("batch", "status", "asr", "calls-21", "--wait"), ExitFailed, "it is cancelled: wrong folder")
	s.want(s.run("batch", "submit", "asr", calls, "--base", "s3://audio/calls", "--language", "zh", "--concurrency", "7"), ExitRefused, "delete it, or choose another name")
	s.want(s.run("batch", "resume", "asr", "--reason", "r"), ExitOK, "BATCH")
	s.want(s.run("batch", "resume", "asr", "calls-21", "--reason", "r"), ExitFailed, "no unfinished batch")
	s.want(s.run("batch", "delete", "asr", "calls-21", "--reason", "r"), ExitUsage, "--yes")
	s.want(s.typed("n\n", "batch", "delete", "asr", "calls-21", "--reason", "r"), ExitFailed, "with all its results?", "nothing was done")
	s.want(s.typed("y\n", "batch", "delete", "asr", "calls-21", "--reason", "r"), ExitOK, "deleted")
	s.want(s.run("batch", "status", "asr", "calls-21"), ExitFailed, "not there")
}

func TestMistakesOfManifests(t *testing.T) {
	s, batches := setBatches(t)
	var text strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, `{"audio_filepath": "../%d.wav"}`+"\n", i)
	}
	bad := put(t, filepath.Join(t.TempDir(), "bad.jsonl"), text.String())
	all := []string{"LINE", "line", "audio_filepath", "it climbs with ..", "40    duration", "has 80 mistakes; nothing was started"}
	all[1] = "1     audio_filepath"
	s.want(s.run("batch", "submit", "asr", bad, "--base", "s3://audio"), ExitProblem, all...)
	s.want(s.run("batch", "manifest", "--check", bad), ExitProblem, all...)
	s.want(s.run("batch", "manifest", "--check", list(t, "good.jsonl", 2)), ExitOK, "2 items, 4.0s of audio, no mistakes")
	var problems []jobs.Problem
	if p := s.run("batch", "manifest", "--check", bad, "-o", "json"); json.Unmarshal([]byte(p.out), &problems) != nil || len(problems) != 80 || problems[79].Line != 40 {
		t.Error(p)
	}
	if n := len(batches.Started()); n != 0 {
		t.Errorf("%d were started", n)
	}
}

func TestManifestOfAFolder(t *testing.T) {
	s := set(t, nil, "asr")
	dir := t.TempDir()
	put(t, filepath.Join(dir, "b.wav"), wav(2))
	put(t, filepath.Join(dir, "a.wav"), wav(1))
	put(t, filepath.Join(dir, "notes.txt"), "no audio")
	s.want(s.run("batch", "manifest", dir), ExitOK, `{"audio_filepath":"a.wav","duration":1}`+"\n"+`{"audio_filepath":"b.wav","duration":2}`, "2 items, 3.0s of audio, base "+dir+"; 1 other files")
	to := filepath.Join(t.TempDir(), "list.jsonl")
	put(t, filepath.Join(dir, "empty.wav"), "")
	s.want(s.run("batch", "manifest", dir, "--to", to), ExitFailed, "left out: empty.wav", "1 files were left out")
	if text, err := os.ReadFile(to); err != nil || strings.Count(string(text), "\n") != 2 {
		t.Errorf("%s %v", text, err)
	}
	s.want(s.run("batch", "manifest", t.TempDir(), "--to", to), ExitProblem, "there is no audio")
	if text, err := os.ReadFile(to); err != nil || strings.Count(string(text), "\n") != 2 {
		t.Errorf("the file of before is gone: %s %v", text, err)
	}
}

// wav is silence of so many seconds.
func wav(seconds int) string {
	const rate = 16000
	n := uint32(seconds * rate * 2)
	le := func(v uint32, bytes int) string {
		return string([]byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}[:bytes])
	}
	return "RIFF" + le(36+n, 4) + "WAVEfmt " + le(16, 4) + le(1, 2) + le(1, 2) + le(rate, 4) + le(2*rate, 4) + le(2, 2) + le(16, 2) + "data" + le(n, 4) + strings.Repeat("\x00", int(n))
}

// recognizer is a speech server that hears the same in everything, once it is let.
type recognizer struct {
	*httptest.Server
	asked atomic.Int64
	// each is called before each answer.
	each func(n int64)
}

func newRecognizer(t *testing.T) *recognizer {
	r := &recognizer{each: func(int64) {}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version":"7"}`) })
	mux.HandleFunc("POST /v1/audio/transcriptions", func(w http.ResponseWriter, _ *http.Request) {
		r.each(r.asked.Add(1))
		fmt.Fprint(w, `{"text":"one two","duration":1,"language":"en"}`)
	})
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Close)
	return r
}

func TestBatchRun(t *testing.T) {
	s := set(t, nil, "asr")
	_, store := jobstest.InMemory(t, "batches")
	config, err := json.Marshal(runbooks.Site{APIVersion: runbooks.APIVersion, S3: map[string]runbooks.S3{"default": store}})
	if err != nil {
		t.Fatal(err)
	}
	site := put(t, filepath.Join(t.TempDir(), "understudy.yaml"), string(config))
	dir := t.TempDir()
	var text strings.Builder
	for i := range 6 {
		put(t, filepath.Join(dir, fmt.Sprintf("%d.wav", i)), wav(1))
		fmt.Fprintf(&text, `{"audio_filepath": "%d.wav", "duration": 1}`+"\n", i)
	}
	calls := put(t, filepath.Join(dir, "calls.jsonl"), text.String())
	asr := newRecognizer(t)
	command := func(more ...string) []string {
		return append([]string{"batch", "run", "--config", site, "--store", "s3://batches/asr", "--service", "asr", "--url", asr.URL, "--patience", "1s"}, more...)
	}
	s.want(s.run("batch", "run", calls), int(standalone.Invalid), "--store s3://bucket/prefix")
	s.want(s.run(command()...), int(standalone.Invalid), "name a manifest")
	s.want(s.run(command("--job", "none")...), int(standalone.Invalid), "there is no job none")
	s.want(s.run(command(calls, "--version-path", "/nowhere")...), int(standalone.Invalid), "--revision")
	s.want(s.run(command(calls, "--base", "/elsewhere")...), int(standalone.Flawed), "6 failed", "failed.jsonl", "some items failed")
	s.want(s.run(command(calls)...), int(standalone.Invalid), "choose another id")
	bad := put(t, filepath.Join(dir, "bad.jsonl"), `{"audio_filepath": "../x.wav"}`)
	s.want(s.run(command(bad)...), int(standalone.Invalid), "it climbs with ..", "has 2 mistakes")

	// Interrupted after some items, it ends in good order, and goes on where it was.
	ctx, interrupt := context.WithCancel(t.Context())
	asr.asked.Store(0)
	asr.each = func(n int64) {
		if n == 2 {
			interrupt() // while this is in flight
		}
	}
	p := s.callWith(ctx, nil, command(calls, "--job", "again", "--concurrency", "1")...)
	s.want(p, int(standalone.Interrupted), "goes on where it was")
	asr.each = func(int64) {}
	var out batchOutcome
	p = s.run(command("--job", "again", "-o", "json")...)
	if json.Unmarshal([]byte(p.out), &out) != nil || p.code != 0 || out.Report == nil || out.Report.Succeeded != 6 {
		t.Fatal(p)
	}
	// The one in flight is asked again, and counted, only where a busy machine cannot confirm its model's revision in time.
	if n := asr.asked.Load(); n < 6 || n > 7 || out.Report.RedoneSeconds != float64(n-6) {
		t.Errorf("%d requests for 6 items, %.0f s done again", n, out.Report.RedoneSeconds)
	}
	asr.Close()
	s.want(s.run(command(calls, "--job", "away")...), int(standalone.Away), "away")
}
