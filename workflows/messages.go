package workflows

import (
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// Ways in which a recovery comes about.
const (
	TriggerAlert     = "alert"
	TriggerPerson    = "person"
	TriggerHeartbeat = "heartbeat"
	TriggerWatchdog  = "watchdog"
	TriggerLost      = "active lost" // the active failed after a switch
	TriggerSchedule  = "schedule"
)

// Modes of a recovery.
const (
	ModeLive  = activities.ModeLive
	ModeDrill = activities.ModeDrill
	// ModeFailback is the planned way home.
	ModeFailback = activities.ModeFailback
)

// Alert is what a guard must know of one alert. It is cut down before it
// enters a history: labels are other people's text.
type Alert struct {
	// Fingerprint identifies the alert by its labels, as Alertmanager does.
	Fingerprint string    `json:"fingerprint"`
	StartsAt    time.Time `json:"starts_at"`
	EndsAt      time.Time `json:"ends_at,omitzero"`
	Firing      bool      `json:"firing"`
	// Name and Summary are for people.
	Name    string `json:"name"`
	Summary string `json:"summary,omitempty"`
}

// AlertSignal carries the alerts of one webhook that are about one service.
type AlertSignal struct {
	Alerts   []Alert   `json:"alerts"`
	Received time.Time `json:"received"`
	// TraceParent is the W3C trace context of the webhook's request.
	TraceParent string `json:"trace_parent,omitempty"`
}

// RecoverUpdate is a person, or a prober, who asks for a recovery.
type RecoverUpdate struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
	// Trigger is one of the constants; empty is a person.
	Trigger string `json:"trigger,omitempty"`
	// Tier tries only this one; empty climbs the whole ladder.
	Tier string `json:"tier,omitempty"`
	// Plan is the hash of the plan that the person saw: another one is refused. It stands for the approval of a tier
	// that asks for one, where Role may give it.
	Plan string `json:"plan,omitempty"`
	Role string `json:"role,omitempty"`
	// Force passes cooldown and pause, and moves the service whatever the diagnosis says.
	Force bool `json:"force,omitempty"`
	// Supersede ends a running recovery first.
	Supersede bool      `json:"supersede,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	// TraceParent is the W3C trace context of the request.
	TraceParent string `json:"trace_parent,omitempty"`
}

// DrillUpdate asks for a recovery for practice.
type DrillUpdate struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
	// Tiers are practised; empty means those of the runbook's drill, or all that make machines.
	Tiers []string `json:"tiers,omitempty"`
	// Scheduled marks one that nobody asked for by hand.
	Scheduled bool `json:"scheduled,omitempty"`
	// GameDay really stops the primary, on purpose: a recovery like any other, with people watching.
	GameDay bool `json:"game_day,omitempty"`
	// Plan is the hash of the plan that the person saw; with Role it stands for the approval.
	Plan string `json:"plan,omitempty"`
	Role string `json:"role,omitempty"`
}

// FailbackUpdate asks for the planned way home.
type FailbackUpdate struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// RecoverAnswer says what came of it.
type RecoverAnswer struct {
	Started  bool   `json:"started"`
	Epoch    int64  `json:"epoch,omitempty"`
	Recovery string `json:"recovery,omitempty"`
	Reason   string `json:"reason"`
}

// PauseUpdate stops a service's recoveries until it is resumed.
type PauseUpdate struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// ResumeUpdate ends a pause.
type ResumeUpdate struct {
	By string `json:"by"`
}

// ResolvedSignal tells a recovery that its alert has resolved.
type ResolvedSignal struct {
	At time.Time `json:"at"`
}

// AbortUpdate stops a recovery: before the point of no return what was done is
// undone, after it the recovery stops where it stands.
type AbortUpdate struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// StepUpdate retries or skips what a recovery is doing: the tier that it tries.
type StepUpdate struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// SettleUpdate ends the confirm window: the switch is committed, or rolled back.
type SettleUpdate struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// AnswerUpdate is a person's decision on the question that a recovery asks.
type AnswerUpdate struct {
	By string `json:"by"`
	// Question is the one that was shown; an answer to another one is refused.
	Question string `json:"question"`
	// Answer is one of the question's choices.
	Answer string `json:"answer"`
	Reason string `json:"reason,omitempty"`
	// Plan is the hash of the plan that the person saw, where the question is bound to one.
	Plan string `json:"plan,omitempty"`
	// Role is what the person may do, as whoever let them in knows it; empty where nobody is asked who they are.
	Role string `json:"role,omitempty"`
}

// Question is something that only a person may decide.
type Question struct {
	ID   string `json:"id"`
	Text string `json:"text"`
	// Choices are the answers that count, each with what it does.
	Choices []Choice `json:"choices"`
	// Tier is the one that it is about.
	Tier string `json:"tier,omitempty"`
	// Plan is the hash of the plan that an answer must name; empty where any answer counts.
	Plan string `json:"plan,omitempty"`
	// Roles are those whose answer counts; empty for everybody who may act.
	Roles []string  `json:"roles,omitempty"`
	Asked time.Time `json:"asked"`
	// Until is when silence is taken for the default; zero waits until the recovery's deadline.
	Until time.Time `json:"until,omitzero"`
}

// Choice is one possible answer.
type Choice struct {
	Answer string `json:"answer"`
	// Leaves says in which state the answer leaves the service.
	Leaves string `json:"leaves"`
}

// Trigger is why a recovery was started.
type Trigger struct {
	Kind string `json:"kind"`
	// Text says it to people: the alert's name, the person and the reason.
	Text string `json:"text"`
	By   string `json:"by,omitempty"`
	// Fingerprints are the alerts that it answers.
	Fingerprints []string `json:"fingerprints,omitempty"`
	// Received is when Understudy heard of it.
	Received time.Time `json:"received"`
	// OutageSince is the earliest sign of the outage: the alert's start, or the first failed probe.
	OutageSince time.Time `json:"outage_since"`
	TraceParent string    `json:"trace_parent,omitempty"`
}

// Evidence is the trigger as an observation of a failure domain of its own. What
// Understudy's own probes have found is none: it will look again itself.
func (t Trigger) Evidence() []runbooks.Observation {
	domain := ""
	switch t.Kind {
	case TriggerAlert:
		domain = runbooks.ByAlert
	case TriggerPerson:
		domain = runbooks.ByPerson
	case TriggerWatchdog:
		domain = activities.ByWatchdog
	default:
		return nil
	}
	return []runbooks.Observation{{Domain: domain, Finding: runbooks.Down, Detail: t.Text, At: t.OutageSince}}
}
