package route53_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/route53"
	"github.com/understudy-dr/understudy/runbooks"
	route53fake "github.com/understudy-dr/understudy/tests/route53"
)

func TestOnlyWhatDiffersIsWritten(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{}, append(pair(), a("cold", "10.0.0.3", 0))...)
	b := s.balancer()
	apply(t, b, set(to("primary", traffic.Maint), to("hot", traffic.Ready), to("cold", traffic.Maint)))
	apply(t, b, toHot)
	if got, want := s.batches(), []string{"DELETE hot 0, CREATE hot 100, DELETE primary 100, CREATE primary 0"}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	if comment := s.Calls("ChangeResourceRecordSets")[0].Body; !strings.Contains(comment, "<Comment>Understudy: primary maint, hot ready, cold maint</Comment>") {
		t.Errorf("AWS's log will not tell what it was: %s", comment)
	}
}

func TestAWeightThatIsThereStays(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{}, a("a", "10.0.0.1", 7), a("b", "10.0.0.2", 3), a("c", "10.0.0.3", 0))
	apply(t, s.balancer(), set(to("a", traffic.Ready), to("b", traffic.Drain), to("c", traffic.Ready)))
	if got := s.weights(); got != "a 7, b 0, c 100" {
		t.Errorf("weights %s", got)
	}
}

func TestAllElseOfARecordStays(t *testing.T) {
	t.Parallel()
	checked := a("primary", "10.0.0.1", 100)
	checked.HealthCheckId = "hc-1"
	*checked.TTL = 17
	alias := route53fake.Record{Name: record, Type: "A", SetIdentifier: "lb", Weight: new(int64), AliasTarget: &route53fake.Alias{HostedZoneId: "Z2", DNSName: "lb.example.net.", EvaluateTargetHealth: true}}
	s := start(t, route53fake.Options{}, checked, alias)
	apply(t, s.balancer(), set(to("primary", traffic.Maint), to("lb", traffic.Ready)))
	*checked.Weight, *alias.Weight = 0, 100
	checked.Name, alias.Name = record+".", record+"."
	if got, want := describe(s.Records(route53fake.Zone, record)), describe([]route53fake.Record{alias, checked}); got != want {
		t.Errorf("the records are %s, want %s", got, want)
	}
}

// describe is records with all that they hold.
func describe(records []route53fake.Record) string {
	var text strings.Builder
	for _, r := range records {
		fmt.Fprintf(&text, "%s weight %d health %q", r, *r.Weight, r.HealthCheckId)
		if r.TTL != nil {
			fmt.Fprintf(&text, " TTL %d", *r.TTL)
		}
		if r.AliasTarget != nil {
			fmt.Fprintf(&text, " alias %+v", *r.AliasTarget)
		}
		fmt.Fprintf(&text, " %v; ", r.ResourceRecords)
	}
	return text.String()
}

func TestNoServerWithWeightIsRefused(t *testing.T) {
	t.Parallel()
	v6 := func(id, value string, weight int64) route53fake.Record {
		return route53fake.Weighted(record, "AAAA", id, value, weight, 60)
	}
	for name, c := range map[string]struct {
		records []route53fake.Record
		change  traffic.Change
		want    string
	}{
		"the only one off":     {pair(), set(to("primary", traffic.Maint)), "no A record of asr.example.com would have weight, and Route 53 answers all of them then; put another server on the traffic in the same change"},
		"the only one drained": {pair(), set(to("primary", traffic.Drain)), "put another server on the traffic"},
		"all off":              {pair(), set(to("primary", traffic.Maint), to("hot", traffic.Maint)), "put another server on the traffic"},
		"no IPv6 at the other": {append(pair(), v6("primary", "2001:db8::1", 100)), toHot, "no AAAA record of asr.example.com would have weight, and Route 53 answers all of them then; hot has no AAAA record: create one, or delete those of the others"},
	} {
		s := start(t, route53fake.Options{}, c.records...)
		before := s.weights()
		if _, err := s.balancer().Apply(t.Context(), c.change); !errors.Is(err, traffic.ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrRefused with %q", name, err, c.want)
		}
		if got := s.weights(); got != before || len(s.batches()) > 0 {
			t.Errorf("%s: from %s to %s", name, before, got)
		}
	}
}

func TestBothFamiliesMoveTogether(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{}, append(pair(),
		route53fake.Weighted(record, "AAAA", "hot", "2001:db8::2", 0, 60), route53fake.Weighted(record, "AAAA", "primary", "2001:db8::1", 100, 60))...)
	b := s.balancer()
	v := apply(t, b, toHot)
	if got := s.weights(); got != "hot 100, primary 0, hot 100, primary 0" || len(s.batches()) != 1 {
		t.Errorf("weights %s after %d changes", got, len(s.batches()))
	}
	if hot, _ := v.Server("hot"); hot.Address != "10.0.0.2:443" || hot.Check != "A 10.0.0.2, weight 100; AAAA 2001:db8::2, weight 100" {
		t.Errorf("hot is %+v", hot)
	}
}

