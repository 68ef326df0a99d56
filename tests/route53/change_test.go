package route53fake_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	route53fake "github.com/understudy-dr/understudy/tests/route53"
)

func TestWhatIsPutIsListed(t *testing.T) {
	t.Parallel()
	a := start(t, route53fake.Options{})
	alias := &types.ResourceRecordSet{
		Name: aws.String("www.example.com"), Type: types.RRTypeA, SetIdentifier: aws.String("lb"), Weight: aws.Int64(7), HealthCheckId: aws.String("hc"),
		AliasTarget: &types.AliasTarget{DNSName: aws.String("lb.example.net."), HostedZoneId: aws.String("Z2"), EvaluateTargetHealth: true},
	}
	simple := &types.ResourceRecordSet{
		Name: aws.String("two.example.com."), Type: types.RRTypeA, TTL: aws.Int64(300),
		ResourceRecords: []types.ResourceRecord{{Value: aws.String("10.0.0.1")}, {Value: aws.String("10.0.0.2")}},
	}
	if _, err := a.change(t.Context(), create(set("hot", "10.0.0.2", 0)), create(alias), create(simple)); err != nil {
		t.Fatal(err)
	}
	out, err := a.client.ListResourceRecordSets(t.Context(), &route53.ListResourceRecordSetsInput{HostedZoneId: aws.String(route53fake.Zone), StartRecordName: aws.String("asr.example.com")})
	if err != nil || len(out.ResourceRecordSets) != 3 {
		t.Fatal(out, err)
	}
	for i, want := range []*types.ResourceRecordSet{set("hot", "10.0.0.2", 0), simple, alias} {
		name := strings.TrimSuffix(*want.Name, ".") + "."
		want.Name = &name
		if got := out.ResourceRecordSets[i]; fmt.Sprintf("%+v", flat(got)) != fmt.Sprintf("%+v", flat(*want)) {
			t.Errorf("listed %s, put %s", flat(got), flat(*want))
		}
	}
}

// flat is a record set without pointers.
func flat(r types.ResourceRecordSet) string {
	text := fmt.Sprint(*r.Name, r.Type, aws.ToString(r.SetIdentifier), aws.ToInt64(r.Weight), r.Weight == nil, aws.ToInt64(r.TTL), r.TTL == nil, aws.ToString(r.HealthCheckId))
	for _, v := range r.ResourceRecords {
		text += " " + *v.Value
	}
	if r.AliasTarget != nil {
		text += fmt.Sprint(*r.AliasTarget.DNSName, *r.AliasTarget.HostedZoneId, r.AliasTarget.EvaluateTargetHealth)
	}
	return text
}

