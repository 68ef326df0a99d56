package runbooks

import "fmt"

// unbuilt tells, as notices, which parts of a valid runbook this version does
// not carry out yet. Nobody should learn that during an outage.
func (d *decoder) unbuilt(r *Runbook) {
	notice := func(path, format string, args ...any) {
		d.wrong(path, format, args...)
		d.problems[len(d.problems)-1].Notice = true
	}
	for i, t := range r.Tiers {
		path := fmt.Sprintf("tiers[%d]", i)
		if reason := t.Unbuilt(); reason != "" {
			notice(path, "tier %s will be refused in a recovery: %s", t.Name, reason)
		}
	}
	if r.Heartbeat != nil {
		notice("heartbeat", "the heartbeat does not probe yet; recoveries start from alerts and people")
	}
	if r.Policy.Failback == "auto" {
		notice("policy.failback", "the way home is not automatic yet")
	}
}

// Unbuilt says why this version cannot use a tier; empty where it can.
func (t Tier) Unbuilt() string {
	switch {
	case t.Provision != nil && t.Provision.Kind == "libvirt":
		return "machines of kind libvirt are not made yet"
	default:
		return ""
	}
}
