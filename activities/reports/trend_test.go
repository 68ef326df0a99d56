package reports_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/reports"
)

// week is a run of the cold tier: so many weeks after the first, with so many seconds for each step.
func week(weeks int, steps map[string]float64) reports.Run {
	r := reports.Run{Report: name(weeks + 1), Service: "asr", Started: time.Date(2026, 4, 6, 3, 0, 0, 0, time.UTC).AddDate(0, 0, 7*weeks)}
	from := r.Started
	for _, step := range []string{"approve", "check", "mount", "restore", "provision", "boot", "load", "prove", "settle"} {
		seconds, ok := steps[step]
		if !ok {
			continue
		}
		until := from.Add(time.Duration(seconds * float64(time.Second)))
		r.Steps = append(r.Steps, reports.Took{Tier: "cold", Step: step, Started: from, Ended: until})
		if step != "mount" { // brought together with the data
			from = until
		}
	}
	return r
}

func weeks(count int, load func(week int) float64) (runs []reports.Run) {
	for i := range count {
		runs = append(runs, week(i, map[string]float64{"approve": float64(i * 100), "check": 0.1, "mount": 2, "restore": 3, "boot": 4, "load": load(i), "prove": 0.5, "settle": 120}))
	}
	return runs
}

func TestTrends(t *testing.T) {
	jitter := func(i int) float64 { return float64(i*7%5) / 10 }
	for name, c := range map[string]struct {
		runs []reports.Run
		want string // of the change; empty for none
	}{
		"always the same":            {weeks(20, func(i int) float64 { return 9 + jitter(i) }), ""},
		"a larger model":             {weeks(20, func(i int) float64 { return 9 + jitter(i) + 6*later(i, 9) }), "cold got 6.0 s slower since 8 June: load (15.2 s, was 9.2 s)"},
		"a faster disk":              {weeks(20, func(i int) float64 { return 9 + jitter(i) - 3*later(i, 9) }), "cold got 3.0 s faster since 8 June: load (6.2 s, was 9.2 s)"},
		"one slow day":               {weeks(20, func(i int) float64 { return 9 + jitter(i) + 60*later(i, 19) }), ""},
		"two slow days":              {weeks(20, func(i int) float64 { return 9 + jitter(i) + 60*(later(i, 9)-later(i, 11)) }), ""},
		"three are enough":           {weeks(6, func(i int) float64 { return 9 + 6*later(i, 3) }), "cold got 6.0 s slower since 27 April: load (15.0 s, was 9.0 s)"},
		"too few":                    {weeks(5, func(i int) float64 { return 9 + 6*later(i, 3) }), ""},
		"a little":                   {weeks(20, func(i int) float64 { return 9 + 0.4*later(i, 9) }), ""},
		"up and down":                {weeks(20, func(i int) float64 { return 9 + 6*float64(i%2) }), ""},
		"nothing":                    {nil, ""},
		"one that gave up, each way": {[]reports.Run{week(0, map[string]float64{"check": 1}), week(1, map[string]float64{"check": 1})}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			trends := reports.NewTrends("asr", c.runs)
			got := ""
			for _, tier := range trends.Tiers {
				if tier.Change != nil {
					got += tier.Change.Text
				}
				if tier.Runs != len(tier.Points) || math.IsNaN(tier.Median) {
					t.Errorf("%+v", tier)
				}
			}
			if got != c.want || trends.Runs != len(c.runs) {
				t.Errorf("%q\nwant %q", got, c.want)
			}
			if text, err := json.Marshal(trends); err != nil || strings.Contains(string(text), "null") {
				t.Errorf("%s, %v", text, err)
			}
		})
	}
	// What overlaps counts once, and what people or the runbook decide does not count.
	cold := reports.NewTrends("asr", weeks(1, func(int) float64 { return 9 })).Tiers[0]
	if cold.Tier != "cold" || math.Abs(cold.Median-16.6) > 0.001 {
		t.Errorf("%+v", cold)
	}
}

func later(i, than int) float64 {
	if i >= than {
		return 1
	}
	return 0
}

func TestPaces(t *testing.T) {
	var runs []reports.Run
	for i := range 20 {
		runs = append(runs, week(i, map[string]float64{"load": float64(i + 1)}))
	}
	for count, want := range map[int][3]float64{1: {1, 1, 1}, 2: {1.5, 2, 2}, 3: {2, 3, 3}, 10: {5.5, 10, 10}, 20: {10.5, 19, 20}} {
		p := reports.Paces(runs[:count])
		if len(p) != 1 || p[0].Runs != count || [3]float64{p[0].Median, p[0].P95, p[0].Longest} != want {
			t.Errorf("%d: %+v, want %v", count, p, want)
		}
	}
}

func TestRecall(t *testing.T) {
	m := newMemory()
	for i := range 30 {
		m.files[name(i)+".json"] = fmt.Sprintf(`{"service": "asr", "epoch": %d, "mode": "live", "tier": "cold", "rto_seconds": %d, "started": "2026-11-21T03:%02d:00Z",
			"breakdown": [{"name": "load", "seconds": %[1]d}],
			"timeline": [{"step": "load", "tier": "cold", "state": "done", "started": "2026-11-21T03:00:00Z", "ended": "2026-11-21T03:00:%02[1]dZ"},
			             {"step": "gate", "tier": "hot", "state": "refused", "started": "2026-11-21T03:00:00Z", "ended": "2026-11-21T03:10:00Z"}]}`, i, i+1, i)
	}
	m.files[name(30)+".json"], m.files["asr/chain/x.json"], m.files["asr/7.md"] = "{broken", "{}", "x"
	past, err := reports.Recall(t.Context(), m, "asr", name(29), 21)
	if err != nil || len(past.Runs) != 20 || past.Runs[0].Epoch != 9 || past.Runs[19].Epoch != 28 {
		t.Fatalf("%v: %+v", err, past.Runs)
	}
	if p, ok := past.Pace("cold", "load"); !ok || p.Median != 18.5 || p.Longest != 28 || p.Runs != 20 {
		t.Errorf("%+v", p)
	}
	if p, ok := past.Part("cold", "load"); !ok || p.Median != 18.5 {
		t.Errorf("%+v", p)
	}
	if _, ok := past.Pace("hot", "gate"); ok {
		t.Error("what was refused is no measure")
	}
	var none *reports.Past
	if _, ok := none.Pace("cold", "load"); ok {
		t.Error("nothing knows something")
	}
	if past, err := reports.Recall(t.Context(), m, "nobody", "", 20); err != nil || len(past.Runs) != 0 || past.Steps != nil {
		t.Errorf("%+v, %v", past, err)
	}
}
