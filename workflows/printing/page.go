package printing

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

//go:embed page.html
var pageText string

//go:embed page.css
var style string

var pages = template.Must(template.New("page").Funcs(template.FuncMap{
	"span": span, "stamp": stamp, "short": hash, "half": func(a float64) float64 { return a / 2 }, "add": func(a, b float64) float64 { return round(a + b) },
}).Parse(pageText))

// page is what the template shows.
type page struct {
	workflows.Report
	Style     template.CSS
	Title     string
	Tone      string
	Headline  string
	Figures   []figure
	Waterfall *waterfall
	// By says of what the waterfall's rows are: parts of the recovery time, or steps.
	By string
	// Zero is where its time begins.
	Zero      string
	Strip     *strip
	Findings  []finding
	Steps     []step
	Machines  []workflows.Record
	Evidence  []observed
	Batches   string
	Questions []string
}

// figure is one of the large numbers at the top.
type figure struct {
	Name, Value, Note, Tone string
}

// step is one row of the timeline.
type step struct {
	workflows.Record
	At, Took, Usual string
	Slow            bool
}

// Page is a report as one HTML file to look at or to print on A4: no script, no
// network, everything that it needs in itself.
func Page(r workflows.Report) ([]byte, error) {
	r = promised(r)
	p := page{
		Report: r, Style: template.CSS(style), Title: title(r), Tone: outcomeTone(r.Outcome), Headline: r.Outcome, Figures: figures(r), Waterfall: newWaterfall(r), Strip: newStrip(r),
		Findings: findings(r), Machines: machines(r), Evidence: evidence(r), Batches: batches(r), Questions: questions, By: "steps", Zero: "the start",
	}
	if p.Headline == "" {
		p.Headline = "running"
	}
	if !r.Verified.IsZero() && r.Mode != workflows.ModeDrill {
		if p.By, p.Zero = "parts", "the outage began"; r.Mode == workflows.ModeFailback {
			p.Zero = "the order"
		}
	}
	for _, rec := range r.Timeline {
		s := step{Record: rec, At: rec.Started.UTC().Format("15:04:05.000")}
		if seconds, ok := took(rec); ok && (seconds > 0 || rec.State != workflows.Noted) {
			s.Took = span(seconds)
		}
		if pace, ok := r.Past.Pace(rec.Tier, rec.Step); ok && pace.Runs >= comparable && rec.State == workflows.Done && rec.Step != runbooks.StepSettle && rec.Step != runbooks.StepApprove {
			s.Usual = span(pace.Median) + " – " + span(pace.P95)
		}
		_, s.Slow = beyond(r, rec)
		p.Steps = append(p.Steps, s)
	}
	var out bytes.Buffer
	if err := pages.Execute(&out, p); err != nil {
		return nil, fmt.Errorf("print the page: %w", err)
	}
	return out.Bytes(), nil
}

// figures are what everybody asks first.
func figures(r workflows.Report) []figure {
	var all []figure
	add := func(name, value, note, tone string) { all = append(all, figure{name, value, note, tone}) }
	switch {
	case r.Mode == workflows.ModeDrill:
		passed := 0
		var proven []string
		for _, p := range r.Drilled {
			if p.Passed {
				passed++
				proven = append(proven, fmt.Sprintf("%s %.1f s", p.Tier, p.Seconds))
			}
		}
		tone := good
		if passed < len(r.Drilled) {
			tone = bad
		}
		add("tiers proven", fmt.Sprintf("%d of %d", passed, len(r.Drilled)), strings.Join(proven, ", "), tone)
	case r.Verified.IsZero():
		add("recovery time", "–", "no verified answer came through the front door", calm)
	case r.Mode == workflows.ModeFailback:
		add("home after", span(r.RTOSeconds), "from the order to the first verified answer", calm)
	case r.Objective == 0:
		add("recovery time", span(r.RTOSeconds), "no objective is set", calm)
	case missed(r):
		add("recovery time", span(r.RTOSeconds), "objective "+r.Objective.String()+": missed", bad)
	default:
		add("recovery time", span(r.RTOSeconds), "objective "+r.Objective.String()+": met", good)
	}
	switch {
	case len(r.Restored) == 0:
		add("data lost", "–", "no data was brought along", calm)
	case r.RPOSeconds == 0:
		add("data lost", "0 s", "nothing newer was missing", good)
	default:
		add("data lost", span(r.RPOSeconds), "the newest that did not arrive", warn)
	}
	if len(r.InFlight) > 0 {
		items := 0
		for _, lost := range r.InFlight {
			items += lost.Items
		}
		tone := good
		if r.RPOAudioSeconds > 0 {
			tone = calm
		}
		add("audio done again", span(r.RPOAudioSeconds), fmt.Sprintf("at most: %d items of %d batches were in flight", items, len(r.InFlight)), tone)
	}
	verdict := r.Verdict
	if verdict == "" {
		verdict = "–"
	}
	add("verdict", verdict, "about "+r.From, calm)
	add("runs on", r.Active, "was on "+r.From, calm)
	return all
}

// hash shortens a hash for people; the whole one is in the JSON.
func hash(sum string) string {
	if len(sum) > 16 {
		return sum[:16]
	}
	return sum
}
