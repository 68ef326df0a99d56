package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/command"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/runbooks"
)

const consulToken = "b1gs33cr3t-0000-4000-8000-000000000000"

// consulCheck is a check in Consul's catalog, as its HTTP API has it.
type consulCheck struct {
	Node, CheckID, Name, Status, Notes, ServiceID string
}

type consulInstance struct {
	id, address string
	checks      []consulCheck
	agent       *httptest.Server
	agentDown   bool
}

// consul is as much of Consul's HTTP API as the script uses: a catalog, an agent
// for each instance, tokens, and an agent's habit to remove from the catalog
// what it does not know.
type consul struct {
	mu        sync.Mutex
	instances map[string]*consulInstance
	catalog   *httptest.Server
	// writes are the changes that were asked for, in their order.
	writes []string
}

func startConsul(t *testing.T, servers map[string]string) *consul {
	c := &consul{instances: map[string]*consulInstance{}}
	serve := func(handler http.HandlerFunc) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Consul-Token") != consulToken {
				http.Error(w, "Permission denied", http.StatusForbidden)
				return
			}
			handler(w, r)
		}))
		t.Cleanup(s.Close)
		return s
	}
	c.catalog = serve(c.serveCatalog)
	for name, address := range servers {
		i := &consulInstance{id: "speech-" + name, address: address}
		i.checks = []consulCheck{{Node: name, CheckID: "serfHealth", Name: "Serf Health Status", Status: "passing"}}
		i.agent = serve(func(w http.ResponseWriter, r *http.Request) { c.serveAgent(w, r, i) })
		if name != traffictest.Primary {
			i.maintain(true, "held")
		}
		c.instances[name] = i
	}
	return c
}

func (i *consulInstance) maintain(on bool, reason string) {
	is := func(check consulCheck) bool { return check.CheckID == "_service_maintenance:"+i.id }
	if !on {
		i.checks = slices.DeleteFunc(i.checks, is)
	} else if !slices.ContainsFunc(i.checks, is) {
		i.checks = append(i.checks, consulCheck{CheckID: "_service_maintenance:" + i.id, Name: "Service Maintenance Mode", Status: "critical", Notes: reason, ServiceID: i.id})
	}
}

func (i *consulInstance) passing() bool {
	return !slices.ContainsFunc(i.checks, func(c consulCheck) bool { return c.Status == "critical" })
}

func (c *consul) serveAgent(w http.ResponseWriter, r *http.Request, i *consulInstance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i.agentDown {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
		return
	}
	on, err := strconv.ParseBool(r.URL.Query().Get("enable"))
	switch {
	case r.Method != http.MethodPut || r.URL.Path != "/v1/agent/service/maintenance/"+i.id:
		http.Error(w, "Unknown service ID", http.StatusNotFound)
	case err != nil:
		http.Error(w, "Missing value for enable", http.StatusBadRequest)
	default:
		c.writes = append(c.writes, fmt.Sprintf("%s maintenance=%t", i.id, on))
		i.maintain(on, r.URL.Query().Get("reason"))
	}
}

func (c *consul) serveCatalog(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/health/service/speech":
		type entry struct {
			Node    struct{ Node, Address string }
			Service struct {
				ID, Service, Address string
				Port                 int
			}
			Checks []consulCheck
		}
		entries := []entry{}
		for name, i := range c.instances {
			var e entry
			host, port, _ := net.SplitHostPort(i.address)
			e.Node.Node, e.Node.Address = name, host
			e.Service.ID, e.Service.Service, e.Checks = i.id, "speech", i.checks
			e.Service.Port, _ = strconv.Atoi(port)
			entries = append(entries, e)
		}
		_ = json.NewEncoder(w).Encode(entries)
	case "PUT /v1/catalog/register":
		var in struct {
			Node, Address  string
			SkipNodeUpdate bool
			Check          consulCheck
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || c.instances[in.Node] == nil || in.Address == "" || in.Check.ServiceID != c.instances[in.Node].id {
			http.Error(w, fmt.Sprint("cannot register ", in, err), http.StatusBadRequest)
			return
		}
		c.writes = append(c.writes, in.Check.ServiceID+" in the catalog")
		c.instances[in.Node].checks = append(c.instances[in.Node].checks, in.Check)
		fmt.Fprint(w, "true")
	default:
		http.NotFound(w, r)
	}
}

