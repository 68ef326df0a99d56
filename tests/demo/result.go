package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// means says what each part of the recovery time is.
var means = map[string]string{
	workflows.PartDetect: "until Alertmanager's webhook reached Understudy",
	workflows.PartDecide: "until observers agreed and the standby passed its gate",
	workflows.PartFence:  "until the failed primary was off the traffic",
	workflows.PartSwitch: "until the standby was on it, read back from HAProxy",
	workflows.PartVerify: "until a real transcription came back right",
}

// barWidth is the length of the bar of the whole time.
const barWidth = 24

// showSlack waits until the story's end is in Slack, in the message and in its thread, and shows the channel as
// people see it.
func showSlack(ctx context.Context, s *show, st *stage, r workflows.Report) error {
	err := await(ctx, redraw, func() (bool, error) {
		shown := st.scene.Slack.Transcript()
		return strings.Contains(shown, r.Reason) && strings.Count(shown, "\n    > ") >= len(r.Timeline), st.died()
	})
	for line := range strings.Lines(st.scene.Slack.Transcript()) {
		line = strings.TrimRight(line, "\n")
		depth := len(line) - len(strings.TrimLeft(line, " "))
		switch text := strings.TrimLeft(line, " "); {
		case depth == 0:
			s.text(chat, "%s", text)
		case strings.HasPrefix(text, "> "):
			s.quote("  ↳ ", text[2:], dim)
		default:
			s.quote("", text, normal)
		}
	}
	return err
}

// showLinks says where all of it can be read.
func showLinks(s *show, st *stage, r triggers.RecoveryDetail, keeps bool) {
	s.section("Where to read more")
	if !keeps {
		s.text(dim, "This demo ends by itself, and these end with it. On a terminal, without DEMO=once, it stays up.")
	}
	u := st.scene.Understudy
	for _, link := range [][2]string{
		{"Temporal UI", r.Link},
		{"API", u.URL + "/api/v1/recoveries/" + r.ID},
		{"report", filepath.Join(u.Options.Site.DataDir, "reports", workflows.ReportName(service, r.Report.Epoch)+".md")},
		{"command", fmt.Sprintf("bin/understudy --server %s why %s", u.URL, service)},
		{"Prometheus", "http://" + st.prometheus.Address + "/alerts"},
		{"runbook", runbookFile},
	} {
		s.row(cell{link[0], 14, dim}, cell{text: link[1]})
	}
}

// showClients shows the outage as the clients saw it.
func showClients(s *show, t tally, kill time.Time) {
	s.section("What the clients saw")
	count := func(style style, n int, text string) {
		s.row(cell{fmt.Sprintf("%6d", n), 8, style}, cell{text: text})
	}
	count(bold, t.asked, "requests")
	count(normal, t.primary, "answered by the primary, before it was killed")
	count(normal, t.hot, "answered by the hot standby")
	if len(t.failed) == 0 {
		count(good, 0, "failed")
	} else {
		count(bad, len(t.failed), "failed: "+whyFailed(t.failed, kill))
	}
	s.text(normal, "The slowest answer took %.2f s, half of them at most %.2f s. The longest time without an answer: %.2f s.",
		t.slowest.Seconds(), t.median.Seconds(), t.silence.Seconds())
}

// whyFailed tells requests that were lost with the primary from those that came later.
func whyFailed(failed []answer, kill time.Time) string {
	inside := 0
	for _, a := range failed {
		if a.began.Before(kill) && a.ended.After(kill) {
			inside++
		}
	}
	last := failed[len(failed)-1].failure
	switch {
	case inside == len(failed):
		return "inside the primary when it died, as with HAProxy alone (" + last + ")"
	case inside > 0:
		return fmt.Sprintf("%d inside the primary when it died, %d later; the last: %s", inside, len(failed)-inside, last)
	default:
		return "after the kill; the last: " + last
	}
}

// showTimes splits the recovery time against its objective.
func showTimes(s *show, r workflows.Report, kill time.Time) {
	if r.Verified.IsZero() {
		return
	}
	s.section("Where the time went")
	unseen, whole := r.Trigger.OutageSince.Sub(kill).Seconds(), r.Verified.Sub(kill).Seconds()
	line := func(name string, from, seconds float64, style style, text string) {
		s.row(cell{name, 10, style}, cell{fmt.Sprintf("%7.3f s", seconds), 11, style}, cell{bar(from/whole, seconds/whole), barWidth + 2, chat}, cell{text: text})
	}
	line("unseen", 0, unseen, dim, fmt.Sprintf("from the kill until Prometheus saw it; it looks every %s", scrapeEvery))
	from := unseen
	for _, part := range r.Breakdown {
		line(part.Name, from, part.Seconds, normal, means[part.Name])
		from += part.Seconds
	}
	verdict := "met"
	if r.RTOSeconds > r.Objective.D().Seconds() {
		verdict = "missed"
	}
	line("RTO", unseen, r.RTOSeconds, bold, fmt.Sprintf("from the alert to a verified answer; objective %s: %s", r.Objective, verdict))
	line("in all", 0, whole, bold, "from the kill to a verified answer")
}

// bar draws a span of the whole, both as shares of it; what is too short to see is a thin line.
func bar(from, length float64) string {
	begin := min(int(barWidth*max(from, 0)+0.5), barWidth-1)
	cells := min(int(barWidth*length+0.5), barWidth-begin)
	if cells <= 0 {
		return strings.Repeat(" ", begin) + "▏"
	}
	return strings.Repeat(" ", begin) + strings.Repeat("█", cells)
}

// showOutcome is the story in one line, also for programs that read it.
func showOutcome(s *show, r triggers.RecoveryDetail, t tally) {
	style := good
	if r.Report.Outcome != workflows.OutcomeRecovered {
		style = bad
	}
	tier := r.Report.Tier
	if tier == "" {
		tier = "none"
	}
	s.blank()
	s.line(style, "Outcome=%s Tier=%s RTO=%.2fs failed=%d/%d recovery=%s",
		strings.ReplaceAll(r.Report.Outcome, " ", "-"), tier, r.Report.RTOSeconds, len(t.failed), t.asked, r.ID)
}
