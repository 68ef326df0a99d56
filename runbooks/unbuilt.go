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
	if len(r.Data) > 0 {
		notice("data", "data is not restored or moved yet; a hot standby must follow it by itself")
	}
	if r.Batches != nil {
		notice("batches", "interrupted batches are not resumed yet")
	}
	if r.Heartbeat != nil {
		notice("heartbeat", "the heartbeat does not probe yet; recoveries start from alerts and people")
	}
	if r.Drill != nil {
		notice("drill", "drills are not scheduled yet")
	}
	for i, n := range r.Notify {
		if n.Kind == "wecom" {
			notice(fmt.Sprintf("notify[%d]", i), "WeCom is not told yet")
		}
	}
	if r.Policy.Failback == "auto" {
		notice("policy.failback", "the way home is not automatic yet")
	}
}

// Unbuilt says why this version cannot use a tier; empty where it can.
func (t Tier) Unbuilt() string {
	switch {
	case t.Provision != nil:
		return "machines are not made yet"
	case t.Activate != nil:
		return "resting standbys are not activated yet"
	case t.Approval != nil && !t.Approval.Waived:
		return "approvals are not asked for yet"
	case t.Traffic != nil && t.Traffic.Kind == "route53":
		return "Route 53 is not driven yet"
	default:
		return ""
	}
}
