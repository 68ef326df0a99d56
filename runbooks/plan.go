package runbooks

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// PrimaryName is the name of the primary where tiers are named: as the active,
// and as a rung once it is repaired.
const PrimaryName = "primary"

// AddressMark stands in a URL for the address of a machine that is still to be
// made, EpochMark for the epoch of the recovery.
const (
	AddressMark = "{address}"
	EpochMark   = "{epoch}"
	// FromMark stands for the epoch whose data is taken over.
	FromMark = "{from}"
)

// Target is one place where a service can run.
type Target struct {
	// Name is primary, or the tier.
	Name string `json:"name"`
	// URL is where the instance itself answers.
	URL string `json:"url"`
	// Server is its name at the load balancer.
	Server string `json:"server,omitempty"`
	Site   string `json:"site,omitempty"`
	// Address is where the load balancer must send to, as host:port, for a machine that was made; empty where the load
	// balancer knows the place by itself.
	Address string `json:"address,omitempty"`
}

// At is the target once its machine has an address.
func (t Target) At(address string) Target {
	t.URL = strings.ReplaceAll(t.URL, AddressMark, address)
	if u, err := url.Parse(t.URL); err == nil {
		t.Address = u.Host
		if u.Port() == "" {
			t.Address = net.JoinHostPort(u.Hostname(), map[string]string{"https": "443"}[u.Scheme])
			if u.Scheme != "https" {
				t.Address = net.JoinHostPort(u.Hostname(), "80")
			}
		}
	}
	return t
}

// Plan is what a recovery would do, in order. It is pure data: shown before
// anybody is asked, carried by the recovery, and identified by its hash.
type Plan struct {
	Service string `json:"service"`
	// Runbook is the hash of the runbook that the plan was made from.
	Runbook string `json:"runbook"`
	// From is the active that failed.
	From  Target `json:"from"`
	Rungs []Rung `json:"rungs"`
	// Hash changes with anything above.
	Hash string `json:"hash"`
}

// Rung is one standby of the ladder with the steps that lead to it.
type Rung struct {
	Tier   string   `json:"tier"`
	Target Target   `json:"target"`
	Hold   bool     `json:"hold,omitempty"`
	Within Duration `json:"within"`
	Steps  []Step   `json:"steps,omitempty"`
	// Refused says why the rung is left out; empty where it will be tried.
	Refused string `json:"refused,omitempty"`
}

// Step is one act of a recovery, as people read it.
type Step struct {
	Name string `json:"name"`
	What string `json:"what"`
	// Undo says how the step is taken back; empty where it changes nothing.
	Undo string `json:"undo,omitempty"`
	// Final marks a step that cannot be undone.
	Final bool `json:"final,omitempty"`
}

// Names of the steps of a recovery, in plans, timelines and progress alike.
const (
	StepClaim     = "claim"
	StepDiagnose  = "diagnose"
	StepApprove   = "approve"
	StepCheck     = "check"
	StepMount     = "mount"
	StepRestore   = "restore"
	StepProvision = "provision"
	StepBoot      = "boot"
	StepActivate  = "activate"
	StepLoad      = "load"
	StepGate      = "gate"
	StepProve     = "prove"
	StepCutOver   = "cut over"
	StepVerify    = "verify"
	StepFence     = "fence host"
	StepRelease   = "release machine"
	StepSettle    = "settle"
	StepReport    = "report"
	StepUndo      = "undo"
	StepGameDay   = "game day"
	StepOrphans   = "orphans"
	StepRest      = "rest batches"
	StepQuiesce   = "quiesce"
	StepSync      = "sync"
	StepProtect   = "protect again"
	StepResume    = "resume batches"
)

// TargetNamed finds the primary or a tier's standby.
func (r Runbook) TargetNamed(name string) (Target, bool) {
	if name == PrimaryName {
		return Target{Name: PrimaryName, URL: r.Primary.URL, Server: r.Primary.Server, Site: r.Primary.Site}, true
	}
	if t, ok := r.TierNamed(name); ok {
		return Target{Name: t.Name, URL: t.URL, Server: t.Server, Site: t.Site}, true
	}
	return Target{}, false
}

// NameOf is the target whose server a load balancer names so: primary, or a tier.
func (r Runbook) NameOf(server string) string {
	for _, t := range r.Tiers {
		if t.Server == server && server != r.Primary.Server {
			return t.Name
		}
	}
	return PrimaryName
}

// TierNamed finds a tier.
func (r Runbook) TierNamed(name string) (Tier, bool) {
	i := slices.IndexFunc(r.Tiers, func(t Tier) bool { return t.Name == name })
	if i < 0 {
		return Tier{}, false
	}
	return r.Tiers[i], true
}

// FencesOf lists the fences of the primary or of a tier's standby.
func (r Runbook) FencesOf(name string) []Fence {
	if name == PrimaryName {
		return r.Primary.Fence
	}
	t, _ := r.TierNamed(name)
	return t.Fence
}

// TrafficOf is the load balancer that a target stands behind.
func (r Runbook) TrafficOf(name string) Traffic {
	if t, ok := r.TierNamed(name); ok && t.Traffic != nil {
		return *t.Traffic
	}
	return r.Traffic
}

// NewPlan plans a recovery away from the active. The ladder leaves out the
// active, and what failed within the cooldown; a primary that is not the active
// comes first, because nothing is faster than one that was repaired.
func NewPlan(r Runbook, active Target, failed []string) Plan {
	plan := Plan{Service: r.Service, Runbook: r.Hash(), From: active}
	if active.Name != PrimaryName {
		home, _ := r.TargetNamed(PrimaryName)
		rung := Rung{Tier: PrimaryName, Target: home, Hold: true, Within: Duration(defaultHotWithin)}
		if len(r.Data) > 0 {
			rung.Refused = "its data is older than that of the active; failback brings it home"
		}
		plan.Rungs = append(plan.Rungs, rung)
	}
	for _, t := range r.Tiers {
		if t.Name == active.Name {
			continue
		}
		target, _ := r.TargetNamed(t.Name)
		plan.Rungs = append(plan.Rungs, Rung{Tier: t.Name, Target: target, Hold: t.Hold, Within: t.Within})
	}
	for i := range plan.Rungs {
		rung := &plan.Rungs[i]
		if slices.Contains(failed, rung.Tier) && rung.Refused == "" {
			rung.Refused = "it failed itself within the cooldown"
		}
		if rung.Refused == "" {
			rung.Steps = stepsTo(r, active, *rung)
		}
	}
	plan.Hash = plan.hash()
	return plan
}

// Only is the plan that tries one tier alone; empty means all.
func (p Plan) Only(tier string) Plan {
	if tier == "" {
		return p
	}
	p.Rungs = slices.Clone(p.Rungs)
	for i := range p.Rungs {
		if rung := &p.Rungs[i]; rung.Tier != tier && rung.Refused == "" {
			rung.Refused, rung.Steps = "only "+tier+" was asked for", nil
		}
	}
	p.Hash = p.hash()
	return p
}

// Tries reports whether any rung would be tried.
func (p Plan) Tries() bool {
	return slices.ContainsFunc(p.Rungs, func(rung Rung) bool { return rung.Refused == "" })
}

func (p Plan) hash() string {
	p.Hash = ""
	text, err := json.Marshal(p)
	if err != nil {
		panic("runbooks: a plan has no JSON: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// stepsTo writes down what it takes to move from the active to a running standby.
func stepsTo(r Runbook, active Target, rung Rung) []Step {
	traffic := r.TrafficOf(rung.Tier)
	balancer := traffic.Kind
	if traffic.Backend != "" {
		balancer += " " + traffic.Backend
	}
	tier, _ := r.TierNamed(rung.Tier)
	steps := append(stepsBefore(r, tier), Step{Name: StepGate, What: fmt.Sprintf("ask %s for %s", rung.Target.URL, strings.Join(gateChecks(r), ", "))})
	if (rung.Hold || tier.Rests()) && r.Canary != nil {
		steps = append(steps, Step{Name: StepProve, What: "send the canary to " + rung.Target.URL + ", before it has any traffic"})
	}
	steps = append(steps,
		Step{
			Name: StepCutOver,
			What: fmt.Sprintf("at %s take the failed %s off the traffic (pinned, so that it cannot flap back), put %s on it, read back", balancer, active.Server, rung.Target.Server),
			Undo: "set both servers back to the state they were found in",
		},
		Step{Name: StepVerify, What: "send the canary through the front door, " + traffic.Front},
	)
	for _, f := range r.FencesOf(active.Name) {
		what := "fence the failed host by " + f.Kind
		if f.Confirm != nil {
			what += ", confirmed by " + f.Confirm.Kind
		}
		if f.Required {
			what += "; required"
		}
		steps = append(steps, Step{Name: StepFence, What: what, Final: true})
	}
	if from, _ := r.TierNamed(active.Name); from.Provision != nil {
		steps = append(steps, Step{Name: StepRelease, What: from.Provision.releaseText() + " the failed machine", Final: true})
	}
	if b := r.BatchesOf(rung.Tier); b != nil {
		steps = append(steps, Step{Name: StepResume, What: "have interrupted batches of " + b.Store + " go on there, slowly at first"})
	}
	return append(steps,
		Step{Name: StepSettle, What: fmt.Sprintf("canaries keep passing for %s, then the switch is committed", r.Policy.Confirm)},
		Step{Name: StepReport, What: "write the report, tell people"},
	)
}

func gateChecks(r Runbook) []string {
	checks := []string{"health"}
	if r.Health.Ready != "" {
		checks = append(checks, "readiness")
	}
	if r.Version != nil {
		checks = append(checks, "version")
	}
	if len(r.Settings) > 0 {
		checks = append(checks, "settings")
	}
	return checks
}