// TestAllAreAnswered: nobody has weight, which an operator can do by hand.
func TestAllAreAnswered(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{}, a("hot", "10.0.0.2", 0), a("primary", "10.0.0.1", 0))
	b := s.balancer()
	v, err := b.View(t.Context())
	if !errors.Is(err, traffic.ErrDisagree) || !strings.Contains(err.Error(), "Route 53 answers all of them") || len(v.Servers) != 2 {
		t.Errorf("view: %+v, %v; want both, and ErrDisagree", v, err)
	}
	apply(t, b, toHot)
	if v, err = b.View(t.Context()); err != nil || !slices.Equal(v.Serving(), []string{"hot"}) {
		t.Errorf("afterwards: %+v, %v", v, err)
	}
}

func TestHomeHasWeightWhileNoOtherHas(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{}, a("dc-a", "10.0.0.1", 40), a("dc-b", "10.0.0.2", 0), a("dc-c", "10.0.0.3", 0))
	s.traffic.Home = "dc-a"
	b := s.balancer()
	for _, step := range []struct {
		change traffic.Change
		want   string
	}{
		{set(to("dc-b", traffic.Ready)), "dc-a 0, dc-b 100, dc-c 0"},
		{set(to("dc-c", traffic.Ready)), "dc-a 0, dc-b 100, dc-c 100"},
		{set(to("dc-b", traffic.Maint)), "dc-a 0, dc-b 0, dc-c 100"},
		{set(to("dc-c", traffic.Maint)), "dc-a 100, dc-b 0, dc-c 0"},
		{set(to("dc-b", traffic.Maint)), "dc-a 100, dc-b 0, dc-c 0"},
		{set(to("dc-a", traffic.Maint), to("dc-b", traffic.Ready)), "dc-a 0, dc-b 100, dc-c 0"},
		{set(to("dc-b", traffic.Maint), to("dc-a", traffic.Ready)), "dc-a 100, dc-b 0, dc-c 0"},
	} {
		apply(t, b, step.change)
		if got := s.weights(); got != step.want {
			t.Errorf("after %+v: %s, want %s", step.change, got, step.want)
		}
	}
	if _, err := b.Apply(t.Context(), set(to("dc-a", traffic.Maint))); !errors.Is(err, traffic.ErrRefused) {
		t.Errorf("home off, and nobody else on: %v, want ErrRefused", err)
	}

	// Somebody gives home its weight back by hand: half of the clients go to a site that has failed.
	apply(t, b, set(to("dc-b", traffic.Ready)))
	s.put(a("dc-a", "10.0.0.1", 40))
	v, err := b.View(t.Context())
	if !errors.Is(err, traffic.ErrDisagree) || !strings.Contains(err.Error(), "dc-a has weight beside dc-b") || len(v.Servers) != 3 {
		t.Errorf("view: %+v, %v; want all, and ErrDisagree", v, err)
	}
	apply(t, b, set(to("dc-b", traffic.Ready)))
	if got := s.weights(); got != "dc-a 0, dc-b 100, dc-c 0" {
		t.Errorf("set right to %s", got)
	}
}

