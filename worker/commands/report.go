package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"

	"github.com/understudy-dr/understudy/activities/reports/disk"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

type reportCommand struct {
	ID      string `arg:"" help:"The recovery: its service and epoch, such as fun-asr-7." predictor:"recovery"`
	DataDir string `help:"Read the report on disk, without a running Understudy." type:"path" placeholder:"DIR"`
}

func (reportCommand) Help() string {
	return `It is printed as Markdown, or as JSON with --output json: how long it took against the objective and where the time went,
every step with its reason, the evidence, and who decided what.

  understudy report fun-asr-7 > incident.md`
}

func (c *reportCommand) Run(g *Globals) error {
	if c.DataDir != "" {
		report, err := reportOnDisk(g.ctx, c.DataDir, c.ID)
		if err != nil {
			return err
		}
		if g.Output == "json" {
			return g.print(report, nil)
		}
		_, err = fmt.Fprint(g.out, report.Markdown())
		return err
	}
	accept := "text/markdown"
	if g.Output == "json" {
		accept = "application/json"
	}
	_, body, err := g.do(g.ctx, http.MethodGet, "/api/v1/recoveries/"+url.PathEscape(c.ID)+"/report", nil, http.Header{"Accept": {accept}})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(g.out, string(body))
	return err
}

// reportOnDisk reads a report from a data directory.
func reportOnDisk(ctx context.Context, dataDir, id string) (report workflows.Report, err error) {
	service, epoch, ok := triggers.ParseRecoveryID(id)
	if !ok {
		return report, exit{ExitUsage, errors.New("a recovery's id is its service and its epoch, such as fun-asr-7")}
	}
	content, err := disk.New(filepath.Join(dataDir, "reports")).Read(ctx, workflows.ReportName(service, epoch)+".json")
	if err != nil {
		return report, fmt.Errorf("recovery %s: %w", id, err)
	}
	return report, json.Unmarshal(content, &report)
}
