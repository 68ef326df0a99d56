package commands

import (
	"fmt"
	"io"
	"time"

	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/push"
)

type volumeCommand struct {
	Push volumePushCommand `cmd:"" help:"Upload a model directory to S3, with its manifest."`
}

type volumePushCommand struct {
	Dir     string `arg:"" help:"The model directory." type:"existingdir"`
	To      string `arg:"" help:"Where to: s3://bucket/prefix. A new version best gets a prefix of its own."`
	Replace bool   `help:"Replace another model that is there."`
}

func (volumePushCommand) Help() string {
	return `Every file is hashed; what is there already is not sent again; MANIFEST.sha256 is written last, so that a prefix holds either
a whole model or none. The endpoint and its credentials are those of the site file (s3:), else AWS's usual ones.

  understudy volume push /models/Fun-ASR-Nano-2512 s3://models/Fun-ASR-Nano-2512`
}

func (c *volumePushCommand) Run(g *Globals) error {
	site, err := g.site()
	if err != nil {
		return err
	}
	told := time.Time{}
	result, err := push.Push(g.ctx, push.Config{
		Clients: s3client.New(site.S3), Dir: c.Dir, To: c.To, Replace: c.Replace,
		Tell: func(step push.Step, p volumes.Progress) {
			if !g.terminal || p.Total == 0 || time.Since(told) < 100*time.Millisecond && p.Done < p.Total {
				return
			}
			told = time.Now()
			fmt.Fprintf(g.err, "\r\033[K%s %3d %% of %.1f MB  %.60s", step, 100*p.Done/p.Total, float64(p.Total)/1e6, p.File)
		},
	})
	if g.terminal {
		fmt.Fprint(g.err, "\r\033[K")
	}
	if err != nil {
		return err
	}
	return g.print(result, func(w io.Writer) {
		fmt.Fprintf(w, "%s holds version %s: %d files, %.1f MB; %d uploaded, %d were there\n", result.At, result.Version, result.Files, float64(result.Bytes)/1e6, result.Uploaded, result.Skipped)
	})
}
