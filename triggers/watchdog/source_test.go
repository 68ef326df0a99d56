package watchdog

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// Each step is what happens at a second: a sign comes (+), or the clock is looked
// at; and what is due then, and whether the engine takes it (!).
func TestWhatIsToBeTold(t *testing.T) {
	start := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	type step struct {
		at    int
		sign  bool
		want  message
		taken bool
	}
	const silence = 180
	for name, steps := range map[string][]step{
		"a site that speaks each minute": {
			{0, false, hello, true}, {0, false, nothing, true}, {5, true, alive, true}, {5, false, nothing, true}, {65, true, alive, true}, {125, true, alive, true}, {184, false, nothing, true},
		},
		"one that speaks each ten seconds": {
			{0, false, hello, true}, {10, true, alive, true}, {20, true, nothing, true}, {30, true, nothing, true}, {60, true, nothing, true}, {70, true, alive, true}, {80, true, nothing, true},
		},
		"the first sign comes first": {
			{0, true, alive, true}, {1, false, nothing, true},
		},
		"it falls silent, and speaks again": {
			{0, true, alive, true}, {30, true, nothing, true}, {180, false, nothing, true}, {209, false, nothing, true}, {210, false, quiet, true}, {211, false, nothing, true}, {900, false, nothing, true},
			{901, true, alive, true}, {902, true, nothing, true}, {1081, false, nothing, true}, {1082, false, quiet, true},
		},
		"nothing ever comes: a whole silence since the start": {
			{0, false, hello, true}, {179, false, nothing, true}, {180, false, quiet, true}, {181, false, nothing, true},
		},
		"the engine is away": {
			{0, false, hello, false}, {1, false, hello, false}, {10, true, alive, false}, {11, false, alive, false}, {12, true, alive, true}, {13, false, nothing, true},
			{192, false, quiet, false}, {200, false, quiet, false}, {201, false, quiet, true}, {202, false, nothing, true},
		},
		"it speaks again before the engine has heard of the silence": {
			{0, true, alive, true}, {180, false, quiet, false}, {181, true, alive, false}, {182, false, alive, true}, {183, false, nothing, true}, {361, false, quiet, true},
		},
	} {
		s := newSource("dc-a", runbooks.Watchdog{Match: map[string]string{"alertname": "Watchdog"}, Silence: runbooks.Duration(silence * time.Second)}, start)
		for i, step := range steps {
			now := start.Add(time.Duration(step.at) * time.Second)
			if step.sign {
				s.hear(now)
			}
			got := s.due(now)
			if got != step.want {
				t.Errorf("%s: step %d, after %d s: %q, want %q", name, i, step.at, got, step.want)
				break
			}
			if got != nothing && step.taken {
				s.told(got, now)
			}
		}
	}
}

func TestMatches(t *testing.T) {
	s := newSource("dc-a", runbooks.Watchdog{Match: map[string]string{"alertname": "Watchdog", "site": "dc-a"}}, time.Time{})
	for text, want := range map[string]bool{
		"alertname=Watchdog site=dc-a":               true,
		"alertname=Watchdog site=dc-a severity=none": true,
		"alertname=Watchdog site=dc-b":               false,
		"alertname=Watchdog":                         false,
		"":                                           false,
	} {
		labels := map[string]string{}
		for pair := range strings.FieldsSeq(text) {
			name, value, _ := strings.Cut(pair, "=")
			labels[name] = value
		}
		if s.matches(labels) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	if newSource("x", runbooks.Watchdog{}, time.Time{}).matches(map[string]string{"a": "b"}) {
		t.Error("without labels every alert is a sign of life")
	}
}
