package commands

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/triggers"
)

const (
	// maxLines is the largest manifest that is sent to a server, in bytes; JSON makes it somewhat longer.
	maxLines = 24 << 20
	schemeS3 = "s3://"
)

// batchCommand is everything about batches.
type batchCommand struct {
	Submit      batchSubmitCommand   `cmd:"" help:"Have a batch of audio in S3 transcribed, wherever its service runs."`
	Status      batchStatusCommand   `cmd:"" help:"Show batches with their progress, or one of them until it ends."`
	Output      batchOutputCommand   `cmd:"" help:"Fetch the transcripts of a finished batch, or what failed."`
	RetryFailed batchRetryCommand    `cmd:"" help:"Try the failed and quarantined items of a batch again."`
	Resume      batchResumeCommand   `cmd:"" help:"Go on with unfinished batches on which nobody works."`
	Cancel      batchCancelCommand   `cmd:"" help:"End a batch; what was done is kept."`
	Delete      batchDeleteCommand   `cmd:"" help:"Remove a batch with all its results."`
	Manifest    batchManifestCommand `cmd:"" help:"List audio for a batch: a folder, a pattern, or a prefix in S3. Needs no server."`
	Run         batchRunCommand      `cmd:"" help:"Transcribe a batch here and now, on the GPU machine itself. Needs no server."`
}

func (batchCommand) Help() string {
	return `A batch is a list of audio files (a manifest) that is transcribed item by item. Each result is kept in S3 as soon as it is there,
so whatever dies, only what was in flight is done again: the batch goes on with the next server, or the next runner.

  understudy batch manifest s3://audio/calls --to calls.jsonl
  understudy batch submit fun-asr calls.jsonl --base s3://audio/calls --wait
  understudy batch output fun-asr calls --to calls-text.jsonl

The layout in S3 is described in docs/batches.md.`
}

// batchParams are what a transcript depends on, and how the work is done.
type batchParams struct {
	Language      string        `help:"Language of the audio, such as zh." placeholder:"LANG"`
	Model         string        `help:"Model to ask the server for." placeholder:"NAME"`
	Hotwords      []string      `help:"Words to listen for." placeholder:"WORD"`
	Dialect       string        `help:"How the server is asked: openai (POST /v1/audio/transcriptions) or funasr (POST /asr, with hot words)." enum:",openai,funasr" default:"" placeholder:"DIALECT"`
	Path          string        `help:"Path on the server, instead of the dialect's." placeholder:"PATH"`
	Chunk         time.Duration `help:"Longer audio is cut into pieces of this length." placeholder:"TIME"`
	Concurrency   int           `help:"Requests in flight at once." placeholder:"N"`
	Attempts      int           `help:"After so many an item is quarantined." placeholder:"N"`
	OnModelChange string        `help:"What to do where a standby runs another model version: finish-old waits for the old one, restart does everything again, mix-and-mark goes on and marks each line." enum:",finish-old,restart,mix-and-mark" default:"" placeholder:"POLICY"`
}

func (p batchParams) job() jobs.Job {
	return jobs.Job{
		Concurrency: p.Concurrency, Attempts: p.Attempts, OnModelChange: p.OnModelChange,
		Params: jobs.Params{Dialect: p.Dialect, Path: p.Path, Model: p.Model, Language: p.Language, Hotwords: p.Hotwords, ChunkSeconds: p.Chunk.Seconds()},
	}
}

type batchSubmitCommand struct {
	Service  string `arg:"" help:"The service that transcribes it." predictor:"service"`
	Manifest string `arg:"" help:"The manifest: a file here, - for standard input, or s3://bucket/key." predictor:"file"`
	Job      string `help:"Name of the batch (default: the manifest's). The same name with the same manifest is the same batch." placeholder:"NAME"`
	Base     string `help:"Where the manifest's paths begin: s3://bucket/prefix (default for a manifest in S3: its own place)." placeholder:"S3URL"`
	batchParams
	Reason string `help:"What it is for; it is kept with the decision." short:"r"`
	Wait   bool   `help:"Show its progress until it ends." short:"w"`
}

