package workflows

import (
	"fmt"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// Action is what a guard does about an event.
type Action string

// The actions.
const (
	Start  Action = "start"  // start a recovery
	Join   Action = "join"   // a recovery is running; it answers this as well
	Look   Action = "look"   // look at the active first, then decide again
	Wait   Action = "wait"   // decide again when the cooldown is over
	Ignore Action = "ignore" // nothing to do
	Hold   Action = "hold"   // something should be done, and a person stands in the way or must decide
)

// Decision is one decision of a guard with its reason.
type Decision struct {
	At     time.Time `json:"at"`
	Event  string    `json:"event"`
	Action Action    `json:"action"`
	Reason string    `json:"reason"`
	// Override is the command with which a person gets it done all the same.
	Override string `json:"override,omitempty"`
	Epoch    int64  `json:"epoch,omitempty"`
}

// Ask is an event that may call for a recovery.
type Ask struct {
	Trigger Trigger
	// Alert is set where an alert asks.
	Alert *Alert
	// Force and Supersede are a person's.
	Force, Supersede bool
	// Tier, Plan and Role are a person's as well; see RecoverUpdate.
	Tier, Plan, Role string
	// Drill asks for practice, of these Tiers.
	Drill bool
	Tiers []string
	// GameDay asks for a recovery from an outage that is made on purpose.
	GameDay bool
	// Failback asks for the planned way home.
	Failback bool
	// Alone marks a way home that nobody asked for by hand.
	Alone bool
	// Looked is what a look at the active found, where the decision asked for one.
	Looked *Glance
}

// mode is that of the recovery that is asked for.
func (a Ask) mode() string {
	switch {
	case a.Drill:
		return ModeDrill
	case a.Failback:
		return ModeFailback
	default:
		return ModeLive
	}
}

// approves is the hash of the plan to which the person who asks has agreed, and
// may agree: it is for every tier of it that asks.
func (a Ask) approves(r runbooks.Runbook) string {
	if a.Plan == "" || a.GameDay && a.Role != "approver" {
		return ""
	}
	for _, t := range r.Tiers {
		if (a.Tier == "" || a.Tier == t.Name) && t.Approval != nil && a.Role != "" && !slices.Contains(t.Approval.Roles, a.Role) {
			return ""
		}
	}
	return a.Plan
}

// Glance is a look at the active.
type Glance struct {
	Verdict runbooks.Verdict
	Reason  string
}

// Decide decides what to do about an event. It is pure: the same state, event
// and time always give the same answer.
func Decide(s GuardState, plan runbooks.Plan, ask Ask, now time.Time) Decision {
	d := Decision{At: now, Event: ask.Trigger.Text}
	decide := func(action Action, format string, args ...any) Decision {
		d.Action, d.Reason = action, fmt.Sprintf(format, args...)
		return d
	}
	force := "understudy recover " + s.Service + " --force"
	if a := ask.Alert; a != nil {
		known := s.seen(*a)
		switch {
		case !a.Firing:
			return decide(Ignore, "the alert has resolved")
		case known != nil && known.Resolved:
			return decide(Ignore, "the alert has resolved already; this is a late copy")
		}
	}
	if ask.Failback {
		switch {
		case s.Running != nil && s.Running.Mode != ModeDrill:
			return decide(Ignore, "%s %d is running since %s", kind(s.Running.Mode), s.Running.Epoch, clock(s.Running.Started))
		case !s.away():
			return decide(Ignore, "the service is at home, on its primary")
		}
		switch firing := s.firing(now); {
		case !ask.Alone:
		case s.Paused != nil:
			return decide(Ignore, "paused by %s since %s: %s", s.Paused.By, clock(s.Paused.Since), s.Paused.Reason)
		case now.Before(s.CooldownUntil):
			return decide(Ignore, "cooldown until %s", clock(s.CooldownUntil))
		case firing != nil:
			return decide(Ignore, "an alert fires since %s; the way home is for good times", clock(firing.StartsAt))
		}
		return decide(Start, "%s", ask.Trigger.Text)
	}
	if ask.Drill || ask.GameDay {
		switch firing := s.firing(now); {
		case s.Running != nil:
			return decide(Ignore, "%s %d is running since %s; a drill makes way for it", kind(s.Running.Mode), s.Running.Epoch, clock(s.Running.Started))
		case s.Paused != nil:
			return decide(Ignore, "paused by %s since %s: %s", s.Paused.By, clock(s.Paused.Since), s.Paused.Reason)
		case s.away():
			return decide(Ignore, "the service runs on %s; drills are for good times", s.Active)
		case firing != nil:
			return decide(Ignore, "an alert fires since %s; drills are for good times", clock(firing.StartsAt))
		case now.Before(s.CooldownUntil):
			return decide(Ignore, "cooldown until %s", clock(s.CooldownUntil))
		}
		return decide(Start, "%s", ask.Trigger.Text)
	}
	if s.Running != nil && s.Running.Mode == ModeDrill {
		s.Running = nil // a drill makes way for what is real: it is decided as if none were running
	}
	switch {
	case s.Running != nil && ask.Supersede:
		return decide(Start, "it takes the place of recovery %d, by order of %s", s.Running.Epoch, ask.Trigger.By)
	case s.Running != nil:
		d.Override = force + " --supersede"
		return decide(Join, "recovery %d is running since %s", s.Running.Epoch, clock(s.Running.Started))
	case s.Paused != nil && !ask.Force:
		d.Override = "understudy resume " + s.Service
		return decide(Hold, "paused by %s since %s: %s", s.Paused.By, clock(s.Paused.Since), s.Paused.Reason)
	case !plan.Tries() && !ask.Force && !now.Before(s.CooldownUntil):
		return decide(Hold, "no tier of the ladder can be tried: %s", refusals(plan))
	}
	if a := ask.Alert; a != nil {
		if known := s.seen(*a); known != nil && known.Epoch != 0 {
			switch {
			case ask.Looked == nil:
				return decide(Look, "recovery %d has answered this alert; it counts again when it has resolved once, unless %s is down", known.Epoch, s.Active)
			case !ask.Looked.Verdict.Failed():
				d.Override = force
				return decide(Ignore, "recovery %d has answered this alert, and %s is %s: %s", known.Epoch, s.Active, ask.Looked.Verdict, ask.Looked.Reason)
			}
		}
	}
	if now.Before(s.CooldownUntil) && !ask.Force {
		// The cooldown stops going back, not going on: from a standby that is down now, tiers that have not failed yet may
		// be tried. While it is well, an alert tells of the one that was left, and nobody needs to hear of that.
		if s.away() && !slices.Contains(s.Failed, s.Active) {
			switch {
			case ask.Looked == nil:
				return decide(Look, "cooldown until %s; the ladder goes on only if %s is down", clock(s.CooldownUntil), s.Active)
			case !ask.Looked.Verdict.Failed():
				return decide(Ignore, "%s is %s: %s", s.Active, ask.Looked.Verdict, ask.Looked.Reason)
			case plan.Tries():
				return decide(Start, "%s is down as well: %s", s.Active, ask.Looked.Reason)
			}
		}
		d.Override = force
		return decide(Wait, "cooldown until %s, and nothing is left that has not failed: %s", clock(s.CooldownUntil), refusals(plan))
	}
	return decide(Start, "%s", ask.Trigger.Text)
}

func refusals(plan runbooks.Plan) string {
	text := ""
	for _, rung := range plan.Rungs {
		if rung.Refused != "" {
			if text != "" {
				text += "; "
			}
			text += rung.Tier + ": " + rung.Refused
		}
	}
	if text == "" {
		return "the runbook has no other tier"
	}
	return text
}

func kind(mode string) string {
	if mode == ModeLive {
		return "recovery"
	}
	return mode
}

// clock words a time in the one zone that all readers share.
func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }
