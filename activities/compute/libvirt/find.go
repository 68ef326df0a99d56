package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/runbooks"
)

// Describe returns a machine as it is now. See compute.Provider.
func (p *Provider) Describe(ctx context.Context, r compute.Ref) (compute.Machine, error) {
	at, s, err := p.find(ctx, r)
	if err != nil {
		return compute.Machine{}, err
	}
	return p.machine(ctx, at, s)
}

// List returns the machines of the provision's pool. See compute.Provider.
func (p *Provider) List(ctx context.Context, provision runbooks.Provision, service string) ([]compute.Machine, error) {
	at, err := p.place(provision)
	if err != nil {
		return nil, err
	}
	names, err := p.call(ctx, at, "list", "--all", "--name")
	if err != nil {
		return nil, err
	}
	var machines []compute.Machine
	for name := range strings.Lines(names) {
		name = strings.TrimSpace(name)
		if !strings.HasPrefix(name, at.pool+".") {
			continue
		}
		s, err := p.look(ctx, at, name)
		if errors.Is(err, errNoDomain) {
			continue // it was removed a moment ago
		}
		if err != nil {
			return machines, err
		}
		if !s.ours() || service != "" && s.notes[compute.TagService] != service {
			continue
		}
		m, err := p.machine(ctx, at, s)
		if err != nil {
			return machines, err
		}
		machines = append(machines, m)
	}
	return machines, nil
}

// seen is a domain as it was found.
type seen struct {
	name, uuid string
	notes      notes
	state      string // libvirt's, such as shut off
	reason     string // libvirt's for the state, such as crashed
	networked  bool   // it has an interface of libvirt's
}

// find looks for the domain of a reference.
func (p *Provider) find(ctx context.Context, r compute.Ref) (place, seen, error) {
	at, err := p.place(r.Provision)
	if err != nil {
		return at, seen{}, err
	}
	name, err := at.nameOf(r)
	if err != nil {
		return at, seen{}, err
	}
	s, err := p.look(ctx, at, name)
	if errors.Is(err, errNoDomain) && r.ID == "" {
		// A prepared machine has a name of its own; the placement tells it.
		for _, place := range append([]runbooks.Placement{r.Placement}, r.Provision.Placements...) {
			if place.Instance == "" || !idFormat.MatchString(place.Instance) {
				continue
			}
			other, err := p.look(ctx, at, place.Instance)
			if err == nil && other.ours() && other.notes[compute.TagKey] == r.Key {
				return at, other, nil
			}
			if err != nil && !errors.Is(err, errNoDomain) {
				return at, seen{}, err
			}
		}
	}
	if errors.Is(err, errNoDomain) {
		err = fmt.Errorf("%w: %s at %s", compute.ErrNone, name, at.uri)
	}
	return at, s, err
}

// nameOf is the name of the domain that a reference means.
func (at place) nameOf(r compute.Ref) (string, error) {
	if r.ID != "" {
		if !idFormat.MatchString(r.ID) {
			return "", refused("%q is no name of a machine", r.ID)
		}
		return r.ID, nil
	}
	if r.Key == "" {
		return "", refused("the reference has neither an ID nor a key")
	}
	return at.domain(r.Key), compute.CheckKey(r.Key)
}

var stateFormat = regexp.MustCompile(`^([a-z ]+?) *\(([^)]*)\)`)

// look reads a domain, or is errNoDomain.
func (p *Provider) look(ctx context.Context, at place, name string) (seen, error) {
	text, err := p.call(ctx, at, "dumpxml", "--domain", name)
	if err != nil {
		return seen{}, err
	}
	s, err := parse(text)
	if err != nil {
		return seen{}, fmt.Errorf("domain %s at %s: %w", name, at.uri, err)
	}
	text, err = p.call(ctx, at, "domstate", "--reason", "--domain", name)
	if err != nil {
		return seen{}, err
	}
	found := stateFormat.FindStringSubmatch(strings.TrimSpace(text))
	if found == nil {
		return seen{}, fmt.Errorf("domain %s at %s: its state %q cannot be read", name, at.uri, strings.TrimSpace(text))
	}
	s.state, s.reason = found[1], found[2]
	return s, nil
}

