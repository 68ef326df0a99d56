package runbooks

import (
	"fmt"
	"strings"
)

// Rests reports whether a tier's standby does not serve by itself: a machine
// must be made first, or a resting instance activated.
func (t Tier) Rests() bool { return t.Provision != nil || t.Activate != nil }

// DataOf is the data that follows the service to a target.
func (r Runbook) DataOf(name string) []Data {
	if t, ok := r.TierNamed(name); ok && len(t.Data) > 0 {
		return t.Data
	}
	return r.Data
}

// BatchesOf is where batches live while the service runs on a target; nil where it has none.
func (r Runbook) BatchesOf(name string) *Batches {
	if t, ok := r.TierNamed(name); ok && t.Batches != nil {
		return t.Batches
	}
	return r.Batches
}

// Writes reports whether the data of the service is written below the epoch's
// own prefix once it runs on the tier: a made machine is told the prefix, an
// activated one gets the epoch in its call.
func (r Runbook) Writes(t Tier) bool {
	return len(r.DataOf(t.Name)) > 0 && (t.Provision != nil || t.Activate != nil && strings.Contains(t.Activate.URL, EpochMark))
}

// Places are the placements of a provision in the order in which they are
// tried, each as an attempt of its own; kind local has one without a name. One
// with a capacity reservation is tried with it first and then without. As one
// attempt, an answer that was lost would leave open which of the two has made a
// machine.
func (p Provision) Places() []Placement {
	var places []Placement
	for _, place := range p.Placements {
		places = append(places, place)
		if place.Reservation != "" {
			place.Reservation = ""
			places = append(places, place)
		}
	}
	if len(places) == 0 {
		return []Placement{{}}
	}
	return places
}

// Here reports whether the machine is this host: its volumes are mounted, and
// its data restored, by Understudy itself. Everywhere else the machine does so
// when it boots.
func (p Provision) Here() bool { return p.Kind == "local" && p.Host == "" }

func (p Provision) releaseText() string {
	if p.Release == "stop" || p.Keep == "stopped" {
		return "stop"
	}
	return "terminate"
}

// Text names a placement to people.
func (p Placement) Text() string {
	var parts []string
	zone := p.Zone
	if zone == "" {
		zone = p.Region
	}
	for _, part := range []string{zone, p.Type, p.Instance} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return "this host"
	}
	if p.Reservation != "" {
		parts = append(parts, "(reservation "+p.Reservation+")")
	}
	return strings.Join(parts, " ")
}

// stepsBefore writes down what comes before the gate: the agreement of a person,
// and what it takes until a standby that rests, or does not exist yet, serves.
func stepsBefore(r Runbook, t Tier) []Step {
	var steps []Step
	if t.Approval != nil && !t.Approval.Waived {
		steps = append(steps, Step{Name: StepApprove, What: fmt.Sprintf("wait up to %s for a person (%s) to agree to this plan", t.Approval.Timeout, strings.Join(t.Approval.Roles, ", "))})
	}
	if !t.Rests() {
		return steps
	}
	steps = append(steps, Step{Name: StepClaim, What: "record the epoch outside Temporal: nothing is made without it"})
	if t.Activate != nil {
		undo := "the instance stays awake"
		if t.Activate.Undo != "" {
			undo = t.Activate.Method + " " + t.Activate.Undo
		}
		return append(steps, Step{Name: StepActivate, What: t.Activate.Method + " " + t.Activate.URL, Undo: undo}, Step{Name: StepLoad, What: fmt.Sprintf("wait until %s is ready, at most %s in all", t.URL, t.Within)})
	}
	p := *t.Provision
	var places []string
	for _, place := range p.Places() {
		places = append(places, place.Text())
	}
	steps = append(steps, Step{Name: StepCheck, What: "ask whether the machine may be made, the model is in the store, and the data can be restored"})
	where := ", on the machine, when it boots"
	if p.Here() {
		where = ", on this host"
	}
	var before []Step
	for _, v := range t.Volumes {
		before = append(before, Step{Name: StepMount, What: fmt.Sprintf("%s %s at %s, verify %s against %s%s", v.Mode, v.Source, v.Mount, v.Verify, v.Manifest, where), Undo: "unmount it"})
	}
	for _, d := range r.DataOf(t.Name) {
		before = append(before, Step{Name: StepRestore, What: fmt.Sprintf("restore %s from %s%s to %s%s", d.Kind, d.Replica, d.Bucket, d.Path, where), Undo: "remove what was restored"})
	}
	machine := Step{Name: StepProvision, What: fmt.Sprintf("make a machine (%s): %s", p.Kind, strings.Join(places, ", else ")), Undo: p.releaseText() + " it"}
	if p.Here() {
		steps = append(append(steps, before...), machine)
	} else {
		steps = append(append(steps, machine, Step{Name: StepBoot, What: "wait until it runs and has an address"}), before...)
	}
	return append(steps, Step{Name: StepLoad, What: fmt.Sprintf("wait until the model is loaded, at most %s in all", t.Within)})
}
