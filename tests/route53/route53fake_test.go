package route53fake_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"

	route53fake "github.com/understudy-dr/understudy/tests/route53"
)

const record = "asr.example.com"

func weighted(id, value string, weight int64) route53fake.Record {
	return route53fake.Weighted(record, "A", id, value, weight, 60)
}

// set is a weighted record set as the SDK has it.
func set(id, value string, weight int64, change ...func(*types.ResourceRecordSet)) *types.ResourceRecordSet {
	r := &types.ResourceRecordSet{
		Name: aws.String(record), Type: types.RRTypeA, SetIdentifier: aws.String(id), Weight: aws.Int64(weight), TTL: aws.Int64(60),
		ResourceRecords: []types.ResourceRecord{{Value: aws.String(value)}},
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func create(r *types.ResourceRecordSet) types.Change {
	return types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: r}
}

func remove(r *types.ResourceRecordSet) types.Change {
	return types.Change{Action: types.ChangeActionDelete, ResourceRecordSet: r}
}

func upsert(r *types.ResourceRecordSet) types.Change {
	return types.Change{Action: types.ChangeActionUpsert, ResourceRecordSet: r}
}

// account is a fake with the SDK's client for it.
type account struct {
	*route53fake.Running
	client *route53.Client
	key    string
	region string
}

func start(t *testing.T, o route53fake.Options, records ...route53fake.Record) *account {
	t.Helper()
	server, err := route53fake.Start("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	if err := server.Put(route53fake.Zone, records...); err != nil {
		t.Fatal(err)
	}
	a := &account{Running: server, key: route53fake.AccessKey, region: "us-east-1"}
	a.client = a.connect(http.DefaultTransport)
	return a
}

func (a *account) connect(transport http.RoundTripper) *route53.Client {
	return route53.New(route53.Options{
		Region: a.region, BaseEndpoint: aws.String(a.URL), Retryer: aws.NopRetryer{}, HTTPClient: &http.Client{Transport: transport},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: a.key, SecretAccessKey: "secret"}, nil
		}),
	})
}

func (a *account) change(ctx context.Context, changes ...types.Change) (string, error) {
	out, err := a.client.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{
		HostedZoneId: aws.String(route53fake.Zone), ChangeBatch: &types.ChangeBatch{Comment: aws.String("a test"), Changes: changes},
	})
	if err != nil {
		return "", err
	}
	if out.ChangeInfo.Status != types.ChangeStatusPending || out.ChangeInfo.SubmittedAt == nil || *out.ChangeInfo.Comment != "a test" {
		return "", fmt.Errorf("unexpected %+v", *out.ChangeInfo)
	}
	return *out.ChangeInfo.Id, nil
}

func (a *account) status(t *testing.T, id string) types.ChangeStatus {
	t.Helper()
	out, err := a.client.GetChange(t.Context(), &route53.GetChangeInput{Id: aws.String(id)})
	if err != nil {
		t.Fatal(err)
	}
	return out.ChangeInfo.Status
}

// list follows the pages from a place on and names what it finds.
func (a *account) list(t *testing.T, in route53.ListResourceRecordSetsInput) (names []string, pages int) {
	t.Helper()
	in.HostedZoneId = aws.String("/hostedzone/" + route53fake.Zone)
	for {
		out, err := a.client.ListResourceRecordSets(t.Context(), &in)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, r := range out.ResourceRecordSets {
			names = append(names, strings.TrimSpace(fmt.Sprint(*r.Name, " ", r.Type, " ", aws.ToString(r.SetIdentifier))))
		}
		if !out.IsTruncated {
			return names, pages
		}
		in.StartRecordName, in.StartRecordType, in.StartRecordIdentifier = out.NextRecordName, out.NextRecordType, out.NextRecordIdentifier
	}
}

func codeOf(err error) string {
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorCode()
	}
	return ""
}