func (batchSubmitCommand) Help() string {
	return `The manifest is NeMo's: a JSON object a line, with audio_filepath and duration; other fields come back in the output.
"understudy batch manifest" makes one. Audio lies in S3, where every standby can read it; for audio on one machine there is
"understudy batch run". What the flags leave open is as the service's runbook says (batches:).

A manifest with mistakes is refused as a whole, with all of them: line, field, why. Exit status: 0 submitted, with --wait
every item transcribed; 1 with --wait some failed; 4 the manifest has mistakes; 6 the name is taken by another batch.

  understudy batch submit fun-asr calls.jsonl --base s3://audio/calls --language zh --wait
  understudy batch submit fun-asr s3://audio/calls/manifest.jsonl --job night-21`
}

func (c *batchSubmitCommand) Run(g *Globals) error {
	s := triggers.Submission{
		Job: c.Job, Base: c.Base, Dialect: c.Dialect, Path: c.Path, Model: c.Model, Language: c.Language, Hotwords: c.Hotwords, ChunkSeconds: c.Chunk.Seconds(),
		Concurrency: c.Concurrency, Attempts: c.Attempts, OnModelChange: c.OnModelChange, Reason: c.Reason,
	}
	if s.Job == "" {
		s.Job = jobName(c.Manifest)
	}
	if strings.HasPrefix(c.Manifest, schemeS3) {
		s.Manifest = c.Manifest
	} else {
		lines, err := g.readManifest(c.Manifest)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(c.Base, schemeS3) {
			return exit{ExitUsage, errors.New("say with --base s3://bucket/prefix where the manifest's paths begin; audio on this machine takes understudy batch run")}
		}
		if _, err := jobs.CheckManifest(bytes.NewReader(lines), c.Base); err != nil {
			return g.manifestProblems(c.Manifest, err)
		}
		s.Lines = string(lines)
	}
	var made triggers.BatchDetail
	if err := g.decide(batchesPath(c.Service), s, &made); err != nil {
		return err
	}
	if c.Wait {
		return g.watchBatch(c.Service, made.Job)
	}
	return g.print(made, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d items, %s of audio, is %s\nsee how far it is: understudy batch status %s %s\n", made.Job, made.Items, length(made.TotalSeconds), made.State, c.Service, made.Job)
	})
}

