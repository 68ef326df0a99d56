package compute

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Run is a recovery or a drill that has not ended.
type Run struct {
	Service string `json:"service"`
	Epoch   int64  `json:"epoch"`
	Mode    string `json:"mode"` // live or drill
}

// Inventory is what a sweep decides from.
type Inventory struct {
	// Machines as the providers list them.
	Machines []Machine `json:"machines,omitempty"`
	// Runs are all that have not ended, of all services.
	Runs []Run `json:"runs,omitempty"`
	// Active are the IDs of the machines on which services run now, as the guards say.
	Active []string `json:"active,omitempty"`
	// Unsure says of services why it is not known which machines they need: theirs all stay.
	Unsure map[string]string `json:"unsure,omitempty"`
	Now    time.Time         `json:"now"`
}

// Finding is what a sweep thinks of one machine.
type Finding struct {
	Machine Machine `json:"machine"`
	// Remove says that nobody needs the machine any more, Needed that somebody does, or may.
	Remove bool   `json:"remove,omitempty"`
	Needed bool   `json:"needed,omitempty"`
	Reason string `json:"reason"`
	// Cost is what it has cost so far in the currency of its price, at most: hours for which it stood still meanwhile count
	// in full.
	Cost float64 `json:"cost,omitempty"`
}

// Sweep decides which machines are forgotten: those that are ours, past their
// expiry, and neither serve nor belong to a run. Whatever it is in doubt about,
// it keeps, and says so. There is one finding for each machine, in their order.
func Sweep(in Inventory) []Finding {
	var findings []Finding
	for _, m := range in.Machines {
		f := Finding{Machine: m, Cost: m.Cost(in.Now)}
		if f.Needed, f.Reason = needed(m, in); !f.Needed {
			f.Remove, f.Reason = forgotten(m, in.Now)
		}
		findings = append(findings, f)
	}
	return findings
}

// Cost is the price of a machine from its making until now; zero where it has no
// price, and where it stands still or is gone, since nobody knows since when.
func (m Machine) Cost(now time.Time) float64 {
	if m.State == Gone || m.State == Stopped || m.Made.IsZero() {
		return 0
	}
	return m.Price * max(0, now.Sub(m.Made).Hours())
}

// needed reports who needs a machine, or may need it.
func needed(m Machine, in Inventory) (bool, string) {
	service := m.Tags[TagService]
	epoch, err := strconv.ParseInt(m.Tags[TagEpoch], 10, 64)
	switch {
	case !m.Ours() || m.State == Gone:
		return false, ""
	case slices.Contains(in.Active, m.ID):
		return true, service + " runs on it"
	case m.Kept() && m.State == Stopped:
		return true, "prepared: it stands by, stopped"
	}
	for _, r := range in.Runs {
		switch {
		case r.Service != service:
		case err != nil:
			return true, fmt.Sprintf("its epoch %q cannot be read, and a run of %s at epoch %d has not ended", m.Tags[TagEpoch], service, r.Epoch)
		case r.Epoch == epoch:
			return true, fmt.Sprintf("it belongs to the %s run of %s at epoch %d, which has not ended", r.Mode, service, epoch)
		}
	}
	if why := in.Unsure[service]; why != "" {
		return true, why
	}
	return false, ""
}

// forgotten decides about one machine that nobody needs.
func forgotten(m Machine, now time.Time) (bool, string) {
	expires, ok := m.Expires()
	left := expires.Sub(now)
	switch {
	case !m.Ours():
		return false, "it does not carry our tags"
	case m.State == Gone:
		return false, "it is gone"
	case !ok:
		return false, fmt.Sprintf("its expiry %q cannot be read; remove it by hand if nobody needs it", m.Tags[TagExpires])
	case left > 0:
		return false, fmt.Sprintf("no run needs it; it expires in %s", roughly(left))
	default:
		return true, fmt.Sprintf("no run needs it, and it expired %s ago", roughly(-left))
	}
}

// roughly writes a duration as people say it.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	default:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
}
