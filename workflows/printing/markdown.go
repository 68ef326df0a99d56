package printing

import (
	"fmt"
	"strings"

	"github.com/understudy-dr/understudy/workflows"
)

// Markdown is a report for people who read it in a terminal or a wiki: what the
// engine shows of it, and what comparison and hindsight add.
func Markdown(r workflows.Report) string {
	r = promised(r)
	var b strings.Builder
	b.WriteString(r.Markdown())
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	section := func(title string) { line("\n## %s\n", title) }

	if found := findings(r); len(found) > 0 {
		section("Findings")
		for _, f := range found {
			line("- %s", plain(f.Text))
		}
	}
	if r.Past != nil && len(r.Past.Steps) > 0 {
		section("Against earlier runs")
		line("| step | tier | took | median | p95 | runs | |")
		line("| --- | --- | --- | --- | --- | --- | --- |")
		for _, rec := range r.Timeline {
			pace, known := r.Past.Pace(rec.Tier, rec.Step)
			seconds, ok := took(rec)
			if !known || !ok || rec.State != workflows.Done {
				continue
			}
			mark := ""
			if _, slow := beyond(r, rec); slow {
				mark = "**beyond p95**"
			}
			line("| %s | %s | %s | %s | %s | %d | %s |", rec.Step, rec.Tier, span(seconds), span(pace.Median), span(pace.P95), pace.Runs, mark)
		}
	}
	if all := machines(r); len(all) > 0 {
		section("Machines made and removed")
		for _, rec := range all {
			line("- %s %s, %s: %s", rec.Started.UTC().Format("15:04:05"), of(rec), rec.State, plain(rec.Reason))
		}
	}
	if text := batches(r); text != "" {
		section("Batches")
		line("%s", plain(text))
	}
	section("Evidence")
	for _, o := range evidence(r) {
		line("- %s: %s. %s", plain(o.Who), o.Finding, plain(o.Detail))
	}
	line("- runbook %s, plan %s", plain(r.RunbookHash), plain(r.Plan.Hash))
	if len(r.Trigger.Fingerprints) > 0 {
		line("- alerts: %s", plain(strings.Join(r.Trigger.Fingerprints, ", ")))
	}
	section("Post-mortem")
	line("*To be written by people. Facts are above; add what they do not know.*\n")
	for _, q := range questions {
		line("**%s**\n\n…\n", q)
	}
	line("| follow-up | who | until |\n| --- | --- | --- |\n| | | |")
	return b.String()
}

// questions are what hindsight should answer.
var questions = []string{"What did users notice, and for how long?", "What was the cause?", "What went well?", "What went badly, or well only by luck?"}

// plain keeps other people's text from being taken for markup.
func plain(text string) string {
	return strings.NewReplacer("&", "&amp;", "|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", "`", "'", "*", "\\*", "_", "\\_", "[", "\\[").Replace(text)
}
