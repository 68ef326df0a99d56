package nginx_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/nginx"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

const upstream = "speech"

// door is a running nginx with the file that Understudy owns.
type door struct {
	*harness.NginxServer
	config runbooks.Traffic
}

// open starts an nginx for servers of which only the primary is ready.
func open(t *testing.T, servers map[string]string, extra string) *door {
	t.Helper()
	dir, address := t.TempDir(), harness.Address(harness.FreePort())
	d := &door{config: runbooks.Traffic{
		Kind: "nginx", Backend: upstream, File: filepath.Join(dir, "owned", "speech.conf"), Servers: servers, Front: "http://" + address,
	}}
	text, err := nginx.Initial(d.config, traffictest.Primary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Dir(d.config.File), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.config.File, text, 0o640); err != nil {
		t.Fatal(err)
	}
	d.NginxServer = traffictest.Nginx(t, dir, fmt.Sprintf(`
worker_processes 2;
events {}
http {
  access_log off;
  include owned/*.conf;
  server {
    listen %s;
    %s
    location / { proxy_pass http://%s; proxy_connect_timeout 1s; }
    %s
  }
}
`, address, extra, upstream, nginx.Location(upstream)), address)
	d.config.Test, d.config.Reload = d.Test, d.Reload
	return d
}

func (d *door) balancer(t *testing.T) traffic.Balancer {
	t.Helper()
	b, err := nginx.New(d.config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	traffictest.Run(t, func(t *testing.T, servers map[string]string) traffictest.Fixture {
		d := open(t, servers, "")
		return traffictest.Fixture{
			Balancer: d.balancer(t), Front: d.config.Front, Drains: true, Moves: true, Seamless: true,
			Break: d.Kill,
			Freeze: func() {
				if err := d.Freeze(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}