func TestABatchIsAllOrNothing(t *testing.T) {
	t.Parallel()
	a := start(t, route53fake.Options{}, weighted("hot", "10.0.0.2", 0), weighted("primary", "10.0.0.1", 100))
	before := fmt.Sprint(a.Records(route53fake.Zone, record))
	health := func(r *types.ResourceRecordSet) { r.HealthCheckId = aws.String("hc") }
	ttl := func(r *types.ResourceRecordSet) { r.TTL = aws.Int64(61) }
	for name, c := range map[string]struct {
		changes []types.Change
		want    string
	}{
		"another weight":          {[]types.Change{remove(set("hot", "10.0.0.2", 1))}, "[name='asr.example.com.', type='A', set identifier='hot'] but the values provided do not match the current values"},
		"another value":           {[]types.Change{remove(set("hot", "10.0.0.9", 0))}, "do not match the current values"},
		"another TTL":             {[]types.Change{remove(set("hot", "10.0.0.2", 0, ttl))}, "do not match the current values"},
		"another health check":    {[]types.Change{remove(set("hot", "10.0.0.2", 0, health))}, "do not match the current values"},
		"nobody":                  {[]types.Change{remove(set("nobody", "10.0.0.2", 0))}, "Tried to delete resource record set [name='asr.example.com.', type='A', set identifier='nobody'] but it was not found"},
		"deleted twice":           {[]types.Change{remove(set("hot", "10.0.0.2", 0)), create(set("hot", "10.0.0.2", 1)), remove(set("hot", "10.0.0.2", 1))}, "invalid set of changes"},
		"created twice":           {[]types.Change{create(set("hot", "10.0.0.2", 0))}, "but it already exists"},
		"the second one is wrong": {[]types.Change{upsert(set("hot", "10.0.0.2", 100)), remove(set("primary", "10.0.0.1", 99))}, "set identifier='primary'] but the values"},
		"no change at all":        {[]types.Change{}, ""},
	} {
		_, err := a.change(t.Context(), c.changes...)
		var invalid *types.InvalidChangeBatch
		if !errors.As(err, &invalid) || !strings.Contains(invalid.ErrorMessage(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if now := fmt.Sprint(a.Records(route53fake.Zone, record)); now != before {
		t.Errorf("the records have changed from %s to %s", before, now)
	}
	for name, changes := range map[string][]types.Change{
		"replaced by the same": {remove(set("hot", "10.0.0.2", 0)), create(set("hot", "10.0.0.2", 0))},
		"put over the same":    {upsert(set("hot", "10.0.0.2", 0))},
	} {
		if _, err := a.change(t.Context(), changes...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRulesOfRecords(t *testing.T) {
	t.Parallel()
	a := start(t, route53fake.Options{}, weighted("hot", "10.0.0.2", 0))
	for name, c := range map[string]struct {
		change func(*types.ResourceRecordSet)
		want   string
	}{
		"another zone":            {func(r *types.ResourceRecordSet) { r.Name = aws.String("asr.example.org") }, "not permitted in zone"},
		"half a label":            {func(r *types.ResourceRecordSet) { r.Name = aws.String("notexample.com") }, "not permitted in zone"},
		"too much weight":         {func(r *types.ResourceRecordSet) { r.Weight = aws.Int64(256) }, "must be 0 to 255"},
		"no weight":               {func(r *types.ResourceRecordSet) { r.Weight = nil }, "SetIdentifier"},
		"no identifier":           {func(r *types.ResourceRecordSet) { r.SetIdentifier = nil }, "SetIdentifier"},
		"no TTL":                  {func(r *types.ResourceRecordSet) { r.TTL = nil }, "Missing field 'TTL'"},
		"two values":              {func(r *types.ResourceRecordSet) { r.ResourceRecords = append(r.ResourceRecords, r.ResourceRecords[0]) }, "has one ResourceRecord"},
		"a name for an address":   {func(r *types.ResourceRecordSet) { r.ResourceRecords[0].Value = aws.String("gpu-a") }, "not a valid IPv4 address"},
		"IPv6 for IPv4":           {func(r *types.ResourceRecordSet) { r.ResourceRecords[0].Value = aws.String("::1") }, "not a valid IPv4 address"},
		"IPv4 for IPv6":           {func(r *types.ResourceRecordSet) { r.Type = types.RRTypeAaaa }, "not a valid IPv6 address"},
		"a CNAME beside others":   {func(r *types.ResourceRecordSet) { r.Type = types.RRTypeCname }, "conflicts with other records"},
		"a CNAME at the top":      {func(r *types.ResourceRecordSet) { r.Type, r.Name = types.RRTypeCname, aws.String("example.com") }, "not permitted at apex"},
		"simple beside weighted":  {func(r *types.ResourceRecordSet) { r.Weight, r.SetIdentifier = nil, nil }, "because a weighted RRSet exists"},
		"latency beside weighted": {func(r *types.ResourceRecordSet) { r.Weight, r.Region = nil, "us-west-2" }, "because a weighted RRSet exists"},
		"an element not played":   {func(r *types.ResourceRecordSet) { r.MultiValueAnswer = aws.Bool(true) }, "does not play"},
		"an alias with values": {func(r *types.ResourceRecordSet) {
			r.AliasTarget = &types.AliasTarget{DNSName: aws.String("x."), HostedZoneId: aws.String("Z2")}
		}, "neither TTL"},
	} {
		r := set("new", "10.0.0.7", 1)
		c.change(r)
		_, err := a.change(t.Context(), create(r))
		if codeOf(err) != "InvalidChangeBatch" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if n := len(a.Records(route53fake.Zone, "")); n != 1 {
		t.Errorf("%d records, want the one that was there", n)
	}
}

func TestNameServersFollowWhenInSync(t *testing.T) {
	t.Parallel()
	a := start(t, route53fake.Options{Pending: 2}, weighted("hot", "10.0.0.2", 0), weighted("primary", "10.0.0.1", 100))
	resolves := func(want ...string) {
		t.Helper()
		var got []string
		for _, r := range a.Answers(record, "A") {
			got = append(got, r.SetIdentifier)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the name servers answer %v, want %v", got, want)
		}
		if value := a.Resolve(record, "A"); len(want) == 1 && value != map[string]string{"hot": "10.0.0.2", "primary": "10.0.0.1"}[want[0]] {
			t.Errorf("%s resolves to %s", record, value)
		}
	}
	change := func(changes ...types.Change) string {
		t.Helper()
		id, err := a.change(t.Context(), changes...)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := change(upsert(set("hot", "10.0.0.2", 100)), upsert(set("primary", "10.0.0.1", 0)))
	if weight := *a.Records(route53fake.Zone, record)[0].Weight; weight != 100 {
		t.Errorf("the API tells a weight of %d before the change is in sync", weight)
	}
	for i, want := range []types.ChangeStatus{"PENDING", "PENDING", "INSYNC", "INSYNC"} {
		if want == "PENDING" {
			resolves("primary")
		}
		if got := a.status(t, first); got != want {
			t.Errorf("look %d: %s, want %s", i+1, got, want)
		}
	}
	resolves("hot")

	a.Pending(route53fake.Forever)
	second := change(upsert(set("hot", "10.0.0.2", 0)))
	for range 5 {
		if got := a.status(t, second); got != types.ChangeStatusPending {
			t.Errorf("a change that hangs is %s", got)
		}
	}
	resolves("hot")
	a.Propagate()
	resolves("hot", "primary") // nobody has weight, so all are answered
	if got := a.status(t, second); got != types.ChangeStatusInsync {
		t.Errorf("after the propagation it is %s", got)
	}

	third := change(upsert(set("hot", "10.0.0.2", 1)))
	a.Pending(0)
	change(upsert(set("primary", "10.0.0.1", 1)))
	resolves("hot", "primary")
	if got := a.status(t, third); got != types.ChangeStatusInsync {
		t.Errorf("a change before one that is in sync is %s", got)
	}
	if _, err := a.client.GetChange(t.Context(), &route53.GetChangeInput{Id: aws.String("CNONE")}); codeOf(err) != "NoSuchChange" {
		t.Errorf("an unknown change: %v", err)
	}
}
