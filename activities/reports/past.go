package reports

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"
	"time"
)

// Run is what comparisons need of one report.
type Run struct {
	// Report is its name without an extension.
	Report     string    `json:"report,omitempty"`
	Service    string    `json:"service"`
	Epoch      int64     `json:"epoch"`
	Mode       string    `json:"mode"`
	Outcome    string    `json:"outcome"`
	Tier       string    `json:"tier,omitempty"`
	Started    time.Time `json:"started"`
	RTOSeconds float64   `json:"rto_seconds,omitempty"`
	// Steps are those that were done.
	Steps []Took `json:"-"`
	// Placed is what orders for machines came to.
	Placed []Placed `json:"-"`
	// Parts are those of the recovery time.
	Parts []Part `json:"breakdown,omitempty"`
}

// Done is the state of a step, or of an order, that went well.
const Done = "done"

// Placed is what one order for a machine came to at one place.
type Placed struct {
	Tier, Place string
	// State is Done, or another one with its reason.
	State, Reason string
	At            time.Time
}

// Part is one part of the recovery time.
type Part struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Took is one step of a run.
type Took struct {
	Tier, Step     string
	Started, Ended time.Time
}

// Seconds is how long it took.
func (t Took) Seconds() float64 { return t.Ended.Sub(t.Started).Seconds() }

// Pace is how long a step takes: over some of the latest runs, in seconds.
type Pace struct {
	// Tier is empty for steps that belong to none.
	Tier string `json:"tier,omitempty"`
	Step string `json:"step"`
	// Median, and P95: of 100 runs, 95 took no longer. With fewer than 20 runs that is the longest.
	Median  float64 `json:"median_seconds"`
	P95     float64 `json:"p95_seconds"`
	Longest float64 `json:"longest_seconds"`
	Runs    int     `json:"runs"`
}

// Past is what earlier reports say, for comparison with one.
type Past struct {
	// Runs are the latest before it, the oldest first.
	Runs []Run `json:"runs,omitempty"`
	// Steps are the paces of steps; Parts those of the parts of the recovery time.
	Steps []Pace `json:"steps,omitempty"`
	Parts []Pace `json:"parts,omitempty"`
}

// Pace finds the pace of a step.
func (p *Past) Pace(tier, step string) (Pace, bool) {
	return find(p, func(p *Past) []Pace { return p.Steps }, tier, step)
}

// Part finds the pace of a part of the recovery time of runs that ended on a tier.
func (p *Past) Part(tier, part string) (Pace, bool) {
	return find(p, func(p *Past) []Pace { return p.Parts }, tier, part)
}

func find(p *Past, of func(*Past) []Pace, tier, step string) (Pace, bool) {
	if p == nil {
		return Pace{}, false
	}
	all := of(p)
	i := slices.IndexFunc(all, func(pace Pace) bool { return pace.Tier == tier && pace.Step == step })
	if i < 0 {
		return Pace{}, false
	}
	return all[i], true
}

// ReadRun reads what comparisons need of a report; false where it is none.
func ReadRun(name string, report []byte) (Run, bool) {
	var r struct {
		Run
		Timeline []struct {
			Step    string    `json:"step"`
			Tier    string    `json:"tier"`
			State   string    `json:"state"`
			Place   string    `json:"place"`
			Reason  string    `json:"reason"`
			Started time.Time `json:"started"`
			Ended   time.Time `json:"ended"`
		} `json:"timeline"`
	}
	if json.Unmarshal(report, &r) != nil || r.Service == "" {
		return Run{}, false
	}
	run := r.Run
	run.Report = strings.TrimSuffix(name, ".json")
	for _, rec := range r.Timeline {
		if rec.Place != "" {
			run.Placed = append(run.Placed, Placed{Tier: rec.Tier, Place: rec.Place, State: rec.State, Reason: rec.Reason, At: rec.Started})
		}
		if rec.State == Done && rec.Ended.After(rec.Started) {
			run.Steps = append(run.Steps, Took{Tier: rec.Tier, Step: rec.Step, Started: rec.Started, Ended: rec.Ended})
		}
	}
	return run, true
}

// Recall reads the latest reports of a service, at most so many and leaving one
// out, and says how long their steps took.
func Recall(ctx context.Context, store Store, service, besides string, most int) (Past, error) {
	names, err := store.List(ctx, service+"/")
	if err != nil {
		return Past{}, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return path.Ext(name) != ".json" || path.Dir(name) != service || name == besides+".json"
	})
	names = names[max(0, len(names)-most):]
	runs := make([]Run, len(names))
	err = atOnce(len(names), func(i int) error {
		content, err := store.Read(ctx, names[i])
		if err != nil && !errors.Is(err, ErrNone) {
			return err
		}
		runs[i], _ = ReadRun(names[i], content)
		return nil
	})
	runs = slices.DeleteFunc(runs, func(r Run) bool { return r.Service == "" })
	slices.SortStableFunc(runs, func(a, b Run) int { return a.Started.Compare(b.Started) })
	return Past{Runs: runs, Steps: Paces(runs), Parts: parts(runs)}, err
}

// Paces are how long the steps of runs took.
func Paces(runs []Run) []Pace {
	measured := measures{}
	for _, r := range runs {
		for _, t := range r.Steps {
			measured.add(t.Tier, t.Step, t.Seconds())
		}
	}
	return measured.paces()
}

func parts(runs []Run) []Pace {
	measured := measures{}
	for _, r := range runs {
		if r.RTOSeconds > 0 {
			for _, p := range r.Parts {
				measured.add(r.Tier, p.Name, p.Seconds)
			}
		}
	}
	return measured.paces()
}

// measures are seconds by tier and step.
type measures map[[2]string][]float64

func (m measures) add(tier, step string, seconds float64) {
	m[[2]string{tier, step}] = append(m[[2]string{tier, step}], seconds)
}

func (m measures) paces() []Pace {
	var all []Pace
	for of, seconds := range m {
		slices.Sort(seconds)
		all = append(all, Pace{Tier: of[0], Step: of[1], Median: median(seconds), P95: p95(seconds), Longest: seconds[len(seconds)-1], Runs: len(seconds)})
	}
	slices.SortFunc(all, func(x, y Pace) int { return cmp.Or(cmp.Compare(x.Tier, y.Tier), cmp.Compare(x.Step, y.Step)) })
	return all
}

// median of sorted values.
func median(sorted []float64) float64 {
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// p95 of sorted values, by the nearest rank.
func p95(sorted []float64) float64 {
	return sorted[(len(sorted)*95+99)/100-1]
}
