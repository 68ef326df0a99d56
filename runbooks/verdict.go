package runbooks

import (
	"fmt"
	"strings"
	"time"
)

// Verdict is what diagnose found out about the active.
type Verdict string

// The verdicts, and what a recovery does about each.
const (
	Healthy  Verdict = "Healthy"  // answers well: a false alarm
	Busy     Verdict = "Busy"     // health is held up by an inference: wait
	Degraded Verdict = "Degraded" // slow, or errors in part: page, recover only by policy
	Hung     Verdict = "Hung"     // connects, never answers: prove the standby, fence, switch
	Wrong    Verdict = "Wrong"    // answers, but the canary fails: as Hung
	Dead     Verdict = "Dead"     // refused or unreachable, agreed: fence and switch at once
	Unknown  Verdict = "Unknown"  // our view fails, or observers disagree: hold, ask a person
)

// Failed reports whether a recovery is called for.
func (v Verdict) Failed() bool { return v == Dead || v == Hung || v == Wrong }

// Finding is what one observer saw.
type Finding string

// The findings, from well to worse.
const (
	Answers     Finding = "answers"              // well and in time
	Slow        Finding = "answers slowly"       // after the time limit
	Errors      Finding = "answers with errors"  // a bad status, or not ready
	Incorrect   Finding = "answers incorrectly"  // a canary's answer is not the known one
	Silent      Finding = "connects but is mute" // accepted, no answer
	Refuses     Finding = "refuses connections"
	Unreachable Finding = "is unreachable"
	Down        Finding = "is down" // somebody else's word for it, without a reason
	Blind       Finding = "could not look"
)

// Domains of observation: each fails for reasons of its own.
const (
	ByProbe    = "probe"    // Understudy's own look
	ByBalancer = "balancer" // the load balancer's checks
	ByAlert    = "alert"    // Prometheus
	ByPerson   = "person"   // somebody pressed the button
	ByWitness  = "witness"  // a machine elsewhere; followed by a colon and its name
)

// Observation is what one observer says about an instance.
type Observation struct {
	Domain  string    `json:"domain"`
	Finding Finding   `json:"finding"`
	Detail  string    `json:"detail,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

func (o Observation) String() string {
	if o.Detail == "" {
		return fmt.Sprintf("%s: %s", o.Domain, o.Finding)
	}
	return fmt.Sprintf("%s: %s (%s)", o.Domain, o.Finding, o.Detail)
}

func (o Observation) saysFailed() bool {
	switch o.Finding {
	case Silent, Refuses, Unreachable, Down:
		return true
	default:
		return false
	}
}

// Evidence is all that is known about one instance at one moment.
type Evidence struct {
	// Own is Understudy's own probe.
	Own Observation `json:"own"`
	// Others are the observers of other failure domains.
	Others []Observation `json:"others,omitempty"`
	// Canary is the outcome of a real inference; nil where none was run.
	Canary *Observation `json:"canary,omitempty"`
	// OwnViewFails says why Understudy's own look cannot be trusted; empty where it can.
	OwnViewFails string `json:"own_view_fails,omitempty"`
	// InFlight tells of requests at the instance that the balancer knows of; nil where nobody can tell.
	InFlight *InFlight `json:"in_flight,omitempty"`
}

// InFlight is how many requests an instance has, and for how long the oldest.
type InFlight struct {
	Requests int      `json:"requests"`
	Oldest   Duration `json:"oldest"`
}

// Judge turns evidence into a verdict with its reason. silence is how long the
// health check has been failing. A failure needs two failure domains that
// agree; what only one of them says is Unknown.
func Judge(e Evidence, health Health, silence time.Duration) (Verdict, string) {
	if e.OwnViewFails != "" {
		return Unknown, "our own view fails too: " + e.OwnViewFails
	}
	switch e.Own.Finding {
	case Answers, Slow, Errors:
		return judgeAnswering(e)
	case Silent:
		if why, busy := holdsUp(e.InFlight, health, silence); busy {
			return Busy, why
		}
		return judgeFailed(e, Hung)
	case Refuses, Unreachable:
		return judgeFailed(e, Dead)
	default:
		return Unknown, e.Own.String()
	}
}

// judgeAnswering judges an instance that answers its health check: only an
// inference shows whether the model behind it works.
func judgeAnswering(e Evidence) (Verdict, string) {
	if e.Canary != nil {
		switch e.Canary.Finding {
		case Answers, Blind: // a canary that we could not run says nothing about the service
		case Silent:
			return Hung, fmt.Sprintf("the health check answers, an inference never does (%s)", e.Canary.Detail)
		default:
			return Wrong, fmt.Sprintf("%s; %s", e.Own, *e.Canary)
		}
	}
	switch e.Own.Finding {
	case Slow:
		return Degraded, e.Own.String()
	case Errors:
		if e.Canary == nil {
			return Degraded, e.Own.String() + "; no canary says more"
		}
		return Degraded, e.Own.String() + ", though an inference succeeds"
	default:
		return Healthy, e.Own.String()
	}
}

// judgeFailed asks the other domains before it believes a failure.
func judgeFailed(e Evidence, failed Verdict) (Verdict, string) {
	var agree, deny []string
	for _, o := range e.Others {
		switch {
		case o.saysFailed():
			agree = append(agree, o.String())
		case o.Finding == Blind:
		case o.Domain == ByBalancer && e.Own.Finding == Refuses:
			// A refusal comes from the host itself, at once; a balancer's checks see it only after its fall count.
		default:
			deny = append(deny, o.String())
		}
	}
	switch {
	case len(agree) == 0 && len(deny) == 0:
		return Unknown, e.Own.String() + "; nobody else can confirm it"
	case len(deny) > 0:
		return Unknown, fmt.Sprintf("observers disagree: %s; but %s", e.Own, strings.Join(deny, "; "))
	default:
		return failed, fmt.Sprintf("%s; %s", e.Own, strings.Join(agree, "; "))
	}
}

// holdsUp decides whether a mute health check may be held up by an inference.
func holdsUp(in *InFlight, health Health, silence time.Duration) (string, bool) {
	switch {
	case health.Busy == 0 || silence >= health.Busy.D():
		return "", false
	case in == nil:
		return fmt.Sprintf("health is mute for %s; an inference may hold it up for %s, and nobody can tell whether one is in flight",
			silence.Round(time.Second), health.Busy), true
	case in.Requests == 0:
		return "", false
	case in.Oldest.D() >= health.Busy.D():
		return "", false
	default:
		return fmt.Sprintf("health is mute for %s while %d in flight, the oldest for %s; an inference may take %s",
			silence.Round(time.Second), in.Requests, in.Oldest.D().Round(time.Second), health.Busy), true
	}
}
