package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/reports/disk"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// perPage is how many recoveries one request asks for at most.
const perPage = 200

type historyCommand struct {
	ID      string `arg:"" optional:"" help:"One recovery in full: its service and epoch, such as fun-asr-7." predictor:"recovery"`
	Service string `help:"Only recoveries of this service." placeholder:"NAME" predictor:"service"`
	Outcome string `help:"Only those with this outcome: running, recovered, failed, 'false alarm', ..." placeholder:"OUTCOME"`
	Tier    string `help:"Only those that ended on this tier." placeholder:"TIER" predictor:"tier"`
	Mode    string `help:"Only live ones, or only drills." enum:",live,drill" default:"" placeholder:"MODE"`
	Trigger string `help:"Only those with this trigger: alert, person, heartbeat, watchdog, ..." placeholder:"TRIGGER"`
	Since   string `help:"Only those that began at this time or later: 24h, 7d, 2026-11-21, or 2026-11-21T03:00:00Z." placeholder:"TIME"`
	Until   string `help:"Only those that began before this time." placeholder:"TIME"`
	Limit   int    `help:"How many." default:"20"`
	DataDir string `help:"Read the reports on disk, without a running Understudy." type:"path" placeholder:"DIR"`
}

func (historyCommand) Help() string {
	return `Reports are kept outside Temporal: with --data-dir they can be read when nothing runs any more.

  understudy history --outcome failed --since 30d
  understudy history fun-asr-7`
}

func (c *historyCommand) Run(g *Globals) error {
	if c.ID != "" {
		return c.one(g)
	}
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	all := []triggers.Recovery{}
	if c.DataDir != "" {
		all, err = c.fromDisk(g.ctx, filter)
	} else {
		q := filter.Query()
		q.Set("limit", strconv.Itoa(max(1, min(c.Limit, perPage))))
		for next := "/api/v1/recoveries?" + q.Encode(); next != "" && len(all) < c.Limit && err == nil; {
			var page []triggers.Recovery
			next, err = g.getPage(next, &page)
			all = append(all, page...)
		}
		all = all[:min(len(all), max(c.Limit, 0))]
	}
	if err != nil {
		return err
	}
	return g.print(all, func(w io.Writer) {
		row(w, "RECOVERY", "STARTED", "OUTCOME", "TIER", "VERDICT", "TIME", "OBJECTIVE", "REASON")
		for _, r := range all {
			row(w, r.ID, when(r.Started), r.Outcome, r.Tier, r.Verdict, seconds(r.RTOSeconds), r.Objective, r.Reason)
		}
	})
}

func (c *historyCommand) filter(now time.Time) (f triggers.Filter, err error) {
	f = triggers.Filter{Service: c.Service, Outcome: c.Outcome, Tier: c.Tier, Mode: c.Mode, Trigger: c.Trigger}
	if f.Since, err = moment("since", c.Since, now); err != nil {
		return f, err
	}
	f.Until, err = moment("until", c.Until, now)
	return f, err
}

// moment reads a time: so long ago, a day in the local zone, or a time in full.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	return time.Time{}, exit{ExitUsage, fmt.Errorf("--%s %q: write so long ago (24h, 7d), a day (2026-11-21), or a time (2026-11-21T03:00:00Z)", flag, text)}
}

func (c *historyCommand) one(g *Globals) error {
	var detail triggers.RecoveryDetail
	if c.DataDir != "" {
		report, err := reportOnDisk(g.ctx, c.DataDir, c.ID)
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
	if detail.Report.Question != nil {
		g.showQuestion(detail)
	}
	if detail.Link != "" {
		fmt.Fprintln(g.out, "\nIn the Temporal UI:", detail.Link)
	}
	return err
}

// fromDisk lists the reports of a data directory, newest first.
func (c *historyCommand) fromDisk(ctx context.Context, f triggers.Filter) ([]triggers.Recovery, error) {
	store := disk.New(filepath.Join(c.DataDir, "reports"))
	names, err := store.List(ctx, "")
	if err != nil {
		return nil, err
	}
	all := []triggers.Recovery{}
	for _, name := range names {
		if !strings.HasSuffix(name, ".json") || f.Service != "" && !strings.HasPrefix(name, f.Service+"/") {
			continue
		}
		content, err := store.Read(ctx, name)
		if err != nil {
			return nil, err
		}
		var report workflows.Report
		if err := json.Unmarshal(content, &report); err != nil {
			return nil, fmt.Errorf("report %s: %w", name, err)
		}
		if listed := triggers.Listed(report); f.Passes(listed) {
			all = append(all, listed)
		}
	}
	slices.SortStableFunc(all, func(x, y triggers.Recovery) int { return y.Started.Compare(x.Started) })
	return all[:min(len(all), max(c.Limit, 0))], nil
}