// parse reads what of a domain's XML matters to us.
func parse(text string) (seen, error) {
	var d struct {
		Name     string `xml:"name"`
		UUID     string `xml:"uuid"`
		Metadata struct {
			Elements []struct {
				XMLName xml.Name
				Attrs   []xml.Attr `xml:",any,attr"`
			} `xml:",any"`
		} `xml:"metadata"`
		Interfaces []struct{} `xml:"devices>interface"`
	}
	if err := xml.Unmarshal([]byte(text), &d); err != nil {
		return seen{}, fmt.Errorf("its description cannot be read: %w", err)
	}
	s := seen{name: d.Name, uuid: d.UUID, notes: notes{}, networked: len(d.Interfaces) > 0}
	for _, e := range d.Metadata.Elements {
		if e.XMLName.Space != Namespace {
			continue
		}
		for _, a := range e.Attrs {
			if a.Name.Space == "" && a.Name.Local != "xmlns" {
				s.notes[a.Name.Local] = a.Value
			}
		}
	}
	return s, nil
}

// ours reports whether a domain carries our tag.
func (s seen) ours() bool { return s.notes[compute.TagManagedBy] == compute.ManagedBy }

// kept reports whether it was prepared.
func (s seen) kept() bool { return s.notes[compute.TagKeep] == "stopped" }

// off reports whether its processor does not run.
func (s seen) off() bool { return s.state == "shut off" || s.state == "crashed" }

// compute is the state in the words of package compute.
func (s seen) compute() compute.State {
	switch {
	case s.state == "in shutdown":
		return compute.Stopping
	case !s.off():
		return compute.Running
	case s.kept() || s.notes[attrPhase] == phaseStopped || s.notes[attrPhase] == "" && s.ours():
		return compute.Stopped
	case s.notes[attrPhase] == phaseMaking && s.reason == "unknown":
		return compute.Pending
	default:
		return compute.Gone
	}
}

// machine is a domain in the words of package compute.
func (p *Provider) machine(ctx context.Context, at place, s seen) (compute.Machine, error) {
	m := compute.Machine{
		ID: s.name, Key: s.notes[compute.TagKey], State: s.compute(), Address: s.notes[attrAddress], Where: or(s.notes[attrWhere], at.uri+" "+s.name),
		Tags: s.notes.tags(), Made: s.notes.made(), Price: s.notes.price(),
	}
	switch {
	case m.State == compute.Running && m.Address == "" && s.networked:
		address, err := p.address(ctx, at, s.name)
		if err != nil {
			return m, err
		}
		m.Address = address
	case m.State == compute.Gone:
		m.Detail = p.epitaph(ctx, at, s)
	case s.state == "paused":
		m.Detail = "paused: " + s.reason
	}
	return m, nil
}

var leaseFormat = regexp.MustCompile(`ipv4 +([0-9.]+)/`)

// address asks who has given one to a machine: libvirt's own DHCP server, the
// guest's agent, or the neighbours that the host has heard of. Empty while nobody has.
func (p *Provider) address(ctx context.Context, at place, name string) (string, error) {
	for _, source := range []string{"lease", "agent", "arp"} {
		out, err := p.call(ctx, at, "domifaddr", "--domain", name, "--source", source)
		if ctx.Err() != nil {
			return "", err
		}
		if found := leaseFormat.FindAllStringSubmatch(out, -1); err == nil && len(found) > 0 {
			for _, f := range found {
				if !strings.HasPrefix(f[1], "127.") {
					return f[1], nil
				}
			}
		}
	}
	return "", nil
}

// epitaph says why a machine is gone: libvirt's reason, and the step of its
// boot that failed or the last words on its console.
func (p *Provider) epitaph(ctx context.Context, at place, s seen) string {
	why := s.state
	if s.reason != "unknown" {
		why = map[string]string{
			"crashed": "its QEMU ended, or its kernel crashed", "shutdown": "it has switched itself off", "destroyed": "somebody has switched it off", "failed": "it did not start",
		}[s.reason]
		why = or(why, s.reason)
	}
	console, err := p.console(ctx, at, at.keyOf(s.name))
	if err != nil || strings.TrimSpace(console) == "" {
		return why
	}
	steps := boot.Steps(console)
	if step, failed := boot.Failed(steps); failed {
		return fmt.Sprintf("%s; step %s failed: %s", why, step.Name, step.Detail)
	}
	if at := strings.LastIndex(console, "Kernel panic"); at >= 0 {
		line, _, _ := strings.Cut(console[at:], "\n")
		return why + "; " + strings.TrimSpace(line)
	}
	lines := strings.Split(strings.TrimSpace(console), "\n")
	return fmt.Sprintf("%s; its console ends: %s", why, strings.Join(lines[max(0, len(lines)-3):], " | "))
}
