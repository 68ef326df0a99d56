package workflows

import (
	"fmt"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
)

// Outcomes of a recovery.
const (
	OutcomeRecovered   = "recovered"           // the service runs on a tier, verified
	OutcomeFalseAlarm  = "false alarm"         // it was well all the time
	OutcomeSelf        = "recovered by itself" // it came back before anything was done
	OutcomeDegraded    = "degraded"            // it answers, badly; people were told
	OutcomeHeld        = "held"                // nothing could be decided; a person must
	OutcomeFailed      = "failed"              // no tier passed
	OutcomeAborted     = "aborted"             // by a person
	OutcomeRolledBack  = "rolled back"         // a person took a provisional switch back
	OutcomeDrilled     = "drilled"             // for practice: every tier that was tried would have worked
	OutcomeDrillFailed = "drill failed"        // for practice: a tier would not have worked
	OutcomeHome        = "home"                // a failback: the service is back on its primary
	OutcomeStayed      = "stayed"              // a failback that could not be done: the service is where it was
	OutcomeSuperseded  = "superseded"          // somebody with a newer epoch acts
)

// States of a record.
const (
	InProgress = "running"
	Done       = "done"
	Failed     = "failed"
	Refused    = "refused"
	Noted      = "noted"
)

// Report is all that is known of a recovery: its live progress, its result, and
// the audit that is kept outside Temporal.
type Report struct {
	activities.RecoveryResult
	// Recovery is the workflow id.
	Recovery string  `json:"recovery"`
	Service  string  `json:"service"`
	Mode     string  `json:"mode"`
	Trigger  Trigger `json:"trigger"`
	// From is the active that failed.
	From        string        `json:"from"`
	Plan        runbooks.Plan `json:"plan"`
	RunbookHash string        `json:"runbook_hash"`
	Started     time.Time     `json:"started"`
	Ended       time.Time     `json:"ended,omitzero"`
	// Verified is when the first verified good answer came through the front door.
	Verified time.Time `json:"verified,omitzero"`
	// Objective is the recovery time that was promised.
	Objective runbooks.Duration `json:"objective,omitempty"`
	// Breakdown splits the recovery time; its parts add up to it.
	Breakdown []Share `json:"breakdown,omitempty"`
	// Timeline is every step with its reason, in the order of beginning.
	Timeline []Record `json:"timeline"`
	// Evidence is the diagnosis that was acted upon.
	Evidence runbooks.Evidence `json:"evidence"`
	// Claim says how the epoch was recorded outside Temporal.
	Claim string `json:"claim,omitempty"`
	// Committed is true once the confirm window has passed.
	Committed bool `json:"committed"`
	Canaries  int  `json:"canaries"`
	// NoReturn is true once something was done that cannot be undone.
	NoReturn bool `json:"no_return"`
	// Restored is the data that was brought back; its lag behind the outage is the recovery point.
	Restored []Recovered `json:"restored,omitempty"`
	// RPOSeconds is the worst of those lags.
	RPOSeconds float64 `json:"rpo_seconds,omitempty"`
	// InFlight is what interrupted batches had in flight: what is done again, at most.
	InFlight []activities.InFlight `json:"in_flight,omitempty"`
	// RPOAudioSeconds is the audio of all of them.
	RPOAudioSeconds float64 `json:"rpo_audio_seconds,omitempty"`
	// Drilled is how the tiers of a drill went.
	Drilled []Practice `json:"drilled,omitempty"`
	// Orphans are machines of this recovery that were still there after it had cleaned up.
	Orphans []string `json:"orphans,omitempty"`
	// Question is open while a person must decide.
	Question *Question `json:"question,omitempty"`
	// Answers are what people decided.
	Answers []Answered `json:"answers,omitempty"`
	// Advice says what a person can do now.
	Advice []string `json:"advice,omitempty"`
	// Past is what earlier reports say; only the report that is kept outside Temporal has it.
	Past *reports.Past `json:"past,omitempty"`
}