func TestRecordsAreListedInOrder(t *testing.T) {
	t.Parallel()
	a := start(t, route53fake.Options{},
		weighted("hot", "10.0.0.2", 0), weighted("cold", "10.0.0.3", 0),
		route53fake.Weighted(record, "AAAA", "hot", "2001:db8::2", 0, 60),
		route53fake.Weighted("*.example.com", "CNAME", "x", "elsewhere.example.net", 1, 60),
		route53fake.Weighted("a.b.example.com", "A", "x", "10.0.0.1", 1, 60))
	all := []string{
		"example.com. NS", "example.com. SOA", `\052.example.com. CNAME x`, "asr.example.com. A cold", "asr.example.com. A hot", "asr.example.com. AAAA hot",
		"a.b.example.com. A x",
	}
	for name, c := range map[string]struct {
		in    route53.ListResourceRecordSetsInput
		from  int
		pages int
	}{
		"all":                           {route53.ListResourceRecordSetsInput{}, 0, 1},
		"page by page":                  {route53.ListResourceRecordSetsInput{MaxItems: aws.Int32(2)}, 0, 4},
		"from a name on":                {route53.ListResourceRecordSetsInput{StartRecordName: aws.String("ASR.example.com")}, 3, 1},
		"from a name that is not there": {route53.ListResourceRecordSetsInput{StartRecordName: aws.String("ast.example.com")}, 6, 1},
		"from a type on":                {route53.ListResourceRecordSetsInput{StartRecordName: aws.String(record), StartRecordType: types.RRTypeAaaa}, 5, 1},
		"from an identifier on":         {route53.ListResourceRecordSetsInput{StartRecordName: aws.String(record), StartRecordType: types.RRTypeA, StartRecordIdentifier: aws.String("hot")}, 4, 1},
	} {
		names, pages := a.list(t, c.in)
		if !slices.Equal(names, all[c.from:]) || pages != c.pages {
			t.Errorf("%s: %q in %d pages, want %q in %d", name, names, pages, all[c.from:], c.pages)
		}
	}
	for name, in := range map[string]route53.ListResourceRecordSetsInput{
		"a type without name":       {StartRecordType: types.RRTypeA},
		"an identifier without all": {StartRecordName: aws.String(record), StartRecordIdentifier: aws.String("hot")},
	} {
		in.HostedZoneId = aws.String(route53fake.Zone)
		if _, err := a.client.ListResourceRecordSets(t.Context(), &in); codeOf(err) != "InvalidInput" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.client.ListResourceRecordSets(t.Context(), &route53.ListResourceRecordSetsInput{HostedZoneId: aws.String("ZNONE")}); codeOf(err) != "NoSuchHostedZone" {
		t.Errorf("another zone: %v", err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	hot := weighted("hot", "10.0.0.2", 0)
	weight := func(a *account) int64 { return *a.Records(route53fake.Zone, record)[0].Weight }
	for name, c := range map[string]struct {
		fault  route53fake.Fault
		code   string
		weight int64
	}{
		"an error code":          {route53fake.Fault{Code: "Throttling", Message: "Rate exceeded"}, "Throttling", 0},
		"a code after the act":   {route53fake.Fault{Code: "InternalFailure", Arrives: true}, "InternalFailure", 100},
		"no answer":              {route53fake.Fault{Drop: true}, "", 0},
		"a lost answer":          {route53fake.Fault{Drop: true, Arrives: true}, "", 100},
		"another call's trouble": {route53fake.Fault{Action: "GetChange", Code: "Throttling"}, "fine", 100},
	} {
		a := start(t, route53fake.Options{}, hot)
		c.fault.Times = 1
		a.Inject(c.fault)
		_, err := a.change(t.Context(), upsert(set("hot", "10.0.0.2", 100)))
		if (c.code == "fine") != (err == nil) || c.code != "fine" && codeOf(err) != c.code {
			t.Errorf("%s: %v, want code %q", name, err, c.code)
		}
		if got := weight(a); got != c.weight {
			t.Errorf("%s: weight %d, want %d", name, got, c.weight)
		}
		if a.Heal(); c.code != "fine" {
			if _, err := a.change(t.Context(), upsert(set("hot", "10.0.0.2", 100))); err != nil {
				t.Errorf("%s: the next call: %v", name, err)
			}
		}
		if calls := a.Calls("ChangeResourceRecordSets"); !strings.Contains(calls[0].Body, "<Weight>100</Weight>") || calls[0].Key != route53fake.AccessKey {
			t.Errorf("%s: recorded %+v", name, calls[0])
		}
	}
}

func TestACallThatHangsAndOneThatArrivesLate(t *testing.T) {
	t.Parallel()
	arrived := make(chan route53fake.Call, 16)
	a := start(t, route53fake.Options{Seen: func(c route53fake.Call) { arrived <- c }}, weighted("hot", "10.0.0.2", 0))
	for name, fault := range map[string]route53fake.Fault{"hangs": {Hang: true, Times: 1}, "is held": {Hold: make(chan struct{}), Times: 1}} {
		a.Inject(fault)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := a.change(ctx, upsert(set("hot", "10.0.0.2", 100)))
			ended <- err
		}()
		<-arrived
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a call that %s ended with %v", name, err)
		}
		if got := *a.Records(route53fake.Zone, record)[0].Weight; got != 0 {
			t.Errorf("a call that %s has set the weight to %d", name, got)
		}
	}
	late := make(chan struct{})
	a.Inject(route53fake.Fault{Hold: late, Times: 1})
	ended := make(chan error)
	go func() {
		_, err := a.change(t.Context(), upsert(set("hot", "10.0.0.2", 100)))
		ended <- err
	}()
	<-arrived
	close(late)
	if err := <-ended; err != nil || *a.Records(route53fake.Zone, record)[0].Weight != 100 {
		t.Errorf("late, and not carried out: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	a := start(t, route53fake.Options{}, weighted("hot", "10.0.0.2", 0))
	ask := func() string {
		_, err := a.change(t.Context(), upsert(set("hot", "10.0.0.2", 100)))
		if err == nil {
			return "fine"
		}
		return codeOf(err)
	}
	a.key = "AKIASOMEBODYELSE0000"
	if got := ask(); got != "InvalidClientTokenId" {
		t.Errorf("an unknown key: %s", got)
	}
	a.SetKey(a.key)
	if got := ask(); got != "fine" {
		t.Errorf("a new key: %s", got)
	}
	a.Expire(a.key)
	if got := ask(); got != "ExpiredToken" {
		t.Errorf("an old key: %s", got)
	}
	a.key, a.region = route53fake.AccessKey, "eu-west-1"
	a.client = a.connect(http.DefaultTransport)
	if got := ask(); got != "SignatureDoesNotMatch" {
		t.Errorf("signed for another region: %s", got)
	}
	response, err := http.Get(a.URL + "/2013-04-01/change/C1")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("without credentials: %s", response.Status)
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	var asked []route53fake.Access
	a := start(t, route53fake.Options{Allow: func(access route53fake.Access) bool {
		asked = append(asked, access)
		return access.Action != "route53:GetChange"
	}}, weighted("hot", "10.0.0.2", 0))
	id, err := a.change(t.Context(), remove(set("hot", "10.0.0.2", 0)), create(set("hot", "10.0.0.2", 1)))
	if err != nil {
		t.Fatal(err)
	}
	a.list(t, route53.ListResourceRecordSetsInput{})
	if _, err := a.client.GetChange(t.Context(), &route53.GetChangeInput{Id: &id}); codeOf(err) != "AccessDenied" || !strings.Contains(err.Error(), "not authorized to perform: route53:GetChange") {
		t.Errorf("what is not allowed: %v", err)
	}
	want := []route53fake.Access{
		{Action: "route53:ChangeResourceRecordSets", Resource: "arn:aws:route53:::hostedzone/" + route53fake.Zone, Keys: map[string][]string{
			"route53:ChangeResourceRecordSetsNormalizedRecordNames": {record},
			"route53:ChangeResourceRecordSetsRecordTypes":           {"A"},
			"route53:ChangeResourceRecordSetsActions":               {"DELETE", "CREATE"},
		}},
		{Action: "route53:ListResourceRecordSets", Resource: "arn:aws:route53:::hostedzone/" + route53fake.Zone},
		{Action: "route53:GetChange", Resource: "arn:aws:route53:::" + strings.TrimPrefix(id, "/")},
	}
	if fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
}

func TestStartSaysWhyNot(t *testing.T) {
	if _, err := route53fake.Start("127.0.0.1:http-no", route53fake.Options{}); err == nil {
		t.Error("it started at no address")
	}
	s := route53fake.New(route53fake.Options{})
	if err := s.Put("ZNONE"); err == nil {
		t.Error("records were put into no zone")
	}
	if err := s.Put(route53fake.Zone, weighted("hot", "nowhere", 0)); err == nil {
		t.Error("a record that cannot be was put")
	}
	if err := s.Remove(route53fake.Zone, weighted("hot", "10.0.0.1", 0)); err == nil {
		t.Error("a record that is not there was removed")
	}
}
