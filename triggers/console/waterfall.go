package console

import (
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// rowHeight is the height of a line of the waterfall, in pixels.
const rowHeight = 22

// waterfall shows the steps beside each other in time. Its figures are per cents
// of the width, so that it fits a telephone as well as a wall.
type waterfall struct {
	Rows   []fallRow
	Height int
	// Verified is where the service answered again; 0 where it has not.
	Verified float64
	Ticks    []tick
	Text     string
}

type fallRow struct {
	Y, Mid           int
	Step, Tier, Tone string
	Start, Width     float64
	Took             string
	TookAt           float64
	Before, Inside   bool
	Running, Cut     bool
	Text             string
}

type tick struct {
	At   float64
	Text string
}

// newWaterfall draws the timeline. The axis ends when the last step but the long
// watch after the switch has ended: minutes of watching would hide the seconds
// that count.
func newWaterfall(r workflows.Report, now time.Time) waterfall {
	w := waterfall{}
	end := r.Started
	until := func(rec workflows.Record) time.Time {
		if rec.State == workflows.InProgress && rec.Ended.IsZero() {
			return now
		}
		return rec.Ended
	}
	for _, rec := range r.Timeline {
		if t := until(rec); rec.Step != runbooks.StepSettle && t.After(end) {
			end = t
		}
	}
	total := max(end.Sub(r.Started).Seconds(), 0.2)
	at := func(t time.Time) float64 { return min(100, max(0, t.Sub(r.Started).Seconds()/total*100)) }
	for _, rec := range r.Timeline {
		if rec.State == workflows.Noted {
			continue
		}
		last := until(rec)
		row := fallRow{Y: len(w.Rows) * rowHeight, Step: rec.Step, Tier: rec.Tier, Tone: recordTone(rec.State), Start: at(rec.Started), Running: rec.State == workflows.InProgress}
		row.Mid = row.Y + rowHeight/2 + 4
		row.Width = max(0.6, at(last)-row.Start)
		row.Start = min(row.Start, 100-row.Width)
		row.Cut = last.After(end.Add(time.Millisecond))
		row.Took = span(max(0, last.Sub(rec.Started).Seconds()))
		if row.TookAt = row.Start + row.Width + 1; row.TookAt > 80 {
			row.TookAt, row.Before = row.Start-1, true
			if row.TookAt < 20 {
				row.TookAt, row.Inside = 98, true
			}
		}
		row.Text = fmt.Sprintf("%s %s: %s after %.1f s, took %s", rec.Step, rec.Tier, rec.State, max(0, rec.Started.Sub(r.Started).Seconds()), row.Took)
		w.Rows = append(w.Rows, row)
	}
	w.Height = len(w.Rows)*rowHeight + rowHeight
	if !r.Verified.IsZero() && !r.Verified.After(end) {
		w.Verified = at(r.Verified)
	}
	for i := range 5 {
		w.Ticks = append(w.Ticks, tick{At: float64(i) * 25, Text: span(total * float64(i) / 4)})
	}
	w.Ticks[0].Text = "0"
	w.Text = fmt.Sprintf("%d steps within %s; the timeline below says the same in words", len(w.Rows), span(total))
	return w
}

// breakdown is where the recovery time went.
type breakdown struct {
	Shares []share
	Text   string
}

type share struct {
	Name, Took   string
	Start, Width float64
	// Shade tells neighbours apart, from 0.
	Shade int
}

func newBreakdown(r workflows.Report) breakdown {
	var b breakdown
	total := 0.0
	for _, s := range r.Breakdown {
		total += s.Seconds
	}
	if total <= 0 {
		return b
	}
	at := 0.0
	for _, s := range r.Breakdown {
		if s.Seconds < 0.0005 {
			continue // less than can be shown
		}
		width := s.Seconds / total * 100
		b.Shares = append(b.Shares, share{Name: s.Name, Took: span(s.Seconds), Start: at, Width: width, Shade: len(b.Shares) % 9})
		b.Text += fmt.Sprintf("%s %s, ", s.Name, span(s.Seconds))
		at += width
	}
	b.Text = b.Text[:len(b.Text)-2]
	return b
}
