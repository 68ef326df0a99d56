package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/audio"
	"github.com/understudy-dr/understudy/activities/jobs/s3store"
	"github.com/understudy-dr/understudy/activities/jobs/standalone"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/speech/chunk"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
)

type batchRunCommand struct {
	Manifest string `arg:"" optional:"" help:"The manifest: a file here, - for standard input, or s3://bucket/key. Without one, a batch that is there already goes on." predictor:"file"`
	Job      string `help:"Name of the batch (default: the manifest's)." placeholder:"NAME"`
	Base     string `help:"Where the manifest's paths begin: a folder, or s3://bucket/prefix (default: the manifest's own place)." placeholder:"BASE"`
	Runbook  string `help:"Runbook of the service: what is not said here is as it says." type:"existingfile" placeholder:"FILE"`
	Service  string `help:"Name of the service (default: the runbook's)." placeholder:"NAME"`
	Store    string `help:"Where batches live (default: the runbook's): s3://bucket/prefix. The endpoint is the site file's (s3:)." placeholder:"S3URL"`
	URL      string `help:"The speech server (default: the runbook's primary)." name:"url" placeholder:"URL"`
	batchParams
	Revision    string        `help:"The model's version, where the server does not say it." placeholder:"TEXT"`
	VersionPath string        `help:"Where the server says its model's version." default:"/version" placeholder:"PATH"`
	Takeover    bool          `help:"Take the batch from a runner that was heard of less than a minute ago. Only if it is gone."`
	KeepGoing   bool          `help:"Go on where every item fails in the same way."`
	Patience    time.Duration `help:"How long server or store may be away before it gives up." default:"10m" placeholder:"TIME"`
	Holder      string        `help:"Name of this runner, for people, and for itself when it comes back (default: the command and the host)." placeholder:"NAME"`
}

func (batchRunCommand) Help() string {
	return `It needs a speech server and a batch store in S3, and no Understudy: results are written to the same layout, so that Understudy goes on
with the batch when this machine dies, and this command with what Understudy began. Run it again after whatever happened: it goes
on where the batch is.

Ctrl-C ends it in good order, when what is in flight is done; a second one at once.

Exit status: 0 every item is transcribed; 1 it could not go on; 2 called wrongly, or the manifest has mistakes; 3 finished, and some
items failed; 4 another runner has the batch; 5 the server was away too long, or refuses everything; 6 the store was away too
long, or ignores conditional writes; 7 the server has another model version than the batch; 8 the batch is cancelled; 130
interrupted.

  understudy batch run calls.jsonl --runbook fun-asr.yaml
  understudy batch run calls.jsonl --store s3://batches/fun-asr --service fun-asr --url http://127.0.0.1:7860 --base /data/calls
  understudy batch run --job calls --runbook fun-asr.yaml`
}

// batchOutcome is how a run ended, for programs.
type batchOutcome struct {
	Job      string        `json:"job"`
	Exit     int           `json:"exit"`
	Error    string        `json:"error,omitempty"`
	Progress jobs.Progress `json:"progress"`
	Report   *jobs.Report  `json:"report,omitempty"`
}

func (c *batchRunCommand) Run(g *Globals) error {
	usage := func(err error) error { return exit{int(standalone.Invalid), err} }
	runbook, err := c.fill(g)
	if err != nil {
		return usage(err)
	}
	site, err := g.site()
	if err != nil {
		return usage(err)
	}
	clients := s3client.New(site.S3)
	at, err := s3client.ParseURL(c.Store)
	if err != nil {
		return usage(fmt.Errorf("--store: %w", err))
	}
	client, err := clients.For(at.Bucket)
	if err != nil {
		return usage(err)
	}
	options := standalone.Options{Runner: jobs.Runner{Store: jobs.NewStore(s3store.New(client, at)), Speech: speech.NewClient()}, Holder: c.Holder}
	if cutter, err := chunk.New(chunk.Options{}); err == nil {
		options.Runner.Cutter = cutter
	} else {
		fmt.Fprintln(g.err, "understudy: long audio is sent whole:", err)
	}
	options.Job = c.batchParams.job()
	options.Job.ID, options.Job.Service, options.Job.CreatedBy, options.Job.Base = c.Job, c.Service, accountName(), c.Base
	if runbook.Batches != nil {
		options.Job.Apply(*runbook.Batches)
	}
	if c.Manifest != "" {
		file, done, err := c.open(g, clients)
		if err != nil {
			return usage(err)
		}
		defer done()
		if _, err := jobs.CheckManifest(file, c.Base); err != nil {
			return usage(g.manifestProblems(c.Manifest, err))
		}
		options.Manifest = file
	} else if there, _, err := options.Runner.Store.Open(g.ctx, c.Job); err == nil {
		c.Base = there.Base
	}
	options.Runner.Audio = audio.New(audio.Options{Clients: clients, Roots: []string{c.Base}})
	version := runbook.Version
	if version == nil {
		version = &runbooks.Version{Actual: runbooks.Actual{Path: c.VersionPath}}
	}
	options.Work = jobs.Work{
		URL: c.URL, Revision: c.Revision, Patience: c.Patience, KeepGoing: c.KeepGoing,
		Claim: jobs.Claim{Takeover: c.Takeover, Lanes: c.Concurrency},
	}
	if c.Revision == "" {
		options.Work.Confirm = func(ctx context.Context) (string, error) { return activities.Revision(ctx, c.URL, version) }
		options.Revise = options.Work.Confirm
		if err := c.speaks(g.ctx, options.Revise); err != nil {
			return usage(err)
		}
	}
	return c.carryOut(g, options)
}

