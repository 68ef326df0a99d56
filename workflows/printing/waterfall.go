package printing

import (
	"fmt"
	"math"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// Measures of the charts, in units of their view boxes.
const (
	chartWidth = 720.0
	labelWidth = 92.0
	valueWidth = 156.0
	rowHeight  = 21.0
	axisHeight = 22.0
	headHeight = 18.0
	plotWidth  = chartWidth - labelWidth - valueWidth
)

// waterfall is where the time went: one row for each part, beginning where the
// one before it ended, against the objective and against earlier runs.
type waterfall struct {
	Width, Height float64
	// Top and Bottom bound the rows, Left and Right the plot.
	Top, Bottom, Left, Right float64
	Rows                     []bar
	Ticks                    []tick
	// Objective is nil where none was promised, or it lies far outside.
	Objective *tick
	// Compared reports whether earlier runs are shown.
	Compared bool
}

// bar is one row.
type bar struct {
	Name, Value string
	Y           float64
	X, W        float64
	// Over is the part of the bar beyond the p95 of earlier runs.
	OverX, OverW float64
	// Usual is up to where 95 of 100 earlier runs ended, Median where half did; 0 where that is not known.
	UsualX, UsualW, Median float64
	Slow                   bool
}

// tick is one mark on the axis.
type tick struct {
	X    float64
	Text string
}

// stretch is one row before it is drawn, in seconds.
type stretch struct {
	name        string
	from, until float64
	pace        reports.Pace
	known, slow bool
}

// newWaterfall draws the parts of the recovery time, or, where the service did
// not come back by this run, the steps.
func newWaterfall(r workflows.Report) *waterfall {
	rows := stretches(r)
	if len(rows) == 0 {
		return nil
	}
	end := 0.0
	w := &waterfall{Width: chartWidth, Left: labelWidth, Right: labelWidth + plotWidth, Top: headHeight}
	for _, s := range rows {
		end = max(end, s.until)
		if s.known {
			w.Compared = true
			end = max(end, min(s.from+s.pace.P95, 2*s.until+1)) // a usual time far beyond would squeeze everything
		}
	}
	objective := r.Objective.D().Seconds()
	if r.Verified.IsZero() || objective > 4*end {
		objective = 0
	}
	if objective == 0 {
		w.Top = 4
	}
	end = max(end, objective) * 1.02
	if end <= 0 {
		return nil
	}
	at := func(seconds float64) float64 { return round(w.Left + min(seconds, end)/end*plotWidth) }
	for i, s := range rows {
		b := bar{Name: s.name, Value: span(s.until - s.from), Y: w.Top + float64(i)*rowHeight, X: at(s.from), Slow: s.slow}
		b.W = max(round(at(s.until)-b.X), 1.5)
		if s.known {
			usual := at(s.from + s.pace.P95)
			b.UsualX, b.UsualW, b.Median = b.X, round(usual-b.X), at(s.from+s.pace.Median)
			if s.slow {
				b.OverX, b.OverW = usual, round(b.X+b.W-usual)
				b.Value += fmt.Sprintf(" (p95 %s)", span(s.pace.P95))
			}
		}
		w.Rows = append(w.Rows, b)
	}
	w.Bottom = w.Top + float64(len(rows))*rowHeight
	w.Height = w.Bottom + axisHeight
	for _, seconds := range marks(end) {
		w.Ticks = append(w.Ticks, tick{at(seconds), mark(seconds)})
	}
	if objective > 0 {
		w.Objective = &tick{at(objective), "objective " + r.Objective.String()}
	}
	return w
}

// stretches are the rows in seconds since the outage, or since the start.
func stretches(r workflows.Report) (rows []stretch) {
	if !r.Verified.IsZero() && len(r.Breakdown) > 0 && r.Mode != workflows.ModeDrill {
		from := 0.0
		for _, part := range r.Breakdown {
			s := stretch{name: part.Name, from: from, until: from + part.Seconds}
			s.pace, s.known = r.Past.Part(r.Tier, part.Name)
			s.known = s.known && s.pace.Runs >= comparable
			s.slow = s.known && slower(part.Seconds, s.pace)
			rows = append(rows, s)
			from = s.until
		}
		return rows
	}
	for _, rec := range r.Timeline {
		seconds, ok := took(rec)
		if !ok || seconds <= 0 || rec.Step == runbooks.StepSettle {
			continue
		}
		from := max(rec.Started.Sub(r.Started).Seconds(), 0)
		s := stretch{name: rec.Step, from: from, until: from + seconds}
		if s.pace, s.known = r.Past.Pace(rec.Tier, rec.Step); rec.State != workflows.Done || s.pace.Runs < comparable {
			s.known = false // what was refused at once was not quick, and one run is no usual time
		}
		_, s.slow = beyond(r, rec)
		rows = append(rows, s)
	}
	return rows
}

// marks are round numbers of seconds up to an end, at most eight.
func marks(end float64) (all []float64) {
	step := math.Pow(10, math.Floor(math.Log10(end/8)))
	for _, times := range []float64{1, 2, 5, 10} {
		if end/(step*times) <= 8 {
			step *= times
			break
		}
	}
	for i := 0; float64(i)*step <= end; i++ {
		all = append(all, float64(i)*step)
	}
	return all
}

func mark(seconds float64) string {
	if seconds >= 120 && math.Mod(seconds, 60) == 0 {
		return fmt.Sprintf("%.0f min", seconds/60)
	}
	return fmt.Sprintf("%g s", math.Round(seconds*1000)/1000)
}

func round(x float64) float64 { return math.Round(x*10) / 10 }

// strip is the recovery times of earlier runs on the same tier, and this one.
type strip struct {
	Width, Height, Bottom float64
	Bars                  []column
	Objective             *tick // its X is a height
	First                 string
}

// column is one run.
type column struct {
	X, Y, W, H        float64
	Title             string
	This, Missed, Tag bool
	Value             string
}

// newStrip compares with earlier runs; nil where there is none to compare with.
func newStrip(r workflows.Report) *strip {
	if r.Past == nil || r.RTOSeconds <= 0 {
		return nil
	}
	var runs []reports.Run
	for _, run := range r.Past.Runs {
		if run.RTOSeconds > 0 && run.Tier == r.Tier && run.Mode == r.Mode {
			runs = append(runs, run)
		}
	}
	if len(runs) == 0 {
		return nil
	}
	first := runs[0].Started
	runs = append(runs, reports.Run{Epoch: r.Epoch, Started: r.Started, RTOSeconds: r.RTOSeconds, Outcome: r.Outcome})
	objective := r.Objective.D().Seconds()
	top := 0.0
	for _, run := range runs {
		top = max(top, run.RTOSeconds)
	}
	const height, head = 84.0, 16.0
	if objective > 3*top {
		objective = 0
	}
	top = max(top, objective)
	s := &strip{Width: chartWidth, Height: height + head + 18, Bottom: height + head, First: first.UTC().Format("2006-01-02")}
	up := func(seconds float64) float64 { return round(s.Bottom - seconds/top*height) }
	step := min((chartWidth-90)/float64(len(runs)), 44)
	for i, run := range runs {
		c := column{X: round(float64(i)*step + 2), W: round(step - 4), Y: up(run.RTOSeconds), This: i == len(runs)-1, Missed: objective > 0 && run.RTOSeconds > objective}
		c.H = max(round(s.Bottom-c.Y), 1)
		c.Value = short(run.RTOSeconds)
		c.Title = fmt.Sprintf("%d, %s: %s", run.Epoch, run.Started.UTC().Format("2006-01-02"), span(run.RTOSeconds))
		c.Tag = step >= 22 || c.This
		s.Bars = append(s.Bars, c)
	}
	if objective > 0 {
		s.Objective = &tick{up(objective), "objective " + r.Objective.String()}
	}
	return s
}

func short(seconds float64) string {
	if seconds < 10 {
		return fmt.Sprintf("%.1f", seconds)
	}
	return fmt.Sprintf("%.0f", seconds)
}
