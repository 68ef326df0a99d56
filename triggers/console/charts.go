package console

import (
	"fmt"
	"math"
	"time"

	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// size is that of a chart's drawing, in pixels. A chart that is high enough has
// room for figures.
type size struct{ Height, Bar, Gap, Head float64 }

var (
	sparkSize = size{Height: 28, Bar: 7, Gap: 2}
	chartSize = size{Height: 104, Bar: 24, Gap: 14, Head: 16}
)

// bar is one recovery in a chart.
type bar struct {
	X, Y, Width, Height float64
	Mid                 float64
	Tone, ID, Text      string
	Label               string
}

// chart shows how long recoveries took, the oldest first, each against what was
// promised.
type chart struct {
	Width, Height float64
	Bars          []bar
	// Line is where the objective is; 0 where none was promised.
	Line float64
	// Text says the same to who cannot see it.
	Text string
	// Latest is the newest recovery time, Met whether the promise was kept; empty where there is none.
	Latest, Objective string
	Met               bool
}

// newChart draws recoveries, which come newest first, as lists do. Those that
// brought nothing back have no time and are left out. Heights grow with the
// square root of the time: seconds and minutes stand side by side.
func newChart(all []triggers.Recovery, objective time.Duration, of size) chart {
	c := chart{Height: of.Height}
	var shown []triggers.Recovery
	top, met := 0.0, 0
	promised := map[float64]bool{}
	for i := len(all) - 1; i >= 0; i-- {
		r := all[i]
		if r.RTOSeconds <= 0 || r.Mode != workflows.ModeLive {
			continue
		}
		shown = append(shown, r)
		top = max(top, r.RTOSeconds)
		promised[promise(r, objective)] = true
		if keptTone(r, objective) == toneGood {
			met++
		}
	}
	if objective == 0 && len(promised) == 1 {
		objective = time.Duration(promise(shown[0], 0) * float64(time.Second)) // all were promised the same
	}
	if objective > 0 {
		c.Objective = span(objective.Seconds())
	}
	if len(shown) == 0 {
		c.Text = "no recovery yet"
		return c
	}
	top = max(top, objective.Seconds())
	room := of.Height - of.Head
	rise := func(seconds float64) float64 { return math.Sqrt(seconds/top) * room }
	if objective > 0 {
		c.Line = max(0.75, of.Height-rise(objective.Seconds())) // 0 is none
	}
	for i, r := range shown {
		tall := max(2, rise(r.RTOSeconds))
		b := bar{X: float64(i) * (of.Bar + of.Gap), Y: of.Height - tall, Width: of.Bar, Height: tall, Tone: keptTone(r, objective), ID: r.ID, Text: r.ID + ": " + span(r.RTOSeconds)}
		if of.Head > 0 {
			b.Label, b.Mid = span(r.RTOSeconds), b.X+of.Bar/2
		}
		c.Bars = append(c.Bars, b)
	}
	c.Width = float64(len(shown))*(of.Bar+of.Gap) - of.Gap
	latest := shown[len(shown)-1]
	c.Latest, c.Met = span(latest.RTOSeconds), keptTone(latest, objective) == toneGood
	c.Text = fmt.Sprintf("%d recovery times, the latest %s", len(shown), c.Latest)
	if len(shown) == 1 {
		c.Text = "one recovery time, " + c.Latest
	}
	if len(promised) > 1 || !promised[0] {
		c.Text += fmt.Sprintf("; %d of %d within their objective", met, len(shown))
	}
	return c
}

// promise is the objective of a recovery, in seconds: its own, else that of its service.
func promise(r triggers.Recovery, objective time.Duration) float64 {
	if own, err := time.ParseDuration(r.Objective); err == nil && own > 0 {
		return own.Seconds()
	}
	return objective.Seconds()
}

func keptTone(r triggers.Recovery, objective time.Duration) string {
	if promised := promise(r, objective); promised > 0 && r.RTOSeconds > promised {
		return toneBad
	}
	return toneGood
}
