package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/understudy-dr/understudy/activities/reports/disk"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

type historyCommand struct {
	ID      string `arg:"" optional:"" help:"One recovery in full: its service and epoch, such as fun-asr-7."`
	Service string `help:"Only recoveries of this service." placeholder:"NAME"`
	Limit   int    `help:"How many." default:"20"`
	DataDir string `help:"Read the reports on disk, without a running Understudy." type:"path" placeholder:"DIR"`
}

func (historyCommand) Help() string {
	return `Reports are kept outside Temporal: with --data-dir they can be read when nothing runs any more.`
}

func (c *historyCommand) Run(g *Globals) error {
	switch {
	case c.ID != "":
		return c.one(g)
	case c.DataDir != "":
		all, err := c.fromDisk(g.ctx)
		if err != nil {
			return err
		}
		return c.list(g, all)
	}
	var all []triggers.Recovery
	if err := g.get("/api/v1/recoveries?"+url.Values{"service": {c.Service}, "limit": {fmt.Sprint(c.Limit)}}.Encode(), &all); err != nil {
		return err
	}
	return c.list(g, all)
}

func (c *historyCommand) list(g *Globals, all []triggers.Recovery) error {
	return g.print(all, func(w io.Writer) {
		row(w, "RECOVERY", "STARTED", "OUTCOME", "TIER", "VERDICT", "TIME", "OBJECTIVE", "REASON")
		for _, r := range all {
			row(w, r.ID, when(r.Started), r.Outcome, r.Tier, r.Verdict, seconds(r.RTOSeconds), r.Objective, r.Reason)
		}
	})
}

func (c *historyCommand) one(g *Globals) error {
	var detail triggers.RecoveryDetail
	if c.DataDir != "" {
		report, err := c.report(g.ctx)
		if err != nil {
			return err
		}
		detail.ID, detail.Report = c.ID, report
	} else if err := g.get("/api/v1/recoveries/"+url.PathEscape(c.ID), &detail); err != nil {
		return err
	}
	if g.Output == "json" {
		return g.print(detail, nil)
	}
	_, err := fmt.Fprint(g.out, detail.Report.Markdown())
	if detail.Link != "" {
		fmt.Fprintln(g.out, "\nIn the Temporal UI:", detail.Link)
	}
	return err
}

// fromDisk lists the reports of a data directory.
func (c *historyCommand) fromDisk(ctx context.Context) ([]triggers.Recovery, error) {
	store := disk.New(filepath.Join(c.DataDir, "reports"))
	names, err := store.List(ctx, c.Service)
	if err != nil {
		return nil, err
	}
	all := []triggers.Recovery{}
	for i := len(names) - 1; i >= 0 && len(all) < c.Limit; i-- {
		if !strings.HasSuffix(names[i], ".json") {
			continue
		}
		content, err := store.Read(ctx, names[i])
		if err != nil {
			return nil, err
		}
		var report workflows.Report
		if err := json.Unmarshal(content, &report); err != nil {
			return nil, fmt.Errorf("report %s: %w", names[i], err)
		}
		all = append(all, triggers.Listed(report))
	}
	return all, nil
}

func (c *historyCommand) report(ctx context.Context) (report workflows.Report, err error) {
	service, epoch, ok := triggers.ParseRecoveryID(c.ID)
	if !ok {
		return report, exit{ExitUsage, errors.New("a recovery's id is its service and its epoch, such as fun-asr-7")}
	}
	store := disk.New(filepath.Join(c.DataDir, "reports"))
	content, err := store.Read(ctx, workflows.ReportName(service, epoch)+".json")
	if err != nil {
		return report, fmt.Errorf("recovery %s: %w", c.ID, err)
	}
	return report, json.Unmarshal(content, &report)
}
