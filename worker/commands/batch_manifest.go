package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/audio"
	"github.com/understudy-dr/understudy/activities/jobs/manifest"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/speech/chunk"
)

type batchManifestCommand struct {
	Source string `arg:"" help:"A folder, a file, a pattern in quotes ('calls/*.wav'), or s3://bucket/prefix. With --check: a manifest."`
	To     string `help:"Write the manifest to a file, whole or not at all; without it to standard output." type:"path" placeholder:"FILE"`
	Check  bool   `help:"SOURCE is a manifest: say all that is wrong with it."`
	Base   string `help:"With --check: where its paths begin, a folder or s3://bucket/prefix (default: its own folder)." placeholder:"BASE"`
}

func (batchManifestCommand) Help() string {
	return `Folders are walked to their leaves, in the order of names. The length of each file is measured: that of plain WAV is in its header, of
everything else sox or ffmpeg finds it. The manifest's paths begin at the folder, or at the prefix, which is told as the base.
What looks like audio and is none is left out, and told with the reason. S3 is reached as the site file says (s3:).

With --check every mistake of a manifest is printed: line, field, and what is wrong.
Exit status: 0; 1 where something was left out; 4 where a checked manifest has mistakes, or there is no audio.

  understudy batch manifest /data/calls --to calls.jsonl
  understudy batch manifest s3://audio/calls > calls.jsonl
  understudy batch manifest --check calls.jsonl --base s3://audio/calls`
}

// manifestSummary is what a manifest holds.
type manifestSummary struct {
	Base    string         `json:"base"`
	Items   int64          `json:"items"`
	Seconds float64        `json:"seconds"`
	Others  int64          `json:"others"`
	Skipped []jobs.Problem `json:"skipped"`
}

func (c *batchManifestCommand) Run(g *Globals) error {
	if c.Check {
		return c.check(g)
	}
	if g.Output == "json" && c.To == "" {
		return exit{ExitUsage, errors.New("the manifest itself goes to standard output: with --output json, say --to FILE")}
	}
	options, err := c.options(g)
	if err != nil {
		return err
	}
	var made manifest.Summary
	write := func(w io.Writer) error {
		var err error
		made, err = manifest.Write(g.ctx, w, options)
		return err
	}
	if c.To == "" {
		err = write(g.out)
	} else {
		err = replace(c.To, write)
	}
	if isTerminal(g.err) {
		fmt.Fprint(g.err, "\r\033[K")
	}
	for _, s := range made.Skipped {
		fmt.Fprintf(g.err, "left out: %s: %s\n", oneLine(s.Field), oneLine(s.Why))
	}
	if err != nil {
		if errors.Is(err, jobs.ErrInvalid) {
			return exit{ExitProblem, err}
		}
		return err
	}
	summary := manifestSummary{Base: made.Base, Items: made.Items, Seconds: made.Seconds, Others: made.Others, Skipped: made.Skipped}
	if g.Output == "json" {
		err = g.print(summary, nil)
	} else {
		fmt.Fprintf(g.err, "%d items, %s of audio, base %s; %d other files\n", made.Items, length(made.Seconds), made.Base, made.Others)
	}
	if err == nil && len(made.Skipped) > 0 {
		return exit{ExitFailed, fmt.Errorf("%d files were left out", len(made.Skipped))}
	}
	return err
}

func (c *batchManifestCommand) options(g *Globals) (manifest.Options, error) {
	o := manifest.Options{Source: c.Source}
	if strings.HasPrefix(c.Source, schemeS3) {
		site, err := g.site()
		if err != nil {
			return o, err
		}
		o.Clients = s3client.New(site.S3)
		o.Audio = audio.New(audio.Options{Clients: o.Clients, Roots: []string{schemeS3}})
	}
	if cutter, err := chunk.New(chunk.Options{}); err == nil { // without a decoder plain WAV can be measured all the same
		o.Seconds = func(ctx context.Context, path string) (float64, error) { return cutter.Seconds(ctx, path) }
	}
	if isTerminal(g.err) {
		told := time.Time{}
		o.Progress = func(files int64) {
			if time.Since(told) > 100*time.Millisecond {
				told = time.Now()
				fmt.Fprintf(g.err, "\r\033[K%d files", files)
			}
		}
	}
	return o, nil
}

// check prints all mistakes of a manifest.
func (c *batchManifestCommand) check(g *Globals) error {
	base := c.Base
	if base == "" {
		base = filepath.Dir(c.Source)
	}
	if !strings.HasPrefix(base, schemeS3) {
		var err error
		if base, err = filepath.Abs(base); err != nil {
			return err
		}
	}
	file, err := os.Open(c.Source)
	if err != nil {
		return exit{ExitUsage, err}
	}
	defer file.Close()
	figures, err := jobs.CheckManifest(file, base)
	if err != nil {
		return g.manifestProblems(c.Source, err)
	}
	return g.print(figures, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d items, %s of audio, no mistakes\n", c.Source, figures.Items, length(figures.Seconds))
	})
}

// manifestProblems prints what is wrong with a manifest: line, field, why.
func (g *Globals) manifestProblems(name string, err error) error {
	var wrong *jobs.ManifestError
	if !errors.As(err, &wrong) {
		if errors.Is(err, jobs.ErrInvalid) {
			return exit{ExitUsage, err}
		}
		return err
	}
	printed := g.print(wrong.Problems, func(w io.Writer) {
		row(w, "LINE", "FIELD", "WHAT IS WRONG")
		for _, p := range wrong.Problems {
			line := ""
			if p.Line > 0 {
				line = fmt.Sprint(p.Line)
			}
			row(w, line, p.Field, p.Why)
		}
	})
	return errors.Join(printed, exit{ExitProblem, fmt.Errorf("%s has %d mistakes; nothing was started", name, int64(len(wrong.Problems))+wrong.More)})
}
