package deploy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/nginx"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

func sambert(t *testing.T) runbooks.Runbook {
	t.Helper()
	r, problems := runbooks.ParseRunbook("sambert-hifigan.yaml", []byte(read(t, "../../runbooks/sambert-hifigan.yaml")))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheUpstreamFileIsTheRunbooks(t *testing.T) {
	r := sambert(t)
	want, err := nginx.Initial(r.Traffic, r.Primary.Server)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, shipped(t, "nginx/understudy/tts_backend.conf")); got != string(want) {
		t.Errorf("the shipped file is\n%s\nand should be\n%s", got, want)
	}
	if !strings.HasSuffix(r.Traffic.File, "/understudy/tts_backend.conf") {
		t.Errorf("the runbook's file is %s", r.Traffic.File)
	}
	// Every line of the location that the package would write is in the shipped server block.
	config := read(t, shipped(t, "nginx/sambert.conf"))
	for line := range strings.Lines(nginx.Location(r.Traffic.Backend)) {
		if !strings.Contains(config, strings.TrimSpace(line)) {
			t.Errorf("sambert.conf lacks %q", strings.TrimSpace(line))
		}
	}
}

// TestNginxRunsTheConfiguration loads the shipped files in a real nginx, as
// conf.d does, and lets Understudy move the traffic by the shipped runbook.
func TestNginxRunsTheConfiguration(t *testing.T) {
	t.Parallel()
	r := sambert(t)
	speaker := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name, " ", r.URL.RequestURI()) }))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	primary, standby := speaker("primary"), speaker("standby")
	dir, front := t.TempDir(), harness.Address(harness.FreePort())
	upstream := replace(t, read(t, shipped(t, "nginx/understudy/tts_backend.conf")), "192.168.1.10:5000", primary, "192.168.1.11:5000", standby)
	server := replace(t, read(t, shipped(t, "nginx/sambert.conf")), "/etc/nginx/", dir+"/", "listen 80;", "listen "+front+";")
	r.Traffic.File = filepath.Join(dir, "understudy", "tts_backend.conf")
	for path, text := range map[string]string{r.Traffic.File: upstream, filepath.Join(dir, "conf.d", "sambert.conf"): server} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n := traffictest.Nginx(t, dir, "worker_shutdown_timeout 15m;\nevents {}\nhttp {\n  access_log off;\n  include conf.d/*.conf;\n}\n", front)
	r.Traffic.Front, r.Traffic.Test, r.Traffic.Reload = "http://"+front, n.Test, n.Reload
	r.Traffic.Servers = map[string]string{"primary": primary, "backup": standby}
	b, err := nginx.New(r.Traffic)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string) string {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + front + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body := make([]byte, 200)
		n, _ := resp.Body.Read(body)
		return string(body[:n])
	}
	if v, err := b.View(t.Context()); err != nil || !slices.Equal(v.Serving(), []string{r.Primary.Server}) {
		t.Errorf("serving %v, %v", v.Serving(), err)
	}
	if got := ask("/synthesize"); got != "primary /synthesize" {
		t.Errorf("the front door answers %q", got)
	}
	if got := ask("/health"); got != "primary /health?light=1" {
		t.Errorf("the health check is asked as %q", got)
	}
	hot := r.Tiers[0].Server
	v, err := b.Apply(t.Context(), traffic.Change{Set: []traffic.Assignment{{Server: r.Primary.Server, State: traffic.Maint}, {Server: hot, State: traffic.Ready}}})
	if err != nil || !slices.Equal(v.Serving(), []string{hot}) {
		t.Fatalf("serving %v, %v", v.Serving(), err)
	}
	if got := ask("/synthesize"); got != "standby /synthesize" {
		t.Errorf("after the switch the front door answers %q", got)
	}
}
