package activities

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

// cloud is a provider that only lists, and notes what is removed.
type cloud struct {
	compute.Provider
	machines []compute.Machine
	away     error
	removed  []string
}

func (c *cloud) List(context.Context, runbooks.Provision, string) ([]compute.Machine, error) {
	return c.machines, c.away
}

func (c *cloud) Terminate(_ context.Context, r compute.Ref) error {
	c.removed = append(c.removed, r.ID)
	return nil
}

// holder is a guard that says one thing after the other, the last for ever.
type holder struct {
	Guards
	says []Held
	away error
}

func (h *holder) AtWork(context.Context, string) ([]string, error) { return nil, nil }
func (h *holder) Holds(context.Context, string) (Held, error) {
	held := h.says[0]
	if len(h.says) > 1 {
		h.says = h.says[1:]
	}
	return held, h.away
}

// sweeper are activities with one service, whose cold tier is made in a cloud.
func sweeper(c *cloud, g *holder) *Activities {
	r := runbooks.Runbook{Service: "asr", Tiers: []runbooks.Tier{
		{Name: runbooks.TierHot}, {Name: runbooks.TierCold, Provision: &runbooks.Provision{Kind: "ec2", Placements: []runbooks.Placement{{Region: "us-west-2", Zone: "us-west-2a", Type: "g5.xlarge", Price: 2}}}},
	}}
	library := runbooks.NewLibrary(r)
	return New(Deps{Library: func() *runbooks.Library { return library }, Guards: g, Providers: func(runbooks.Provision) (compute.Provider, error) { return c, nil }})
}

// made is a machine of the service's recovery 7, made three hours ago, that has expired.
func made(id string, change ...func(m *compute.Machine)) compute.Machine {
	m := compute.Machine{
		ID: id, Key: "k-" + id, State: compute.Running, Address: "10.0.0.1", Where: "us-west-2a g5.xlarge", Made: time.Now().Add(-3 * time.Hour),
		Tags: compute.Order{Key: "k-" + id, Service: "asr", Epoch: 7, Mode: ModeLive, Expires: time.Now().Add(-time.Minute)}.Tags(),
	}
	for _, c := range change {
		c(&m)
	}
	return m
}

func TestSweepMachines(t *testing.T) {
	home := Held{Active: runbooks.PrimaryName}
	young := func(m *compute.Machine) { m.Tags[compute.TagExpires] = time.Now().Add(time.Hour).Format(time.RFC3339) }
	for name, c := range map[string]struct {
		machines []compute.Machine
		guard    holder
		listing  error
		removed  []string
		// reason is that of the first machine, problem what is told besides.
		reason, problem string
	}{
		"nobody needs it":                 {machines: []compute.Machine{made("i-1"), made("i-2", young)}, guard: holder{says: []Held{home}}, removed: []string{"i-1"}, reason: "it expired"},
		"the service runs on it":          {machines: []compute.Machine{made("i-1")}, guard: holder{says: []Held{{Active: "cold", Machines: []string{"i-1"}}}}, reason: "asr runs on it"},
		"the service runs on one of them": {machines: []compute.Machine{made("i-1")}, guard: holder{says: []Held{{Active: "cold"}}}, reason: "asr runs on cold, and it is not known on which machine"},
		"its recovery runs":               {machines: []compute.Machine{made("i-1")}, guard: holder{says: []Held{{Active: "hot", Running: []int64{7}}}}, reason: "which has not ended"},
		"the guard does not answer":       {machines: []compute.Machine{made("i-1")}, guard: holder{says: []Held{{}}, away: errors.New("no guard")}, reason: "the guard does not answer", problem: "no guard"},
		"it is needed a moment later":     {machines: []compute.Machine{made("i-1")}, guard: holder{says: []Held{home, {Active: "cold", Machines: []string{"i-1"}}}}, reason: "it expired", problem: "asr runs on it"},
		"some cannot be listed":           {machines: []compute.Machine{made("i-1")}, guard: holder{says: []Held{home}}, listing: errors.New("a region is away"), removed: []string{"i-1"}, reason: "it expired", problem: "a region is away"},
	} {
		provider := &cloud{machines: c.machines, away: c.listing}
		out, err := sweeper(provider, &c.guard).SweepMachines(t.Context(), SweepInput{Remove: true})
		if err != nil || !slices.Equal(provider.removed, c.removed) || len(out.Machines) != len(c.machines) || !strings.Contains(out.Machines[0].Reason, c.reason) {
			t.Errorf("%s: removed %q: %+v, %v", name, provider.removed, out, err)
		}
		if told := strings.Join(out.Problems, "; "); !strings.Contains(told, c.problem) || c.problem == "" && told != "" {
			t.Errorf("%s: problems %q", name, told)
		}
	}
}

// What the sweeper would do is shown, with the cost, and nothing is done.
func TestASweepThatOnlyLooks(t *testing.T) {
	provider := &cloud{machines: []compute.Machine{made("i-1")}}
	out, err := sweeper(provider, &holder{says: []Held{{Active: runbooks.PrimaryName}}}).SweepMachines(t.Context(), SweepInput{})
	if err != nil || len(provider.removed) != 0 || len(out.Machines) != 1 || !out.Machines[0].Remove || out.Machines[0].Removed || out.Machines[0].Kind != "ec2" {
		t.Errorf("%+v, removed %q, %v", out, provider.removed, err)
	}
	if cost := out.Machines[0].Cost; cost < 6 || cost > 6.1 {
		t.Errorf("three hours at 2 cost %v", cost)
	}
}

func TestFindMachine(t *testing.T) {
	epoch := func(n string) func(m *compute.Machine) {
		return func(m *compute.Machine) { m.Tags[compute.TagEpoch] = n }
	}
	drill := func(m *compute.Machine) { m.Tags[compute.TagMode] = ModeDrill }
	stopped := func(m *compute.Machine) { m.State = compute.Stopped }
	for name, c := range map[string]struct {
		machines []compute.Machine
		tier     string
		want     string
	}{
		"the newest":               {[]compute.Machine{made("i-1"), made("i-2", epoch("9")), made("i-3", epoch("8"))}, runbooks.TierCold, "i-2"},
		"not one of a drill":       {[]compute.Machine{made("i-1"), made("i-2", epoch("9"), drill)}, runbooks.TierCold, "i-1"},
		"not one that is stopped":  {[]compute.Machine{made("i-2", stopped)}, runbooks.TierCold, ""},
		"none":                     {nil, runbooks.TierCold, ""},
		"a tier that is not made":  {[]compute.Machine{made("i-1")}, runbooks.TierHot, ""},
		"a tier that nobody knows": {[]compute.Machine{made("i-1")}, "tepid", ""},
	} {
		found, err := sweeper(&cloud{machines: c.machines}, nil).FindMachine(t.Context(), FindMachineInput{Service: "asr", Tier: c.tier})
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case found == nil && c.want != "" || found != nil && (found.Machine.ID != c.want || found.Tier != c.tier || found.Address != "10.0.0.1" || found.Machine.Placement.Region != "us-west-2"):
			t.Errorf("%s: %+v, not %s", name, found, c.want)
		}
	}
	if _, err := sweeper(&cloud{away: errors.New("away")}, nil).FindMachine(t.Context(), FindMachineInput{Service: "asr", Tier: runbooks.TierCold}); err == nil {
		t.Error("a provider that does not answer means that there is none")
	}
}
