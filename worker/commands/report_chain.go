package commands

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/triggers"
)

// verify looks whether the reports are what was written. What is broken is named
// on the output, all of it, and the first once more as the error.
func (c *reportCommand) verify(g *Globals) error {
	var all []reports.Verified
	var err error
	if c.DataDir != "" {
		all, err = reports.VerifyAll(g.ctx, onDisk(c.DataDir), c.ID, time.Now())
	} else {
		err = g.get("/api/v1/reports/verify?service="+url.QueryEscape(c.ID), &all)
	}
	if err != nil {
		return err
	}
	if c.ID != "" && len(all) == 0 {
		return exit{ExitFailed, fmt.Errorf("there are no reports of %s", c.ID)}
	}
	if err := g.print(all, func(w io.Writer) {
		row(w, "SERVICE", "WHERE", "UNCHANGED", "BROKEN", "OLDER", "NEWEST", "SHA256 OF THE NEWEST")
		for _, v := range all {
			row(w, v.Service, v.Place, v.Reports, len(v.Broken), v.Older, recoveryOf(v.Last), v.SHA256)
		}
		for _, v := range all {
			for _, b := range v.Broken {
				fmt.Fprintf(w, "\n%s, %s", oneLine(broken(v, b)), v.Place)
			}
			if len(v.Broken) > 0 {
				fmt.Fprintln(w)
			}
		}
	}); err != nil {
		return err
	}
	for _, v := range all {
		if len(v.Broken) > 0 {
			return exit{ExitFailed, errors.New("the reports are not what was written; the first is " + oneLine(broken(v, v.Broken[0])))}
		}
	}
	return nil
}

// broken says which report is meant, and what is wrong with it.
func broken(v reports.Verified, b reports.Break) string {
	name := recoveryOf(b.Report)
	if name == "" {
		name = v.Service
	}
	return name + ": " + b.What
}

// recoveryOf is the id of a recovery by the name of its report; the name itself
// where it is not like those that are written.
func recoveryOf(report string) string {
	epoch, err := strconv.ParseInt(path.Base(report), 10, 64)
	if err != nil || report == "" {
		return report
	}
	return triggers.RecoveryName(path.Dir(report), epoch)
}

// trends shows how long tiers and steps take, and what has changed.
func (c *reportCommand) trends(g *Globals) error {
	var t reports.Trends
	if c.DataDir != "" {
		past, err := reports.Recall(g.ctx, onDisk(c.DataDir), c.ID, "", trendRuns)
		if err != nil {
			return err
		}
		t = reports.NewTrends(c.ID, past.Runs)
	} else if err := g.get("/api/v1/services/"+url.PathEscape(c.ID)+"/trends", &t); err != nil {
		return err
	}
	return g.print(t, func(w io.Writer) {
		if t.Runs == 0 {
			fmt.Fprintf(w, "there are no reports of %s yet\n", c.ID)
			return
		}
		for _, tier := range t.Tiers {
			if tier.Change != nil {
				fmt.Fprintln(w, tier.Change.Text)
			}
		}
		fmt.Fprintf(w, "%d reports since %s\n", t.Runs, when(t.Since))
		row(w, "TIER", "STEP", "MEDIAN", "P95", "LONGEST", "RUNS")
		for _, tier := range t.Tiers {
			row(w, tier.Tier, "until it is proven", seconds(tier.Median), seconds(tier.P95), seconds(tier.Longest), tier.Runs)
		}
		for _, s := range t.Steps {
			row(w, s.Tier, s.Step, seconds(s.Median), seconds(s.P95), seconds(s.Longest), s.Runs)
		}
	})
}

// trendRuns are so many reports over which trends are looked for on disk.
const trendRuns = 500
