package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/workflows"
)

// reportsDir is where the reports stay when the demo has ended, as seen from the project.
const reportsDir = "bin/demo-reports"

// results is all that the story led to.
type results struct {
	acts  []played
	way   homecoming
	tally tally
	batch transcribed
}

// moves are the acts and, where it was taken, the way home.
func (r results) moves() []played {
	if r.way.recovery.ID == "" {
		return r.acts
	}
	return append(slices.Clone(r.acts), r.way.played)
}

// showResults shows what the story comes to, and returns nil where it ended as it should.
func showResults(ctx context.Context, s *show, st *stage, r results, keeps bool) error {
	all, t, done := r.acts, r.tally, r.batch
	s.section("What people saw in Slack")
	err := showSlack(ctx, s, st, r.moves())
	var lost error
	if r.way.recovery.ID != "" {
		lost = r.way.showHistory(s, st, all[len(all)-1])
	}
	reports, failed := keepReports(st, r.moves())
	showLinks(s, st, r.moves(), reports, keeps)
	showClients(s, t, r.moves())
	s.section("Where the time went")
	for i, p := range all {
		if i > 0 {
			s.blank()
		}
		showTimes(s, p, objectivesOf(st.runbook, p.tier))
	}
	s.blank()
	if done.report.Items > 0 {
		done.outcome(s)
	}
	moves := r.moves()
	for i, p := range all {
		from := p.kill
		if i == 0 {
			from = time.Time{}
		}
		showOutcome(s, p, t.between(from, nextAfter(moves, i)))
	}
	if r.way.recovery.ID != "" {
		r.way.outcome(s, t.between(r.way.kill, time.Time{}))
	}
	return errors.Join(err, lost, failed, verdict(ctx, st, r))
}

// nextAfter is when the next move began, zero for the last one.
func nextAfter(moves []played, i int) time.Time {
	if i+1 < len(moves) {
		return moves[i+1].kill
	}
	return time.Time{}
}

// keepReports copies the reports to where they outlive the demo, and returns their pages.
func keepReports(st *stage, moves []played) (pages []string, err error) {
	if err := errors.Join(os.RemoveAll(reportsDir), os.MkdirAll(reportsDir, 0o755)); err != nil {
		return nil, err
	}
	for _, p := range moves {
		name := workflows.ReportName(service, p.recovery.Report.Epoch)
		for _, kind := range []string{".html", ".md", ".json"} {
			content, err := os.ReadFile(filepath.Join(st.scene.Understudy.Options.Site.DataDir, "reports", name+kind))
			if err == nil {
				err = os.WriteFile(filepath.Join(reportsDir, p.recovery.ID+kind), content, 0o644)
			}
			if err != nil {
				return pages, fmt.Errorf("%w: a report is missing: %w", errStory, err)
			}
		}
		pages = append(pages, filepath.Join(reportsDir, p.recovery.ID+".html"))
	}
	return pages, nil
}

// verdict is nil where each act ended as it should, with one recovery each.
func verdict(ctx context.Context, st *stage, r results) error {
	for _, p := range r.acts {
		if !p.recovered() {
			return fmt.Errorf("%w: %s should have taken over from %s: %s: %s", errStory, p.tier, p.victim, p.recovery.Report.Outcome, p.recovery.Report.Reason)
		}
	}
	if way := r.way.recovery.Report; way.Outcome != workflows.OutcomeHome {
		return fmt.Errorf("%w: the service should be back on its primary: %s: %s", errStory, way.Outcome, way.Reason)
	}
	list, err := recoveries(ctx, st.scene.Understudy)
	if err != nil {
		return err
	}
	if len(list) != len(r.moves()) {
		return fmt.Errorf("%w: %d outages and a way home led to %d recoveries", errStory, len(r.acts), len(list))
	}
	return nil
}

// showSlack waits until the story's end is in Slack, in the messages and in their threads, and shows the channel as
// people see it, the threads only by their size: each repeats a timeline.
func showSlack(ctx context.Context, s *show, st *stage, all []played) error {
	steps := 0
	for _, p := range all {
		steps += len(p.recovery.Report.Timeline)
	}
	err := await(ctx, patience, redraw, func() (bool, error) {
		shown := st.scene.Slack.Transcript()
		ended := !slices.ContainsFunc(all, func(p played) bool { return !strings.Contains(shown, p.recovery.Report.Reason) })
		return ended && strings.Count(shown, "\n    > ") >= steps, st.died()
	})
	replies := 0
	told := func() {
		if replies > 0 {
			s.quote("  ↳ ", fmt.Sprintf("%d replies, a step each with its reason", replies), dim)
		}
		replies = 0
	}
	for line := range strings.Lines(st.scene.Slack.Transcript()) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			if strings.HasPrefix(line, "    > ") {
				replies++
			}
			continue
		}
		told()
		if text, ok := strings.CutPrefix(line, "  "); ok {
			s.quote("", text, normal)
		} else {
			s.text(chat, "%s", line)
		}
	}
	told()
	return err
}