// change lets a test change what Consul knows.
func (c *consul) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// serving is a client of Consul's: it finds an instance whose checks pass.
func (c *consul) serving() (address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.instances {
		if i.passing() {
			address = i.address
		}
	}
	return address
}

// balancer drives the script of deploy/consul against this Consul.
func (c *consul) balancer(t *testing.T, servers map[string]string) traffic.Balancer {
	t.Helper()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	lines := []string{"# a comment", "service speech", "catalog " + c.catalog.URL, "token-file " + token}
	for name, i := range c.instances {
		lines = append(lines, fmt.Sprintf("server %s %s %s", name, i.agent.URL, i.id))
	}
	config := filepath.Join(dir, "speech.conf")
	if err := errors.Join(os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600), os.WriteFile(token, []byte(consulToken+"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	b, err := command.New(runbooks.Traffic{Command: []string{shipped(t, "consul/understudy-consul"), config}, Servers: servers})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConsulConformance(t *testing.T) {
	t.Parallel()
	needs(t, "jq", "jq")
	needs(t, "curl", "curl")
	traffictest.Run(t, func(t *testing.T, servers map[string]string) traffictest.Fixture {
		c := startConsul(t, servers)
		return traffictest.Fixture{
			Balancer: c.balancer(t, servers), Front: door(t, c.serving),
			Break: c.catalog.Close,
		}
	})
}

func TestConsulWithADeadHost(t *testing.T) {
	t.Parallel()
	needs(t, "jq", "jq")
	needs(t, "curl", "curl")
	servers := map[string]string{traffictest.Primary: "127.0.0.1:1", traffictest.Hot: "127.0.0.1:2"}
	c := startConsul(t, servers)
	b := c.balancer(t, servers)
	primary := c.instances[traffictest.Primary]
	c.change(func() { primary.agentDown = true })

	v, err := b.Apply(t.Context(), toHot)
	if err != nil || !slices.Equal(v.Serving(), []string{traffictest.Hot}) || c.serving() != servers[traffictest.Hot] {
		t.Fatalf("serving %v, %v", v.Serving(), err)
	}
	// The agent comes back, and with it what it knew before. The next change makes it know better.
	c.change(func() {
		primary.agentDown = false
		primary.maintain(false, "")
	})
	if v, err = b.View(t.Context()); err != nil || len(v.Serving()) != 2 {
		t.Errorf("serving %v, %v; want the returned primary too", v.Serving(), err)
	}
	if v, err = b.Apply(t.Context(), toHot); err != nil || !slices.Equal(v.Serving(), []string{traffictest.Hot}) {
		t.Errorf("serving %v, %v", v.Serving(), err)
	}
	if _, err = b.Apply(t.Context(), toHot); err != nil {
		t.Error(err)
	}
	// The standby goes onto the traffic first, and a change that holds already asks for nothing.
	want := []string{"speech-hot maintenance=false", "speech-primary in the catalog", "speech-primary maintenance=true"}
	c.change(func() {
		if !slices.Equal(c.writes, want) {
			t.Errorf("asked for %q, want %q", c.writes, want)
		}
	})
	// A standby that cannot be put onto the traffic is an error, and the primary stays off it.
	c.change(func() {
		c.instances[traffictest.Hot].maintain(true, "")
		c.instances[traffictest.Hot].agentDown = true
	})
	if _, err = b.Apply(t.Context(), toHot); !errors.Is(err, traffic.ErrUnreachable) {
		t.Errorf("apply: %v, want ErrUnreachable", err)
	}
}

func TestConsulShowsChecks(t *testing.T) {
	t.Parallel()
	needs(t, "jq", "jq")
	needs(t, "curl", "curl")
	servers := map[string]string{traffictest.Primary: "127.0.0.1:1", traffictest.Hot: "[::1]:2"}
	c := startConsul(t, servers)
	c.instances[traffictest.Primary].checks = append(c.instances[traffictest.Primary].checks, consulCheck{CheckID: "service:x", Name: "GET /health", Status: "critical"})
	v, err := c.balancer(t, servers).View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := v.Server(traffictest.Primary); s.Up == nil || *s.Up || !strings.Contains(s.Check, "GET /health is critical") {
		t.Errorf("primary: %+v", s)
	}
	if s, _ := v.Server(traffictest.Hot); s.Up != nil || s.Address != "[::1]:2" || !strings.Contains(s.Check, "held") {
		t.Errorf("hot: %+v", s)
	}
}
