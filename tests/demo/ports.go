package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

// Ports of what neither runbook nor site file names.
const (
	prometheusPort   = 17871
	alertmanagerPort = 17872
	// temporalPorts is how many ports the embedded engine takes, from the one that the site file names.
	temporalPorts = 4

	loopback = "127.0.0.1"
)

// ports are the fixed ports of the demo, so that people can follow its links
// and run commands against it. They come from the very files that Understudy reads.
type ports struct {
	front, primary, hot, cold, store, command, slack int
	// needs says for each port who needs it, in the order of the ports.
	needs []need
}

type need struct {
	port int
	who  string
}

func readPorts(site runbooks.Site, r runbooks.Runbook) (p ports, err error) {
	take := func(into *int, address, who string) {
		port, e := portOf(address)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", who, e))
		}
		*into = port
		p.needs = append(p.needs, need{port, who})
	}
	var api, ui, temporal, home int
	take(&p.front, r.Traffic.Front, "HAProxy, the front door")
	take(&p.primary, r.Primary.URL, "the primary")
	hot, _ := r.TargetNamed(runbooks.TierHot)
	cold, _ := r.TargetNamed(runbooks.TierCold)
	take(&p.hot, hot.URL, "the hot standby")
	take(&p.cold, cold.At(loopback).URL, "the cold standby")
	take(&p.store, site.S3["default"].Endpoint, "MinIO")
	if r.Primary.Activate != nil {
		take(&home, r.Primary.Activate.URL, "the host of the primary, which takes data home")
	}
	take(&p.command, strings.Join(r.Traffic.Sockets, ","), "HAProxy's commands")
	take(&api, site.Listen.API, "Understudy's API")
	take(&ui, site.Listen.UI, "the Temporal UI")
	take(&temporal, site.Listen.Temporal, "the embedded Temporal")
	for i := 1; i < temporalPorts; i++ {
		p.needs = append(p.needs, need{temporal + i, "the embedded Temporal"})
	}
	take(&p.slack, site.Chat.Slack.APIURL, "the fake Slack")
	p.needs = append(p.needs, need{prometheusPort, "Prometheus"}, need{alertmanagerPort, "Alertmanager"})
	return p, err
}

// free reports every port that somebody holds, and who of the demo needs it.
func (p ports) free() error {
	var err error
	for _, n := range p.needs {
		l, e := net.Listen("tcp", harness.Address(n.port))
		if e == nil {
			l.Close()
			continue
		}
		err = errors.Join(err, fmt.Errorf("port %d is taken, and %s needs it", n.port, n.who))
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\nSee who holds it with: ss -ltnp. It may be another demo; or change the port in %s or %s.", err, runbookFile, siteFile)
}

// portOf is the port of a URL or of host:port.
func portOf(address string) (int, error) {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		address = u.Host
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	if host != loopback {
		return 0, fmt.Errorf("%s is not on %s, and the demo plays on this machine", address, loopback)
	}
	return strconv.Atoi(port)
}