// readManifest reads a manifest that is to be sent.
func (g *Globals) readManifest(name string) ([]byte, error) {
	in := io.Reader(g.in)
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, exit{ExitUsage, err}
		}
		defer file.Close()
		in = file
	}
	lines, err := io.ReadAll(io.LimitReader(in, maxLines+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(lines) > maxLines {
		return nil, exit{ExitUsage, fmt.Errorf("%s is larger than %d MiB: put it into S3, and name it there", name, maxLines>>20)}
	}
	return lines, nil
}

var noJobName = regexp.MustCompile(`[^a-z0-9]+`)

// jobName makes the name of a batch from that of its manifest; empty where that gives none.
func jobName(manifest string) string {
	name := filepath.Base(manifest)
	name = strings.TrimSuffix(name, filepath.Ext(name))
	name = strings.Trim(noJobName.ReplaceAllString(strings.ToLower(name), "-"), "-")
	return strings.Trim(name[:min(len(name), 63)], "-")
}

func batchesPath(service string, more ...string) string {
	path := "/api/v1/services/" + url.PathEscape(service) + "/batches"
	for _, m := range more {
		path += "/" + url.PathEscape(m)
	}
	return path
}

// oneBatch is a verb about one batch.
type oneBatch struct {
	Service string `arg:"" help:"The service." predictor:"service"`
	Job     string `arg:"" help:"The batch."`
	Reason  string `help:"Why; it is kept with the decision." short:"r"`
}

func (c oneBatch) order(g *Globals, verb string) error {
	reason, err := g.because(c.Reason)
	if err != nil {
		return err
	}
	return g.tell(batchesPath(c.Service, c.Job, verb), triggers.Because{Reason: reason})
}

type batchCancelCommand struct{ oneBatch }

func (batchCancelCommand) Help() string {
	return `Whoever works on it stops at the next write, a runner on another machine too. The results that are there stay in S3, and so does
the batch until it is deleted; it cannot be gone on with.

  understudy batch cancel fun-asr calls --reason "wrong folder"`
}

func (c *batchCancelCommand) Run(g *Globals) error { return c.order(g, "cancel") }

type batchRetryCommand struct{ oneBatch }

func (batchRetryCommand) Help() string {
	return `Their attempts are forgotten, and the batch runs once more over what has no result. What succeeded is not done again. First see
what failed: understudy batch output fun-asr calls --file failed

  understudy batch retry-failed fun-asr calls --reason "the files are there now"`
}

func (c *batchRetryCommand) Run(g *Globals) error { return c.order(g, "retry-failed") }

type batchDeleteCommand struct {
	oneBatch
	Yes bool `help:"Do not ask whether to go on." short:"y"`
}

func (batchDeleteCommand) Help() string {
	return `Manifest, results and output are removed from S3, for good. The audio stays. A deletion that broke off is repeated with the same
command.

  understudy batch delete fun-asr calls --reason "delivered"`
}

func (c *batchDeleteCommand) Run(g *Globals) error {
	if !c.Yes {
		if !g.terminal {
			return exit{ExitUsage, errors.New("it removes all results: say --yes")}
		}
		if err := g.confirm(fmt.Sprintf("Remove %s of %s with all its results?", c.Job, c.Service)); err != nil {
			return err
		}
	}
	return c.order(g, "delete")
}

type batchResumeCommand struct {
	Service  string `arg:"" help:"The service." predictor:"service"`
	Job      string `arg:"" optional:"" help:"Only this batch; without it every unfinished one."`
	Takeover bool   `help:"Also take batches from runners that were heard of less than a minute ago. Only if they are gone."`
	Reason   string `help:"Why; it is kept with the decision." short:"r"`
}

func (batchResumeCommand) Help() string {
	return `A recovery does this by itself. It is for the day when the batch store was away just then, and for batches that a runner on some
machine left behind. A runner that turns out to be alive loses nothing: whoever has the batch keeps it, unless --takeover.
Exit status: 0, or 1 where a batch does not go on.

  understudy batch resume fun-asr --reason "the store is back"`
}

func (c *batchResumeCommand) Run(g *Globals) error {
	reason, err := g.because(c.Reason)
	if err != nil {
		return err
	}
	var all []triggers.Resumed
	if err := g.decide(batchesPath(c.Service, "resume"), triggers.Resumption{Reason: reason, Job: c.Job, Takeover: c.Takeover}, &all); err != nil {
		return err
	}
	bad := 0
	err = g.print(all, func(w io.Writer) {
		row(w, "BATCH", "", "WORKED ON LAST BY")
		for _, r := range all {
			state := "goes on"
			if !r.OK {
				state = r.Problem
			}
			row(w, r.Job, state, r.Holder)
		}
	})
	for _, r := range all {
		if !r.OK {
			bad++
		}
	}
	if err == nil && bad > 0 {
		return exit{ExitFailed, fmt.Errorf("%d batches do not go on", bad)}
	}
	return err
}

type batchOutputCommand struct {
	Service string `arg:"" help:"The service." predictor:"service"`
	Job     string `arg:"" help:"The batch."`
	File    string `help:"What: output (what succeeded, with pred_text), failed, quarantined, or report." enum:"output,failed,quarantined,report" default:"output"`
	To      string `help:"Write it to a file, whole or not at all." type:"path" placeholder:"FILE"`
}

func (batchOutputCommand) Help() string {
	return `The output is the manifest's lines with all their fields and pred_text, the transcript. Those of items that failed have error and
error_code. The report has counts, the model versions, and a checksum of each file.
Exit status: 0; 6 where the batch is not finished yet.

  understudy batch output fun-asr calls > calls-text.jsonl
  understudy batch output fun-asr calls --file failed`
}

func (c *batchOutputCommand) Run(g *Globals) error {
	response, err := g.send(g.ctx, http.MethodGet, batchesPath(c.Service, c.Job, "output")+"?file="+c.File, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		return failed(response, body)
	}
	broke := func(err error) error { return exit{ExitAway, fmt.Errorf("the answer broke off: %w", err)} }
	if c.To == "" {
		if _, err := io.Copy(g.out, response.Body); err != nil {
			return broke(err)
		}
		return nil
	}
	return replace(c.To, func(w io.Writer) error {
		if _, err := io.Copy(w, response.Body); err != nil {
			return broke(err)
		}
		return nil
	})
}

// replace writes a file whole or not at all.
func replace(name string, write func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	err = write(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Chmod(file.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}
