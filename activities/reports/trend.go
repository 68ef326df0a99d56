package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// What counts as a change of how long a tier takes. A single slow day is none.
const (
	changeRuns    = 3    // at least so many runs before it, and since
	changeSeconds = 0.5  // the medians differ by at least so many seconds
	changeShare   = 0.15 // and by so much of what it was before
	changeApart   = 0.8  // so many of each side are on their own side of the middle
	blamedShare   = 0.25 // a step is named that accounts for so much of the change
)

// wayUp are the steps until a standby is proven, which drills take as well. What
// people decide, and what comes after the switch, says nothing about the tier.
var wayUp = []string{
	runbooks.StepCheck, runbooks.StepProvision, runbooks.StepBoot, runbooks.StepMount, runbooks.StepRestore, runbooks.StepActivate,
	runbooks.StepLoad, runbooks.StepGate, runbooks.StepProve,
}

// Trends is how long the tiers of a service take, over time.
type Trends struct {
	Service string `json:"service"`
	// Runs are so many, the first at Since.
	Runs  int         `json:"runs"`
	Since time.Time   `json:"since,omitzero"`
	Tiers []TierTrend `json:"tiers"`
	Steps []Pace      `json:"steps"`
}

// TierTrend is how long one tier takes until it is proven.
type TierTrend struct {
	Pace
	// Points are the runs, the oldest first.
	Points []Point `json:"points"`
	// Change is the clearest one; nil where there is none.
	Change *Change `json:"change,omitempty"`
}

// Point is one run.
type Point struct {
	Report  string    `json:"report"`
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
}

// Change is a lasting one of how long a tier takes.
type Change struct {
	Since time.Time `json:"since"`
	// Before and Now are medians, in seconds.
	Before float64 `json:"before_seconds"`
	Now    float64 `json:"now_seconds"`
	// Steps account for it, the most important first.
	Steps []StepChange `json:"steps,omitempty"`
	// Text says it in one sentence.
	Text string `json:"text"`
}

// StepChange is what one step has to do with it.
type StepChange struct {
	Step   string  `json:"step"`
	Before float64 `json:"before_seconds"`
	Now    float64 `json:"now_seconds"`
}

// climbed is one run's way up to one tier.
type climbed struct {
	Point
	steps map[string]float64
}

// NewTrends looks at runs, the oldest first.
func NewTrends(service string, runs []Run) Trends {
	t := Trends{Service: service, Runs: len(runs), Tiers: []TierTrend{}, Steps: Paces(runs)}
	if t.Steps == nil {
		t.Steps = []Pace{}
	}
	if len(runs) > 0 {
		t.Since = runs[0].Started
	}
	byTier := map[string][]climbed{}
	for _, r := range runs {
		for tier, c := range climbs(r) {
			byTier[tier] = append(byTier[tier], c)
		}
	}
	for tier, all := range byTier {
		t.Tiers = append(t.Tiers, newTierTrend(tier, all))
	}
	slices.SortFunc(t.Tiers, func(a, b TierTrend) int { return cmp.Compare(a.Tier, b.Tier) })
	return t
}

