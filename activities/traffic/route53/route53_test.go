package route53_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/route53"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/runbooks"
	route53fake "github.com/understudy-dr/understudy/tests/route53"
)

// record is the name that the tests move.
const record = "asr.example.com"

// site is a fake Route 53 with what leads to it.
type site struct {
	*route53fake.Running
	t       *testing.T
	aws     runbooks.AWS
	traffic runbooks.Traffic
}

func start(t *testing.T, o route53fake.Options, records ...route53fake.Record) *site {
	t.Helper()
	server, err := route53fake.Start("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	dir := t.TempDir()
	s := &site{
		Running: server, t: t,
		aws: runbooks.AWS{
			AccessKey: runbooks.Secret{File: filepath.Join(dir, "id")}, SecretKey: runbooks.Secret{File: filepath.Join(dir, "secret")},
			Endpoints: map[string]string{"route53": server.URL},
		},
		traffic: runbooks.Traffic{Kind: "route53", Zone: route53fake.Zone, Record: record, Front: "https://" + record},
	}
	s.rotate(route53fake.AccessKey)
	s.put(records...)
	return s
}

func (s *site) put(records ...route53fake.Record) {
	s.t.Helper()
	if err := s.Put(route53fake.Zone, records...); err != nil {
		s.t.Fatal(err)
	}
}

// rotate writes another access key to the files that the site file names.
func (s *site) rotate(id string) {
	s.t.Helper()
	for file, text := range map[string]string{s.aws.AccessKey.File: id, s.aws.SecretKey.File: "secret"} {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// balancer makes one as a new process would have it; change may set the patience of a test.
func (s *site) balancer(change ...func(*route53.Config)) *route53.Balancer {
	s.t.Helper()
	c := route53.Config{
		Traffic: s.traffic, Account: awsclient.New(s.aws),
		Attempt: 10 * time.Second, Patience: 20 * time.Second, Pause: time.Millisecond, Poll: time.Millisecond,
	}
	for _, f := range change {
		f(&c)
	}
	b, err := route53.New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// weights are the weights that the API tells, as text such as "cold 0, hot 100".
func (s *site) weights() string { return weightsOf(s.Records(route53fake.Zone, record)) }

func weightsOf(records []route53fake.Record) string {
	text := ""
	for i, r := range records {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %d", r.SetIdentifier, *r.Weight)
	}
	return text
}

// batches are the changes that were sent, each as text such as "DELETE hot 0, CREATE hot 100".
func (s *site) batches() []string {
	s.t.Helper()
	var all []string
	for _, call := range s.Calls("ChangeResourceRecordSets") {
		var batch struct {
			Changes []route53fake.Change `xml:"ChangeBatch>Changes>Change"`
		}
		if err := xml.Unmarshal([]byte(call.Body), &batch); err != nil {
			s.t.Fatal(err)
		}
		text := ""
		for i, c := range batch.Changes {
			if i > 0 {
				text += ", "
			}
			text += c.Action + " " + weightsOf([]route53fake.Record{c.ResourceRecordSet})
		}
		all = append(all, text)
	}
	return all
}

func set(a ...traffic.Assignment) traffic.Change { return traffic.Change{Set: a} }

func to(server string, state traffic.State) traffic.Assignment {
	return traffic.Assignment{Server: server, State: state}
}

var (
	toHot     = set(to("primary", traffic.Maint), to("hot", traffic.Ready))
	toPrimary = set(to("hot", traffic.Maint), to("primary", traffic.Ready))
)

func a(id, value string, weight int64) route53fake.Record {
	return route53fake.Weighted(record, "A", id, value, weight, 60)
}

// pair is a primary that serves and a standby that does not.
func pair() []route53fake.Record {
	return []route53fake.Record{a("hot", "10.0.0.2", 0), a("primary", "10.0.0.1", 100)}
}

func apply(t *testing.T, b traffic.Balancer, c traffic.Change) traffic.View {
	t.Helper()
	v, err := b.Apply(t.Context(), c)
	if err != nil {
		t.Fatalf("apply %+v: %v", c, err)
	}
	return v
}

// resolving is a front door that does what clients do: for each request it asks
// the name servers for the name, and goes to what they answer.
func resolving(t *testing.T, s *site, port string) string {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(s.Resolve(record, "A"), port))
	}}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: record})
	proxy.Transport = transport
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	return front.URL
}

func conformance(t *testing.T, home string) {
	traffictest.RunByHost(t, func(t *testing.T, servers map[string]string) traffictest.Fixture {
		s := start(t, route53fake.Options{Pending: 1})
		var port string
		for name, address := range servers {
			host, p, err := net.SplitHostPort(address)
			if err != nil {
				t.Fatal(err)
			}
			weight := map[bool]int64{true: 100}[name == traffictest.Primary]
			port = p
			s.put(a(name, host, weight))
		}
		s.traffic.Home, s.traffic.Front = home, "http://"+record+":"+port
		return traffictest.Fixture{
			Balancer: s.balancer(), Front: resolving(t, s, port), Drains: true, Moves: true, Seamless: true,
			Break:  s.Close,
			Freeze: func() { s.Inject(route53fake.Fault{Hang: true}) },
		}
	})
}

func TestConformance(t *testing.T) { conformance(t, "") }

// TestConformanceWithHome runs the suite with a server that has weight while no other has.
func TestConformanceWithHome(t *testing.T) { conformance(t, traffictest.Primary) }
