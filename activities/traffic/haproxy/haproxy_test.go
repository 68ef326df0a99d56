package haproxy_test

import (
	"fmt"
	"testing"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/haproxy"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

// defaults are what every HAProxy of these tests is configured with.
const defaults = `
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  retries 3
  option redispatch
`

// held is a primary that is checked, and two standbys that the configuration
// holds in maintenance.
func held(front string, servers map[string]string) string {
	return defaults + fmt.Sprintf(`
frontend front
  bind %s
  default_backend speech
backend speech
  option httpchk GET /health
  default-server check inter 200ms fall 2 rise 2
  server primary %s
  server hot %s disabled
  server cold %s disabled
`, front, servers[traffictest.Primary], servers[traffictest.Hot], servers[traffictest.Cold])
}

func newBalancer(t *testing.T, sockets ...string) *haproxy.Balancer {
	t.Helper()
	b, err := haproxy.New(runbooks.Traffic{Kind: "haproxy", Sockets: sockets, Backend: "speech"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	traffictest.Run(t, func(t *testing.T, servers map[string]string) traffictest.Fixture {
		front := harness.Address(harness.FreePort())
		h := traffictest.HAProxy(t, held(front, servers))
		return fixture(t, newBalancer(t, h.Socket), front, h)
	})
}

// TestConformanceOfTwo runs the suite with two HAProxy processes, one of them over TCP.
func TestConformanceOfTwo(t *testing.T) {
	traffictest.Run(t, func(t *testing.T, servers map[string]string) traffictest.Fixture {
		front, admin := harness.Address(harness.FreePort()), harness.Address(harness.FreePort())
		first := traffictest.HAProxy(t, held(front, servers))
		second := traffictest.HAProxy(t, "global\n  stats socket "+admin+" level admin\n"+
			held(harness.Address(harness.FreePort()), servers))
		return fixture(t, newBalancer(t, admin, first.Socket), front, first, second)
	})
}

func fixture(t *testing.T, b traffic.Balancer, front string, all ...*harness.HAProxyServer) traffictest.Fixture {
	return traffictest.Fixture{
		Balancer: b, Front: "http://" + front, Cuts: true, Drains: true, Moves: true, Seamless: true,
		Break: func() {
			for _, h := range all {
				h.Kill()
			}
		},
		Freeze: func() {
			for _, h := range all {
				if err := h.Freeze(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
}