// climbs are the ways up of a run that led to a proven standby.
func climbs(r Run) map[string]climbed {
	all := map[string]climbed{}
	took := map[string][]Took{}
	for _, t := range r.Steps {
		if t.Tier != "" && slices.Contains(wayUp, t.Step) {
			took[t.Tier] = append(took[t.Tier], t)
		}
	}
	for tier, steps := range took {
		if !slices.ContainsFunc(steps, func(t Took) bool { return t.Step == runbooks.StepProve || t.Step == runbooks.StepGate }) {
			continue // it did not get that far
		}
		c := climbed{Point: Point{Report: r.Report, At: r.Started}, steps: map[string]float64{}}
		slices.SortFunc(steps, func(a, b Took) int { return a.Started.Compare(b.Started) })
		var until time.Time
		for _, t := range steps { // volumes and data are brought at once: what overlaps counts once
			c.steps[t.Step] += t.Seconds()
			if from := later(t.Started, until); t.Ended.After(from) {
				c.Seconds += t.Ended.Sub(from).Seconds()
				until = t.Ended
			}
		}
		all[tier] = c
	}
	return all
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func newTierTrend(tier string, all []climbed) TierTrend {
	t := TierTrend{Points: make([]Point, len(all))}
	seconds := make([]float64, len(all))
	for i, c := range all {
		t.Points[i], seconds[i] = c.Point, c.Seconds
	}
	if at := changePoint(seconds); at > 0 {
		t.Change = newChange(tier, all, at)
	}
	slices.Sort(seconds)
	t.Pace = Pace{Tier: tier, Step: "proven", Median: median(seconds), P95: p95(seconds), Longest: seconds[len(seconds)-1], Runs: len(seconds)}
	return t
}

// changePoint is the index of the first value after a lasting change, 0 where
// there is none: where two medians fit best, if they differ clearly.
func changePoint(values []float64) int {
	at, least := 0, math.Inf(1)
	for i := changeRuns; i <= len(values)-changeRuns; i++ {
		if cost := spread(values[:i]) + spread(values[i:]); cost < least {
			at, least = i, cost
		}
	}
	if at == 0 {
		return 0
	}
	before, now := medianOf(values[:at]), medianOf(values[at:])
	if difference := math.Abs(now - before); difference < changeSeconds || difference < changeShare*before {
		return 0
	}
	middle := (before + now) / 2
	below := func(part []float64) float64 {
		count := 0
		for _, v := range part {
			if v < middle {
				count++
			}
		}
		return float64(count) / float64(len(part))
	}
	left, right := below(values[:at]), below(values[at:])
	if now < before {
		left, right = 1-left, 1-right
	}
	if left < changeApart || 1-right < changeApart {
		return 0
	}
	return at
}

// spread is how far values are from their median, all together.
func spread(values []float64) (total float64) {
	middle := medianOf(values)
	for _, v := range values {
		total += math.Abs(v - middle)
	}
	return total
}

func medianOf(values []float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return median(sorted)
}

// newChange says what has changed at an index, and which steps account for it.
func newChange(tier string, all []climbed, at int) *Change {
	total := func(part []climbed) float64 {
		return middleOf(part, func(c climbed) (float64, bool) { return c.Seconds, true })
	}
	c := &Change{Since: all[at].At, Before: total(all[:at]), Now: total(all[at:])}
	for _, step := range wayUp {
		of := func(c climbed) (float64, bool) { seconds, ok := c.steps[step]; return seconds, ok }
		s := StepChange{Step: step, Before: middleOf(all[:at], of), Now: middleOf(all[at:], of)}
		if (s.Now-s.Before)/(c.Now-c.Before) >= blamedShare {
			c.Steps = append(c.Steps, s)
		}
	}
	slices.SortStableFunc(c.Steps, func(a, b StepChange) int { return cmp.Compare(math.Abs(b.Now-b.Before), math.Abs(a.Now-a.Before)) })
	c.Text = c.text(tier, all[len(all)-1].At)
	return c
}

// middleOf is the median over those that have a value, 0 where none has.
func middleOf(all []climbed, of func(climbed) (float64, bool)) float64 {
	var values []float64
	for _, c := range all {
		if v, ok := of(c); ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return 0
	}
	return medianOf(values)
}

func (c *Change) text(tier string, latest time.Time) string {
	how, layout := "slower", "2 January"
	if c.Now < c.Before {
		how = "faster"
	}
	if c.Since.Year() != latest.Year() {
		layout = "2 January 2006"
	}
	text := fmt.Sprintf("%s got %.1f s %s since %s", tier, math.Abs(c.Now-c.Before), how, c.Since.UTC().Format(layout))
	var steps []string
	for _, s := range c.Steps {
		steps = append(steps, fmt.Sprintf("%s (%.1f s, was %.1f s)", s.Step, s.Now, s.Before))
	}
	if len(steps) > 0 {
		text += ": " + strings.Join(steps, ", ")
	}
	return text
}