// Share is one part of the recovery time.
type Share struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Record is one step of the timeline.
type Record struct {
	Step string `json:"step"`
	Tier string `json:"tier,omitempty"`
	// Place is where a machine was ordered, for the readiness to remember what the order came to.
	Place   string    `json:"place,omitempty"`
	State   string    `json:"state"`
	Reason  string    `json:"reason"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
}

// Practice is how one tier of a drill went.
type Practice struct {
	Tier   string `json:"tier"`
	Passed bool   `json:"passed"`
	Reason string `json:"reason,omitempty"`
	// Seconds until the standby was proven.
	Seconds float64 `json:"seconds"`
}

// Recovered is one piece of data that followed the service.
type Recovered struct {
	replica.Restored
	// LagSeconds is how much of the newest data is missing.
	LagSeconds float64 `json:"lag_seconds"`
}

// Answered is a person's decision.
type Answered struct {
	// ID is the question's.
	ID   string `json:"id,omitempty"`
	Role string `json:"role,omitempty"`
	// Plan is the hash of the plan that was agreed to.
	Plan     string    `json:"plan,omitempty"`
	By       string    `json:"by"`
	Question string    `json:"question"`
	Answer   string    `json:"answer"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
}

// Parts of the recovery time, in the order in which they come.
const (
	PartDetect    = "detect"    // from the outage's start until Understudy heard of it
	PartDecide    = "decide"    // until the verdict and the standby's gate
	PartProvision = "provision" // until a machine was made
	PartBoot      = "boot"      // until it ran
	PartApprove   = "approve"   // until a person agreed
	PartMount     = "mount"     // until its volumes were there, verified
	PartRestore   = "restore"   // until its data was there, proven
	PartLoad      = "load"      // until the model was loaded
	PartFence     = "fence"     // until the failed one was off the traffic
	PartRest      = "rest"      // until batches had ended what was in flight
	PartSync      = "sync"      // until the last changes were replicated
	PartSwitch    = "switch"    // until the standby was on it
	PartVerify    = "verify"    // proof before and after the switch
)

// share adds the time since the last mark to a part, and moves the mark.
func (r *Report) share(mark *time.Time, part string, until time.Time) {
	if until.Before(*mark) {
		until = *mark // clocks of two machines; a part is never negative
	}
	seconds := until.Sub(*mark).Seconds()
	*mark = until
	for i := range r.Breakdown {
		if r.Breakdown[i].Name == part {
			r.Breakdown[i].Seconds += seconds
			return
		}
	}
	r.Breakdown = append(r.Breakdown, Share{Name: part, Seconds: seconds})
}

// Markdown is the report as people read it.
func (r Report) Markdown() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Recovery %d of %s: %s", r.Epoch, r.Service, r.Outcome)
	line("")
	line("%s", plain(r.Reason))
	line("")
	line("| | |")
	line("| --- | --- |")
	line("| trigger | %s |", plain(r.Trigger.Text))
	line("| verdict | %s |", r.Verdict)
	line("| from | %s |", r.From)
	line("| now on | %s |", r.Active)
	line("| outage since | %s |", stamp(r.Trigger.OutageSince))
	if !r.Verified.IsZero() {
		line("| first verified answer | %s |", stamp(r.Verified))
		line("| recovery time | %.3f s%s |", r.RTOSeconds, against(r.RTOSeconds, r.Objective))
	}
	for _, d := range r.Restored {
		line("| data | %s from epoch %d at %s: %.1f s behind the outage |", plain(d.Path), d.Epoch, plain(d.Position), d.LagSeconds)
	}
	for _, lost := range r.InFlight {
		line("| batch | %s |", plain(LostText(lost)))
	}
	if r.Made != nil {
		line("| machine | %s, %s |", plain(r.Made.Machine.ID), plain(r.Made.Where))
	}
	if r.Claim != "" {
		line("| epoch | %s |", plain(r.Claim))
	}
	if len(r.Breakdown) > 0 {
		line("")
		line("## Where the time went")
		line("")
		for _, s := range r.Breakdown {
			line("- %s: %.3f s", s.Name, s.Seconds)
		}
	}
	line("")
	line("## Timeline")
	line("")
	line("| time | step | tier | | took | reason |")
	line("| --- | --- | --- | --- | --- | --- |")
	for _, rec := range r.Timeline {
		line("| %s | %s | %s | %s | %s | %s |", rec.Started.UTC().Format("15:04:05.000"), rec.Step, rec.Tier, rec.State, rec.took(), plain(rec.Reason))
	}
	if len(r.Answers) > 0 {
		line("")
		line("## Decisions of people")
		line("")
		for _, a := range r.Answers {
			line("- %s %s: %s, by %s. %s", stamp(a.At), plain(a.Question), a.Answer, plain(a.By), plain(a.Reason))
		}
	}
	if len(r.Advice) > 0 {
		line("")
		line("## What a person can do now")
		line("")
		for _, a := range r.Advice {
			line("- %s", plain(a))
		}
	}
	return b.String()
}

