package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/activities/reports/disk"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
	"github.com/understudy-dr/understudy/workflows/printing"
)

type reportCommand struct {
	ID      string `arg:"" optional:"" help:"The recovery: its service and epoch, such as fun-asr-7. With --verify and --trends: the service." predictor:"recovery"`
	Format  string `help:"How it is printed: markdown, json, or html, a page to look at or to print." enum:",markdown,json,html" default:"" placeholder:"FORMAT"`
	Verify  bool   `help:"See whether the reports of a service, or of all, are what was written, and none is missing." xor:"what"`
	Trends  bool   `help:"Show how long the tiers and steps of a service took, and what has changed." xor:"what"`
	DataDir string `help:"Read the reports on disk, without a running Understudy." type:"path" placeholder:"DIR"`
}

func (reportCommand) Help() string {
	return `It says how long a recovery, drill or failback took against the objective and against earlier runs, where the time went, every step
with its reason, the evidence, and who decided what.

  understudy report fun-asr-7 > incident.md
  understudy report fun-asr-7 --format html > incident.html

Every report carries its own SHA-256 and that of the report before it. --verify looks whether all are there, unchanged and in their
order, on disk and in the bucket of the site file, names the first that is not, and then exits with 1:

  understudy report --verify
  understudy report --verify fun-asr --data-dir /var/lib/understudy

  understudy report --trends fun-asr`
}

func (c *reportCommand) Run(g *Globals) error {
	switch {
	case c.Verify:
		return c.verify(g)
	case c.ID == "" && c.Trends:
		return exit{ExitUsage, errors.New("the trends of which service? such as: understudy report --trends fun-asr")}
	case c.Trends:
		return c.trends(g)
	case c.ID == "":
		return exit{ExitUsage, errors.New("which report? such as fun-asr-7; understudy history lists them")}
	}
	format := c.Format
	if format == "" {
		format = triggers.FormatMarkdown
		if g.Output == "json" {
			format = triggers.FormatJSON
		}
	}
	var body []byte
	var err error
	if c.DataDir != "" {
		body, err = c.onDisk(g.ctx, format)
	} else {
		_, body, err = g.do(g.ctx, http.MethodGet, "/api/v1/recoveries/"+url.PathEscape(c.ID)+"/report?format="+format, nil, nil)
	}
	if err == nil {
		_, err = g.out.Write(body) // byte for byte: the file still has its seal
	}
	return err
}

// onDisk is a report of a data directory: the file as it was written, or made
// from the report where there is none.
func (c *reportCommand) onDisk(ctx context.Context, format string) ([]byte, error) {
	report, err := reportOnDisk(ctx, c.DataDir, c.ID)
	if err != nil {
		return nil, err
	}
	ext := map[string]string{triggers.FormatMarkdown: printing.MarkdownExt, triggers.FormatPage: printing.PageExt}[format]
	if ext == "" {
		ext = ".json"
	}
	body, err := onDisk(c.DataDir).Read(ctx, workflows.ReportName(report.Service, report.Epoch)+ext)
	if !errors.Is(err, reports.ErrNone) {
		return body, err
	}
	if format == triggers.FormatPage {
		return printing.Page(report)
	}
	return []byte(printing.Markdown(report)), nil
}

func onDisk(dataDir string) *disk.Store { return disk.New(filepath.Join(dataDir, "reports")) }

// reportOnDisk reads a report from a data directory.
func reportOnDisk(ctx context.Context, dataDir, id string) (report workflows.Report, err error) {
	service, epoch, ok := triggers.ParseRecoveryID(id)
	if !ok {
		return report, exit{ExitUsage, errors.New("a recovery's id is its service and its epoch, such as fun-asr-7")}
	}
	content, err := onDisk(dataDir).Read(ctx, workflows.ReportName(service, epoch)+".json")
	if err != nil {
		return report, fmt.Errorf("recovery %s: %w", id, err)
	}
	return report, json.Unmarshal(content, &report)
}
