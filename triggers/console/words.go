package console

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html/template"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// Tones are the colours of a page. A tone never stands alone: the word that it
// belongs to always stands beside it.
const (
	toneGood = "good" // as it should be
	toneBusy = "busy" // something is under way
	toneWarn = "warn" // somebody should know
	toneBad  = "bad"  // somebody should act
	toneIdle = "idle" // nothing to say
)

// words are what templates may say.
var words = template.FuncMap{
	"clock":   clock,
	"stamp":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" },
	"machine": func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"span":    span,
	"path":    url.PathEscape,
	"version": version,
	"key":     newKey,
	"unix":    func(t time.Time) int64 { return t.UnixMilli() },
	"dict":    dict,
}

// stateTone is for the state of a service.
func stateTone(state string) string {
	switch state {
	case "ready":
		return toneGood
	case "recovering":
		return toneBusy
	case "paused", "away", "cooling down":
		return toneWarn
	default:
		return toneBad
	}
}

// outcomeTone is for how a recovery ended.
func outcomeTone(outcome string) string {
	switch outcome {
	case workflows.OutcomeRecovered, workflows.OutcomeDrilled, workflows.OutcomeHome:
		return toneGood
	case triggers.Running:
		return toneBusy
	case workflows.OutcomeFalseAlarm, workflows.OutcomeSelf:
		return toneIdle
	case workflows.OutcomeFailed, workflows.OutcomeDrillFailed, workflows.OutcomeHeld:
		return toneBad
	default:
		return toneWarn
	}
}

// recordTone is for a step.
func recordTone(state string) string {
	switch state {
	case workflows.Done:
		return toneGood
	case workflows.InProgress:
		return toneBusy
	case workflows.Failed:
		return toneBad
	case workflows.Refused:
		return toneWarn
	default:
		return toneIdle
	}
}

// levelTone is for what was found of a tier's readiness.
func levelTone(level string) string {
	switch level {
	case activities.LevelOK:
		return toneGood
	case activities.LevelWarn:
		return toneWarn
	case activities.LevelFail:
		return toneBad
	default:
		return toneIdle
	}
}

// levelWord says the same in words.
func levelWord(level string) string {
	switch level {
	case activities.LevelOK:
		return "would work"
	case activities.LevelWarn:
		return "would work, with a note"
	case activities.LevelFail:
		return "would fail"
	default:
		return level
	}
}

// clock is a time of day; people who read a timeline know the day.
func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// span is a length of time as people say it.
func span(seconds float64) string {
	d := time.Duration(math.Round(seconds*1000)) * time.Millisecond
	two := func(big int, bigUnit string, small int, smallUnit string) string {
		if small == 0 {
			return fmt.Sprintf("%d %s", big, bigUnit)
		}
		return fmt.Sprintf("%d %s %d %s", big, bigUnit, small, smallUnit)
	}
	if d >= time.Second && d < time.Minute {
		d = d.Round(100 * time.Millisecond)
	}
	switch whole := int(d.Seconds()); {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	case d < time.Hour:
		return two(whole/60, "min", whole%60, "s")
	case d < 48*time.Hour:
		return two(whole/3600, "h", whole/60%60, "min")
	default:
		return fmt.Sprintf("%d days", whole/86400)
	}
}

// ago is how long ago a moment was, roughly.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return "never"
	case d < time.Minute:
		return "a moment ago"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days ago", int(d.Hours())/24)
	}
}

// version changes with what a part of a page shows: the script leaves parts alone
// that have not changed, so that nobody's words are lost while they are written.
func version(part any) string {
	text, err := json.Marshal(part)
	if err != nil {
		return err.Error() // what never changes is not shown anew, and the page is loaded again by hand
	}
	sum := fnv.New64a()
	sum.Write(text)
	return fmt.Sprintf("%016x", sum.Sum64())
}

// dict hands several values to a part.
func dict(pairs ...any) map[string]any {
	all := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		all[pairs[i].(string)] = pairs[i+1]
	}
	return all
}