// showLinks says where all of it can be read.
func showLinks(s *show, st *stage, all []played, reports []string, keeps bool) {
	s.section("Where to read more")
	if !keeps {
		s.text(dim, "This demo ends by itself, and all but the reports ends with it. On a terminal, without DEMO=once, it stays up.")
	}
	u := st.scene.Understudy
	var pages, answers []string
	for _, p := range all {
		pages = append(pages, p.recovery.Link)
		answers = append(answers, u.URL+"/api/v1/recoveries/"+p.recovery.ID)
	}
	for _, link := range [][2]string{
		{"console", u.URL + "/"},
		{"Temporal UI", strings.Join(pages, "\n")},
		{"API", strings.Join(answers, "\n")},
		{"reports", strings.Join(reports, "\n")},
		{"command", fmt.Sprintf("bin/understudy --server %s why %s\nbin/understudy --server %s batch status %s", u.URL, service, u.URL, service)},
		{"Prometheus", "http://" + st.prometheus.Address + "/alerts"},
		{"runbook", runbookFile},
	} {
		s.row(cell{link[0], 14, dim}, cell{text: link[1]})
	}
}

// showClients shows the outages as the clients saw them.
func showClients(s *show, t tally, all []played) {
	s.section("What the clients saw")
	line := func(style style, n int, text string) {
		s.row(cell{fmt.Sprintf("%6d", n), 8, style}, cell{text: text})
	}
	line(bold, t.asked, "requests")
	for _, server := range servers {
		if t.by[server] > 0 {
			line(normal, t.by[server], "answered by "+server)
		}
	}
	if len(t.failed) == 0 {
		line(good, 0, "failed")
	}
	for i, p := range all {
		failed := t.between(p.kill, nextAfter(all, i)).failed
		if r := p.recovery.Report; r.Mode == workflows.ModeFailback {
			line(normal, len(failed), fmt.Sprintf("found nobody on the way home, in its pause of %.1f s", pause(r).Seconds()))
		} else if len(failed) > 0 {
			line(bad, len(failed), "failed: "+whyFailed(failed, p.name(), p.kill, p.recovery.Report.Verified))
		}
	}
	if failed := t.between(time.Time{}, all[0].kill).failed; len(failed) > 0 {
		line(bad, len(failed), "failed before anybody was killed; the last: "+failed[len(failed)-1].failure)
	}
	s.text(normal, "The slowest answer took %.2f s, half of them at most %.2f s. The longest time without an answer: %.2f s.",
		t.slowest.Seconds(), t.median.Seconds(), t.silence.Seconds())
}

// whyFailed tells requests that were lost with a server from those that found nobody, and from those that failed
// although the service was back.
func whyFailed(failed []answer, victim string, kill, verified time.Time) string {
	var inside, nobody, later int
	for _, a := range failed {
		switch {
		case a.began.Before(kill):
			inside++
		case verified.IsZero() || a.began.Before(verified):
			nobody++
		default:
			later++
		}
	}
	last := failed[len(failed)-1].failure
	var parts []string
	for _, part := range []struct {
		n    int
		text string
	}{
		{inside, "inside " + victim + " when it died, as with HAProxy alone"},
		{nobody, "after the death of " + victim + " and before the first verified answer"},
		{later, "after that answer"},
	} {
		if part.n == len(failed) {
			parts = append(parts, part.text)
		} else if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	return strings.Join(parts, ", ") + "; the last: " + last
}

// showOutcome is an act in one line, also for programs that read it.
func showOutcome(s *show, p played, t tally) {
	r := p.recovery.Report
	style := good
	if r.Outcome != workflows.OutcomeRecovered {
		style = bad
	}
	tier := r.Tier
	if tier == "" {
		tier = "none"
	}
	point := ""
	if len(r.Restored) > 0 {
		point = fmt.Sprintf(" RPO=%.2fs", r.RPOSeconds)
	}
	s.line(style, "Outcome=%s Tier=%s RTO=%.2fs%s own=%.2fs failed=%d/%d recovery=%s",
		strings.ReplaceAll(r.Outcome, " ", "-"), tier, r.RTOSeconds, point, own(r).Seconds(), len(t.failed), t.asked, p.recovery.ID)
}