func TestHomeIsNotThere(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{}, pair()...)
	s.traffic.Home = "dc-a"
	b := s.balancer()
	v, err := b.View(t.Context())
	if !errors.Is(err, traffic.ErrNoServer) || !strings.Contains(err.Error(), "traffic.home") || len(v.Servers) != 2 {
		t.Errorf("view: %+v, %v", v, err)
	}
	if _, err := b.Apply(t.Context(), toHot); !errors.Is(err, traffic.ErrNoServer) || len(s.batches()) > 0 {
		t.Errorf("apply: %v, and %d changes", err, len(s.batches()))
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	cname := func(id, value string, weight int64) route53fake.Record {
		return route53fake.Weighted(record, "CNAME", id, value, weight, 60)
	}
	v6 := route53fake.Weighted(record, "AAAA", "cold", "2001:db8::3", 0, 60)
	alias := route53fake.Record{Name: record, Type: "A", SetIdentifier: "cold", Weight: new(int64), AliasTarget: &route53fake.Alias{HostedZoneId: "Z2", DNSName: "lb.example.net."}}
	policy := a("cold", "10.0.0.3", 0)
	policy.TrafficPolicyInstanceId = "tp-1"
	home := a("primary", "10.0.0.1", 100)
	for name, c := range map[string]struct {
		records []route53fake.Record
		address string
		// shown is the address afterwards; refused is why it is not taken.
		shown, refused string
	}{
		"IPv4":                      {[]route53fake.Record{home, a("cold", "10.0.0.3", 0)}, "10.9.9.9:7860", "10.9.9.9:443", ""},
		"where it is":               {[]route53fake.Record{home, a("cold", "10.0.0.3", 0)}, "10.0.0.3:7860", "10.0.0.3:443", ""},
		"IPv6":                      {[]route53fake.Record{home, v6}, "[2001:db8::9]:7860", "[2001:db8::9]:443", ""},
		"a name":                    {[]route53fake.Record{cname("primary", "a.example.net.", 100), cname("cold", "c.example.net", 0)}, "gpu-9.example.net:7860", "gpu-9.example.net:443", ""},
		"the name that it has":      {[]route53fake.Record{cname("primary", "a.example.net.", 100), cname("cold", "c.example.net.", 0)}, "C.example.net:7860", "c.example.net:443", ""},
		"a name for IPv4":           {[]route53fake.Record{home, a("cold", "10.0.0.3", 0)}, "gpu-9.example.net:7860", "", "takes an IPv4 address"},
		"IPv6 for IPv4":             {[]route53fake.Record{home, a("cold", "10.0.0.3", 0)}, "[2001:db8::9]:7860", "", "takes an IPv4 address"},
		"IPv4 for IPv6":             {[]route53fake.Record{home, v6}, "10.9.9.9:7860", "", "takes an IPv6 address"},
		"IPv4 in IPv6's clothes":    {[]route53fake.Record{home, a("cold", "10.0.0.3", 0)}, "[::ffff:10.9.9.9]:7860", "", "takes an IPv4 address"},
		"an address for a name":     {[]route53fake.Record{cname("primary", "a.example.net.", 100), cname("cold", "c.example.net", 0)}, "10.9.9.9:7860", "", "takes a host name"},
		"an alias":                  {[]route53fake.Record{home, alias}, "10.9.9.9:7860", "", "an alias of lb.example.net"},
		"two families":              {[]route53fake.Record{home, a("cold", "10.0.0.3", 0), v6}, "10.9.9.9:7860", "", "moves only one of them"},
		"what a policy looks after": {[]route53fake.Record{home, policy}, "10.9.9.9:7860", "", "belongs to a traffic policy"},
	} {
		s := start(t, route53fake.Options{}, c.records...)
		change := set(traffic.Assignment{Server: "cold", State: traffic.Maint, Address: c.address})
		if c.records[1].Type == "AAAA" {
			change = set(traffic.Assignment{Server: "cold", State: traffic.Ready, Address: c.address})
		}
		v, err := s.balancer().Apply(t.Context(), change)
		if c.refused != "" {
			if !errors.Is(err, traffic.ErrRefused) || !strings.Contains(err.Error(), c.refused) || len(s.batches()) > 0 {
				t.Errorf("%s: %v after %d changes, want ErrRefused with %q", name, err, len(s.batches()), c.refused)
			}
			continue
		}
		if cold, _ := v.Server("cold"); err != nil || cold.Address != c.shown {
			t.Errorf("%s: %+v, %v; want it at %s", name, cold, err, c.shown)
		}
	}
}

func TestWhatAViewRemarks(t *testing.T) {
	t.Parallel()
	slow, checked := a("primary", "10.0.0.1", 100), a("hot", "10.0.0.2", 0)
	*slow.TTL, checked.HealthCheckId = 300, "hc-1"
	s := start(t, route53fake.Options{}, slow, checked, a("cold", "10.0.0.3", 0), route53fake.Weighted(record, "AAAA", "primary", "2001:db8::1", 100, 60))
	s.traffic.Front = "http://" + record + ":8080"
	v, err := s.balancer().View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"primary": "10.0.0.1:8080 A 10.0.0.1, weight 100; AAAA 2001:db8::1, weight 100; clients keep it for up to 5m0s, a TTL of 60 seconds or less is better",
		"hot":     "10.0.0.2:8080 A 10.0.0.2, weight 0; while its health check fails, Route 53 may answer servers of weight 0; it has no AAAA record, as others of this name have, and cannot take their place",
		"cold":    "10.0.0.3:8080 A 10.0.0.3, weight 0; it has no AAAA record, as others of this name have, and cannot take their place",
	} {
		if got, _ := v.Server(name); got.Address+" "+got.Check != want || !got.DNS || got.Up != nil {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
	}
}

