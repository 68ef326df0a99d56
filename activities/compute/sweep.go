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
	Active []string  `json:"active,omitempty"`
	Now    time.Time `json:"now"`
}

// Finding is what a sweep thinks of one machine.
type Finding struct {
	Machine Machine `json:"machine"`
	// Remove says that nobody needs the machine any more.
	Remove bool   `json:"remove,omitempty"`
	Reason string `json:"reason"`
	// Cost is what it has cost so far in the currency of its price, at most: hours that it stood still count in full.
	Cost float64 `json:"cost,omitempty"`
}

// Sweep decides which machines are forgotten: those that are ours, past their
// expiry, and neither serve nor belong to a run. Whatever it is in doubt about,
// it keeps, and says so. There is one finding for each machine, in their order.
func Sweep(in Inventory) []Finding {
	var findings []Finding
	for _, m := range in.Machines {
		f := Finding{Machine: m, Cost: m.Cost(in.Now)}
		f.Remove, f.Reason = forgotten(m, in)
		findings = append(findings, f)
	}
	return findings
}

// Cost is the price of a machine from its making until now; zero where it has no
// price, and where it is gone, since nobody knows since when.
func (m Machine) Cost(now time.Time) float64 {
	if m.State == Gone || m.Made.IsZero() {
		return 0
	}
	return m.Price * max(0, now.Sub(m.Made).Hours())
}

// forgotten decides about one machine.
func forgotten(m Machine, in Inventory) (bool, string) {
	if !m.Ours() {
		return false, "it does not carry our tags"
	}
	if slices.Contains(in.Active, m.ID) {
		return false, "the service runs on it"
	}
	service := m.Tags[TagService]
	epoch, err := strconv.ParseInt(m.Tags[TagEpoch], 10, 64)
	for _, r := range in.Runs {
		switch {
		case r.Service != service:
		case err != nil:
			return false, fmt.Sprintf("its epoch %q cannot be read, and a run of %s at epoch %d has not ended", m.Tags[TagEpoch], service, r.Epoch)
		case r.Epoch == epoch:
			return false, fmt.Sprintf("it belongs to the %s run of %s at epoch %d, which has not ended", r.Mode, service, epoch)
		}
	}
	expires, ok := m.Expires()
	left := expires.Sub(in.Now)
	switch {
	case !ok:
		return false, fmt.Sprintf("its expiry %q cannot be read; remove it by hand if nobody needs it", m.Tags[TagExpires])
	case left > 0:
		return false, fmt.Sprintf("no run needs it; it expires in %s", roughly(left))
	case m.State == Gone:
		return true, fmt.Sprintf("it has ended by itself, and expired %s ago", roughly(-left))
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
