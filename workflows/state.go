package workflows

import (
	"slices"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// Bounds of what a guard carries from run to run: its whole state must stay a
// few KiB.
const (
	maxSeen      = 256
	maxSeenAge   = 7 * 24 * time.Hour
	maxDecisions = 50
	maxUpdates   = 64
	// firingFor is how long an alert counts as firing after it was last heard of: Alertmanager repeats it at least every few hours.
	firingFor = 6 * time.Hour
)

// GuardState is all that a guard knows. It travels with continue-as-new.
type GuardState struct {
	Service string `json:"service"`
	// Key is the beginning of the guard's first run id; it tells this guard's effects from those of an earlier engine.
	Key string `json:"key"`
	// Active is the name of the target where the service runs: primary, or a tier.
	Active string `json:"active"`
	// Since is when the active became that.
	Since time.Time `json:"since,omitzero"`
	// Made is the machine of the active; nil where it runs on none of ours.
	Made *activities.Made `json:"made,omitempty"`
	// DataEpoch is the epoch below whose prefix the active writes its data; it counts where DataKnown.
	DataEpoch int64 `json:"data_epoch,omitempty"`
	DataKnown bool  `json:"data_known,omitempty"`
	// Epoch is the highest one given out.
	Epoch int64 `json:"epoch"`
	// Born says how the first epoch was found.
	Born string `json:"born"`
	// Running is the recovery that holds the lock; nil where none does.
	Running *Running `json:"running,omitempty"`
	// CooldownUntil is counted from the end of the last recovery that moved something or tried to.
	CooldownUntil time.Time `json:"cooldown_until,omitzero"`
	// Failed are the targets that were found failing, by name; they count until the cooldown is over.
	Failed []string `json:"failed,omitempty"`
	// Fenced are the servers that must stay off the traffic until a failback.
	Fenced []string `json:"fenced,omitempty"`
	Paused *Pause   `json:"paused,omitempty"`
	// Seen are the alerts of the last days, oldest first.
	Seen []SeenAlert `json:"seen,omitempty"`
	// Pending is a request that waits for the end of the cooldown.
	Pending *Trigger `json:"pending,omitempty"`
	// Joined is an outage that began while a recovery was running: it is looked at when that one has ended, because it
	// may have begun after the recovery's own look.
	Joined *Joined `json:"joined,omitempty"`
	// Decisions are the latest ones, newest last, also those to do nothing.
	Decisions []Decision `json:"decisions,omitempty"`
	// Updates are the ids of the latest accepted updates with their answers: a repeated one is answered again, not done again.
	Updates []PastUpdate `json:"updates,omitempty"`
	// Proofs are when tiers were proven last, by recoveries and drills.
	Proofs []activities.Proven `json:"proofs,omitempty"`
	// LastDrill is how the latest drill ended.
	LastDrill *Ended `json:"last_drill,omitempty"`
	// Last is how the latest recovery ended.
	Last *Ended `json:"last,omitempty"`
	// Reminded is when people were reminded last that the service is away from home.
	Reminded time.Time `json:"reminded,omitzero"`
	// Homecomings are the ways home that were taken without a person, within the last day.
	Homecomings []time.Time `json:"homecomings,omitempty"`
	// Pages counts the guard's own announcements.
	Pages int64 `json:"pages,omitempty"`
}

// Running is a recovery that holds the lock.
type Running struct {
	Epoch        int64     `json:"epoch"`
	Mode         string    `json:"mode"`
	Trigger      Trigger   `json:"trigger"`
	Started      time.Time `json:"started"`
	Deadline     time.Time `json:"deadline"`
	DeadlineTold bool      `json:"deadline_told,omitempty"`
}

// Joined is an alert that was left to a running recovery.
type Joined struct {
	Trigger Trigger `json:"trigger"`
	Alert   Alert   `json:"alert"`
}

// Ended is a recovery that is over.
type Ended struct {
	Epoch   int64     `json:"epoch"`
	Outcome string    `json:"outcome"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// Pause is a stop that a person has ordered.
type Pause struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// SeenAlert is an alert that the guard has heard of.
type SeenAlert struct {
	Fingerprint string    `json:"fingerprint"`
	StartsAt    time.Time `json:"starts_at"`
	Last        time.Time `json:"last"`
	Resolved    bool      `json:"resolved,omitempty"`
	// Epoch is the recovery that answered it; 0 where none did.
	Epoch int64 `json:"epoch,omitempty"`
}

// PastUpdate is an update that was carried out.
type PastUpdate struct {
	ID     string        `json:"id"`
	Answer RecoverAnswer `json:"answer"`
	// Left is the answer to a pause or its end.
	Left string `json:"left,omitempty"`
}

// seen finds what is known of an alert: the same labels and the same start.
func (s *GuardState) seen(a Alert) *SeenAlert {
	i := slices.IndexFunc(s.Seen, func(known SeenAlert) bool {
		return known.Fingerprint == a.Fingerprint && known.StartsAt.Equal(a.StartsAt)
	})
	if i < 0 {
		return nil
	}
	return &s.Seen[i]
}

// note remembers an alert, and forgets what is too old or too much.
func (s *GuardState) note(a Alert, now time.Time) *SeenAlert {
	known := s.seen(a)
	if known == nil {
		s.Seen = append(s.Seen, SeenAlert{Fingerprint: a.Fingerprint, StartsAt: a.StartsAt})
	} else {
		again := *known
		s.Seen = append(slices.DeleteFunc(s.Seen, func(other SeenAlert) bool {
			return other.Fingerprint == a.Fingerprint && other.StartsAt.Equal(a.StartsAt)
		}), again)
	}
	s.Seen = slices.DeleteFunc(s.Seen, func(known SeenAlert) bool { return !known.Last.IsZero() && now.Sub(known.Last) > maxSeenAge })
	if over := len(s.Seen) - maxSeen; over > 0 {
		s.Seen = slices.Delete(s.Seen, 0, over)
	}
	newest := &s.Seen[len(s.Seen)-1]
	newest.Last = now
	if !a.Firing {
		newest.Resolved = true
	}
	return newest
}

// decided keeps a decision, for `understudy why`.
func (s *GuardState) decided(d Decision) {
	s.Decisions = append(s.Decisions, d)
	if over := len(s.Decisions) - maxDecisions; over > 0 {
		s.Decisions = slices.Delete(s.Decisions, 0, over)
	}
}

// remember keeps the answer to an update.
func (s *GuardState) remember(id string, answer RecoverAnswer) {
	s.keep(PastUpdate{ID: id, Answer: answer})
}

// keep takes an update and its answer to the others; the oldest go.
func (s *GuardState) keep(u PastUpdate) {
	s.Updates = append(s.Updates, u)
	if over := len(s.Updates) - maxUpdates; over > 0 {
		s.Updates = slices.Delete(s.Updates, 0, over)
	}
}

// past finds the answer to an update that was carried out before.
func (s *GuardState) past(id string) (RecoverAnswer, bool) {
	for _, u := range s.Updates {
		if u.ID == id {
			return u.Answer, true
		}
	}
	return RecoverAnswer{}, false
}

// pastPause finds the answer to a pause, or its end, that was carried out before.
func (s *GuardState) pastPause(id string) (string, bool) {
	for _, u := range s.Updates {
		if u.ID == id && u.Left != "" {
			return u.Left, true
		}
	}
	return "", false
}

// firing is an alert that has not resolved, and was heard of lately.
func (s *GuardState) firing(now time.Time) *SeenAlert {
	for i := range s.Seen {
		if a := &s.Seen[i]; !a.Resolved && now.Sub(a.Last) < firingFor {
			return a
		}
	}
	return nil
}

// proved takes over which tiers a recovery or drill has proven.
func (s *GuardState) proved(proofs []activities.Proven) {
	for _, p := range proofs {
		s.Proofs = slices.DeleteFunc(s.Proofs, func(old activities.Proven) bool { return old.Tier == p.Tier })
		s.Proofs = append(s.Proofs, p)
	}
}

// failedNow are the targets that a ladder must leave out at this moment.
func (s *GuardState) failedNow(now time.Time) []string {
	if now.Before(s.CooldownUntil) {
		return s.Failed
	}
	return nil
}

// Target is where the service runs.
func (s *GuardState) Target(r runbooks.Runbook) (runbooks.Target, bool) {
	t, ok := r.TargetNamed(s.Active)
	if ok && s.Made != nil && s.Made.Tier == s.Active {
		t = t.At(s.Made.Address)
	}
	return t, ok
}

// away reports whether the service runs somewhere else than at home.
func (s *GuardState) away() bool { return s.Active != runbooks.PrimaryName }