func TestRecordsThatCannotBeMoved(t *testing.T) {
	t.Parallel()
	ttl := int64(60)
	for name, c := range map[string]struct {
		records []route53fake.Record
		kind    error
		want    string
	}{
		"none at all":     {nil, traffic.ErrNoServer, "zone Z0123456789ABC has no record asr.example.com; create in zone Z0123456789ABC a weighted record asr.example.com of type A, AAAA or CNAME for each server, with the server's name as its set identifier"},
		"only a text":     {[]route53fake.Record{route53fake.Weighted(record, "TXT", "hot", `"x"`, 1, 60)}, traffic.ErrNoServer, "has no record asr.example.com"},
		"a longer name":   {[]route53fake.Record{route53fake.Weighted("x."+record, "A", "hot", "10.0.0.1", 1, 60)}, traffic.ErrNoServer, "has no record asr.example.com"},
		"a simple record": {[]route53fake.Record{{Name: record, Type: "A", TTL: &ttl, ResourceRecords: []route53fake.Value{{Value: "10.0.0.1"}}}}, traffic.ErrRefused, "the A record of asr.example.com is not a weighted one"},
		"another policy":  {[]route53fake.Record{{Name: record, Type: "A", TTL: &ttl, SetIdentifier: "hot", Region: "us-west-2", ResourceRecords: []route53fake.Value{{Value: "10.0.0.1"}}}}, traffic.ErrRefused, "is not a weighted one"},
		"one is missing":  {[]route53fake.Record{a("primary", "10.0.0.1", 100)}, traffic.ErrNoServer, "asr.example.com has no record with the set identifier hot; create in zone Z0123456789ABC"},
	} {
		s := start(t, route53fake.Options{}, c.records...)
		b := s.balancer()
		errs := map[string]error{}
		_, errs["apply"] = b.Apply(t.Context(), toHot)
		if name != "one is missing" {
			_, errs["view"] = b.View(t.Context())
		}
		for what, err := range errs {
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %s: %v, want %q", name, what, err, c.want)
			}
		}
		if len(s.batches()) > 0 {
			t.Errorf("%s: sent %q", name, s.batches())
		}
	}
}

// TestPages: other records before, after and under the same name, a few in each answer.
func TestPages(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{Page: 4}, pair()...)
	for i := range 9 {
		s.put(a(fmt.Sprintf("more-%d", i), fmt.Sprintf("10.0.1.%d", i), 0),
			route53fake.Weighted(record, "TXT", fmt.Sprintf("text-%d", i), `"x"`, 1, 60),
			route53fake.Weighted(fmt.Sprintf("asr%d.example.com", i), "A", "hot", "10.0.2.1", 1, 60),
			route53fake.Weighted(fmt.Sprintf("a%d.example.com", i), "A", "hot", "10.0.2.1", 1, 60))
	}
	b := s.balancer(func(c *route53.Config) {
		c.Traffic.Record, c.Traffic.Zone = "ASR.Example.com.", "/hostedzone/"+route53fake.Zone
	})
	v := apply(t, b, toHot)
	if len(v.Servers) != 11 || !slices.Equal(v.Serving(), []string{"hot"}) {
		t.Errorf("%d servers, serving %v", len(v.Servers), v.Serving())
	}
	if n := len(s.Calls("ListResourceRecordSets")); n != 2*5 {
		t.Errorf("%d pages were asked for", n)
	}
}

func TestChina(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{Region: "cn-northwest-1"}, pair()...)
	if _, err := s.balancer().View(t.Context()); !errors.Is(err, traffic.ErrUnreachable) || !strings.Contains(err.Error(), "traffic.region is missing") {
		t.Errorf("without its region: %v", err)
	}
	s.traffic.Region = "cn-northwest-1"
	apply(t, s.balancer(), toHot)
}

func TestWhatNoBalancerIsMadeOf(t *testing.T) {
	good := runbooks.Traffic{Zone: route53fake.Zone, Record: record, Front: "https://" + record}
	for name, change := range map[string]func(*runbooks.Traffic){
		"no zone":          func(t *runbooks.Traffic) { t.Zone = "" },
		"a zone's name":    func(t *runbooks.Traffic) { t.Zone = "example.com" },
		"a path as a zone": func(t *runbooks.Traffic) { t.Zone = "Z1/../change" },
		"no record":        func(t *runbooks.Traffic) { t.Record = "" },
		"two records":      func(t *runbooks.Traffic) { t.Record = "a.example.com b.example.com" },
		"no front":         func(t *runbooks.Traffic) { t.Front = "asr.example.com" },
		"no name as home":  func(t *runbooks.Traffic) { t.Home = "a b" },
	} {
		wrong := good
		change(&wrong)
		if _, err := route53.New(route53.Config{Traffic: wrong}); !errors.Is(err, traffic.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", name, err)
		}
	}
	if _, err := route53.New(route53.Config{Traffic: good}); err != nil {
		t.Errorf("with all it needs: %v", err)
	}
}

func TestAnEndedContextAsksNobody(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{}, pair()...)
	b := s.balancer()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Apply(ctx, toHot); !errors.Is(err, context.Canceled) || len(s.Calls("")) > 0 {
		t.Errorf("apply: %v after %d calls", err, len(s.Calls("")))
	}
}