// LostText says what an interrupted batch has to do again.
func LostText(lost activities.InFlight) string {
	switch {
	case lost.Unknown != "":
		return fmt.Sprintf("%s: how much of it is done again is not known: %s", lost.Job, lost.Unknown)
	case lost.Items == 0:
		return lost.Job + ": nothing was in flight, nothing is done again"
	default:
		return fmt.Sprintf("%s: at most %.1f s of audio in %d items were in flight and are done again; nothing that was done is", lost.Job, lost.Seconds, lost.Items)
	}
}

// Checklist is the live view that the Temporal UI shows: the plan's steps with
// what became of them.
func (r Report) Checklist() string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**, recovery %d: %s\n\n", r.Service, r.Epoch, plain(r.headline()))
	marks := map[string]string{InProgress: "⏳", Done: "✅", Failed: "❌", Refused: "🚫", Noted: "📝"}
	for _, rec := range r.Timeline {
		tier := ""
		if rec.Tier != "" {
			tier = " (" + rec.Tier + ")"
		}
		fmt.Fprintf(&b, "- %s **%s**%s %s: %s\n", marks[rec.State], rec.Step, tier, rec.took(), plain(rec.Reason))
	}
	if r.Question != nil {
		fmt.Fprintf(&b, "\n❓ %s\n", plain(r.Question.Text))
	}
	for _, a := range r.Advice {
		fmt.Fprintf(&b, "\n👉 %s\n", plain(a))
	}
	return cut(b.String(), 16_000)
}

// headline is the state in one line.
func (r Report) headline() string {
	switch {
	case r.Question != nil:
		return "waits for a person: " + r.Question.Text
	case r.Outcome == OutcomeRecovered:
		return fmt.Sprintf("recovered on %s after %.1f s", r.Active, r.RTOSeconds)
	case r.Mode == ModeFailback && r.Outcome == "" && r.Verified.IsZero():
		return "on the way home from " + r.From
	case r.Mode == ModeDrill && r.Outcome == "":
		return "a drill: " + r.Trigger.Text
	case r.Outcome == OutcomeFailed:
		return "failed: no tier passed, the service is down"
	case r.Outcome != "":
		return r.Outcome
	case !r.Verified.IsZero():
		return fmt.Sprintf("runs on %s, verified after %.1f s; watched until it is committed", r.Active, r.RTOSeconds)
	case r.Verdict != "":
		return fmt.Sprintf("%s is %s", r.From, r.Verdict)
	default:
		return r.Trigger.Text
	}
}

func (rec Record) took() string {
	if rec.Ended.IsZero() {
		return ""
	}
	return rec.Ended.Sub(rec.Started).Round(time.Millisecond).String()
}

func against(seconds float64, objective runbooks.Duration) string {
	switch {
	case objective == 0:
		return ""
	case seconds <= objective.D().Seconds():
		return fmt.Sprintf(" (objective %s: met)", objective)
	default:
		return fmt.Sprintf(" (objective %s: **missed**)", objective)
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }

// plain keeps other people's text from being taken for markup or for the next row.
func plain(text string) string {
	return strings.NewReplacer("&", "&amp;", "|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", "`", "'", "*", "\\*", "_", "\\_", "[", "\\[").Replace(text)
}
