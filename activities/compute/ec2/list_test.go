package ec2_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	provider "github.com/understudy-dr/understudy/activities/compute/ec2"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
)

// east is a placement in the other region.
func east() runbooks.Placement {
	return runbooks.Placement{Region: "us-east-1", Type: "g5.xlarge", Image: ec2fixture.Image, Subnet: "subnet-us-east-1a", SecurityGroups: []string{"sg-1"}, Price: 2}
}

func TestListsReadAllPagesOfAllRegions(t *testing.T) {
	s := ec2fixture.New(t, ec2fixture.Account())
	o := s.Order("")
	o.Provision.Placements = append(o.Provision.Placements, east())
	want := map[string]bool{}
	for n := range 13 {
		o.Key = fmt.Sprint("k", n)
		o.Placement = o.Provision.Placements[n%3]
		want[create(t, s.Provider, o).ID] = true
	}
	all, err := s.Provider.List(t.Context(), o.Provision, "fun-asr")
	if err != nil || len(all) != len(want) {
		t.Fatalf("%d of %d are listed, %v", len(all), len(want), err)
	}
	for _, m := range all {
		price := map[bool]float64{true: 2, false: 1.25}[strings.HasPrefix(m.Where, "us-east-1")]
		if !want[m.ID] || m.Price != price {
			t.Errorf("listed: %+v", m)
		}
	}
	if pages := len(s.Calls("DescribeInstances")); pages < 4 {
		t.Errorf("in %d calls", pages)
	}
	for _, service := range []string{"fun-*", "fun?asr", "*"} {
		if all, err := s.Provider.List(t.Context(), o.Provision, service); err != nil || len(all) != 0 {
			t.Errorf("service %q has %d machines, %v", service, len(all), err)
		}
	}
}

// What a list shows can be removed, although it does not say its placement.
func TestAMachineIsFoundInEveryRegion(t *testing.T) {
	s := ec2fixture.New(t, ec2fixture.Account())
	o := s.Order("k")
	o.Provision.Placements, o.Placement = append(o.Provision.Placements, east()), east()
	m := create(t, s.Provider, o)
	for _, r := range []compute.Ref{{ID: m.ID, Provision: o.Provision}, {Key: "k", Provision: o.Provision}} {
		if got, err := s.Provider.Describe(t.Context(), r); err != nil || got.ID != m.ID {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if err := s.Provider.Terminate(t.Context(), compute.Ref{ID: m.ID, Provision: o.Provision}); err != nil || s.Ours() != 0 {
		t.Errorf("%d are left, %v", s.Ours(), err)
	}
	_, err := s.Provider.Describe(t.Context(), compute.Ref{ID: m.ID})
	is(t, "without any region", err, compute.ErrRefused)
}

func TestARegionThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := ec2fixture.New(t, ec2fixture.Account())
	o := s.Order("k")
	o.Provision.Placements = append(o.Provision.Placements, east())
	m := create(t, s.Provider, o)
	s.Inject(ec2.Fault{Region: "us-east-1", Hang: true})
	p := s.Again(func(c *provider.Config) { c.Attempt, c.Patience = 2*time.Second, 2*time.Second })
	all, err := p.List(t.Context(), o.Provision, "")
	if len(all) != 1 || all[0].ID != m.ID {
		t.Errorf("listed: %+v", all)
	}
	is(t, "the list", err, nil)
	if got, err := p.Describe(t.Context(), compute.Ref{ID: m.ID, Provision: o.Provision}); err != nil || got.ID != m.ID {
		t.Errorf("what another region has: %+v, %v", got, err)
	}
	_, err = p.Describe(t.Context(), compute.Ref{ID: "i-0123456789abcdef0", Provision: o.Provision})
	is(t, "what no region that answers has", err, nil)
}

func TestConsole(t *testing.T) {
	options := ec2fixture.Account()
	long := strings.Repeat("x", 9000) + "\n"
	text := long + "understudy: step mount done\r\n\x1b[31mred\x00\n"
	options.Launch = func(ec2.Boot) (ec2.Machine, error) {
		return ec2.Machine{Stop: func() {}, Console: func() string { return text }}, nil
	}
	options.Regions[0].Types = nil
	s := ec2fixture.New(t, options)
	for key, machineType := range map[string]string{"new": "g5.xlarge", "old": "t2.micro"} {
		o := s.Order(key)
		o.Placement.Type = machineType
		m := create(t, s.Provider, o)
		var got string
		for end := time.Now().Add(10 * time.Second); got == "" && time.Now().Before(end); {
			var err error
			if got, err = s.Provider.Console(t.Context(), compute.Ref{ID: m.ID, Provision: o.Provision, Placement: o.Placement}); err != nil {
				t.Fatal(err)
			}
		}
		if got != "understudy: step mount done\n.[31mred.\n" {
			t.Errorf("%s: the console reads %q", machineType, got)
		}
	}
	id := s.Put(ec2.Instance{Region: ec2fixture.Region, Type: "g5.xlarge"})
	_, err := s.Provider.Console(t.Context(), compute.Ref{ID: id, Placement: ec2fixture.Place("a")})
	is(t, "of somebody else", err, compute.ErrForeign)
}