// fill takes what the flags leave open from the runbook.
func (c *batchRunCommand) fill(g *Globals) (r runbooks.Runbook, err error) {
	if c.Runbook != "" {
		library, problems := runbooks.LoadLibrary(c.Runbook)
		if err := problems.Err(); err != nil {
			return r, fmt.Errorf("the runbook cannot be used:\n%w", err)
		}
		r, _ = library.Lookup(library.Services()[0])
		or(&c.Service, r.Service)
		or(&c.URL, r.Primary.URL)
		if r.Batches != nil {
			or(&c.Store, r.Batches.Store)
		}
	}
	if c.Job == "" && c.Manifest != "-" {
		c.Job = jobName(c.Manifest)
	}
	switch {
	case c.Store == "":
		return r, errors.New("say with --store s3://bucket/prefix where batches live, or name a --runbook that does")
	case c.URL == "":
		return r, errors.New("say with --url where the speech server is, or name a --runbook")
	case c.Service == "":
		return r, errors.New("say with --service whose batch it is, or name a --runbook")
	case c.Job == "":
		return r, errors.New("name a manifest, or with --job a batch that is there already")
	}
	switch {
	case c.Base != "" && strings.HasPrefix(c.Base, schemeS3), c.Manifest == "":
	case c.Base == "" && strings.HasPrefix(c.Manifest, schemeS3):
		c.Base = strings.TrimSuffix(c.Manifest, "/"+path.Base(c.Manifest))
	case c.Base == "" && c.Manifest == "-":
		return r, errors.New("say with --base where the paths of the manifest begin")
	default:
		if c.Base == "" {
			c.Base = filepath.Dir(c.Manifest)
		}
		if c.Base, err = filepath.Abs(c.Base); err != nil {
			return r, err
		}
	}
	_, err = url.Parse(c.URL)
	return r, err
}

func or(into *string, value string) {
	if *into == "" {
		*into = value
	}
}

// open makes the manifest a file that can be read again.
func (c *batchRunCommand) open(g *Globals, clients *s3client.Clients) (*os.File, func(), error) {
	if strings.HasPrefix(c.Manifest, schemeS3) {
		copied, err := audio.New(audio.Options{Clients: clients, Roots: []string{schemeS3}}).Open(g.ctx, c.Manifest)
		if err != nil {
			return nil, nil, err
		}
		file, err := os.Open(copied.Path)
		return file, func() {
			file.Close()
			if copied.Close != nil {
				copied.Close()
			}
		}, err
	}
	if c.Manifest != "-" {
		file, err := os.Open(c.Manifest)
		return file, func() { file.Close() }, err
	}
	file, err := os.CreateTemp("", "understudy-manifest-*")
	if err != nil {
		return nil, nil, err
	}
	os.Remove(file.Name()) // it lives as long as it is open
	if _, err = io.Copy(file, g.in); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	return file, func() { file.Close() }, err
}

// speaks reports a server that answers and will never say its version. One that
// does not answer may still be loading.
func (c *batchRunCommand) speaks(ctx context.Context, revise func(context.Context) (string, error)) error {
	_, err := revise(ctx)
	var away *url.Error
	if err == nil || errors.As(err, &away) || ctx.Err() != nil || strings.Contains(err.Error(), ": 5") {
		return nil
	}
	return fmt.Errorf("%w; name its path with --version-path, or the version itself with --revision", err)
}

// carryOut runs the batch. The first Ctrl-C ends it when what is in flight is
// done, the second one at once.
func (c *batchRunCommand) carryOut(g *Globals, options standalone.Options) error {
	bar := newBar(g.err)
	options.Stop = g.ctx.Done()
	options.Work.Progress = func(p jobs.Progress) { bar.show(seen(p)) }
	options.Collected = func(items int64) { bar.note(fmt.Sprintf("writing the output: %d items", items)) }
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.ctx))
	defer cancel()
	defer context.AfterFunc(g.ctx, func() {
		bar.note("ends when what is in flight is done; Ctrl-C again ends it at once")
		again := make(chan os.Signal, 1)
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(again)
		select {
		case <-again:
			cancel()
		case <-ctx.Done():
		}
	})()
	out, err := standalone.Run(ctx, options)
	bar.end()
	end := batchOutcome{Job: c.Job, Exit: int(out.Exit), Progress: out.Progress, Report: out.Report}
	if err != nil {
		end.Error = err.Error()
	}
	if r := out.Report; g.Output == "json" {
		_ = g.print(end, nil)
	} else if r != nil {
		fmt.Fprintf(g.out, "%s: %d of %d items, %d failed, %d quarantined; %s of audio, %s of it done again\n",
			c.Job, r.Succeeded, r.Items, r.Failed, r.Quarantined, length(r.AudioSeconds), length(r.RedoneSeconds))
		for _, f := range r.Files {
			fmt.Fprintf(g.out, "%s/%s  %d lines, sha256 %s\n", c.Store, f.Key, f.Lines, f.SHA256)
		}
	}
	switch {
	case err != nil:
		return exit{int(out.Exit), err}
	case out.Exit != standalone.Done:
		return exit{int(out.Exit), errors.New("some items failed; the files above say which, and why")}
	}
	return nil
}

// seen is a progress as the bar shows it.
func seen(p jobs.Progress) triggers.Batch {
	b := triggers.Batch{
		Job: p.Job, State: string(jobs.Running), Items: p.Items, Succeeded: p.Succeeded, Failed: p.Failed, Quarantined: p.Quarantined,
		AudioSeconds: p.AudioSeconds, TotalSeconds: p.TotalSeconds, RedoneSeconds: p.RedoneSeconds, Speed: p.Speed,
	}
	if left, ok := p.Left(); ok {
		b.LeftSeconds = left.Seconds()
	}
	return b
}
