package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/understudy-dr/understudy/tests/harness"
)

// The front doors, all of one primary and one standby, so that a fault hits
// them in the same moment.
const (
	lookedAfter  = iota // HAProxy, with an Understudy
	haproxyAlone        // the same HAProxy, with nobody
	nginxAlone          // nginx, with nobody
	doorCount
)

// The shipped files, from the root of the project.
const (
	haproxyFile = "deploy/haproxy/fun-asr.cfg"
	nginxFile   = "deploy/nginx/sambert.conf"
)

// patientChecks are those of the shipped file, for servers that are mute during
// an inference; quickChecks are what deploy/haproxy/README.md advises for those
// that always answer, as the ones here do. They are the best case of an HAProxy alone.
const (
	patientChecks = "inter 1s fall 600 rise 2"
	quickChecks   = "inter 500ms fall 2 rise 2"
)

// upstream is that of the articles: nginx moves by itself. The server block around it is the shipped one.
const upstream = `upstream tts_backend {
    server %s max_fails=2 fail_timeout=5s;
    server %s backup;
}
map "" $understudy_tts_backend {
    default "";
}
`

// openHAProxy starts an HAProxy with the shipped configuration, moved to this machine.
func openHAProxy(ctx context.Context, dir, primary, standby string) (h *harness.HAProxyServer, front string, err error) {
	front = harness.Address(harness.FreePort())
	state := filepath.Join(dir, "server-state")
	if err := os.WriteFile(state, nil, 0o644); err != nil {
		return nil, "", err
	}
	config, err := adapt(haproxyFile,
		"    log /dev/log local0\n", "", "    user haproxy\n", "", "    group haproxy\n", "",
		"    stats socket /run/haproxy/admin.sock mode 660 level admin\n", "", // the harness has one of its own
		"/var/lib/haproxy/server-state", state,
		"bind :7860", "bind "+front,
		"bind 127.0.0.1:8405", "bind "+harness.Address(harness.FreePort()),
		"192.168.1.10:7860", primary, "192.168.1.11:7860", standby,
		patientChecks, quickChecks)
	if err != nil {
		return nil, "", err
	}
	h, err = harness.HAProxy(ctx, dir, config)
	return h, "http://" + front, err
}

// openNginx starts an nginx with the shipped server block before the articles' upstream.
func openNginx(ctx context.Context, dir, primary, standby string) (n *harness.NginxServer, front string, err error) {
	front = harness.Address(harness.FreePort())
	server, err := adapt(nginxFile, "include /etc/nginx/understudy/*.conf;", fmt.Sprintf(upstream, primary, standby), "listen 80;", "listen "+front+";")
	if err != nil {
		return nil, "", err
	}
	config := "events {\n  worker_connections 4096;\n}\nhttp {\n  access_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += fmt.Sprintf("  %s_temp_path %s_temp;\n", kind, kind) // below dir: its own place may belong to root
	}
	n, err = harness.Nginx(ctx, dir, config+server+"}\n", front)
	return n, "http://" + front, err
}

// adapt reads a shipped file and replaces texts that must be there, so that what
// is measured is what people get.
func adapt(file string, pairs ...string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%w; run it from the root of the project", err)
	}
	text := string(content)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			return "", fmt.Errorf("%s no longer has %q", file, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text, nil
}
