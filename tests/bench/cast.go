package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/triggers"
)

// throughHeader is set by HAProxy: it tells the standby that a request came
// through the front door, and of which service.
const throughHeader = "X-Bench-Service"

// startPatience bounds the start of all parts.
const startPatience = time.Minute

// cast are many small services behind one HAProxy, each with a primary of its
// own that is to fail once, and all with one standby, which HAProxy holds back.
// Some are Understudy's, some the bare loop's.
type cast struct {
	standby   *http.Server
	primaries map[string]*http.Server
	fronts    map[string]string
	// proven tells that Understudy's proof of a service came through the front door.
	proven     map[string]chan struct{}
	haproxy    *harness.HAProxyServer
	understudy *harness.Understudy
	executor   *executor
}

// serviceName is the service of a contestant that fails in a round.
func serviceName(contestant string, round int) string {
	return fmt.Sprintf("%s-%d", contestant, round)
}

// setCast starts the services of some rounds, and who looks after them.
func setCast(ctx context.Context, dir string, rounds int) (c *cast, err error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	c = &cast{primaries: map[string]*http.Server{}, fronts: map[string]string{}, proven: map[string]chan struct{}{}}
	defer func() {
		if err != nil {
			c.close()
			c = nil
		}
	}()
	recording := filepath.Join(dir, harness.Recording)
	if err := os.WriteFile(recording, audio.Silence(3*time.Second).WAV(), 0o644); err != nil {
		return c, err
	}
	for round := range rounds {
		for _, contestant := range contestants {
			c.proven[serviceName(contestant, round)] = make(chan struct{}, 1)
		}
	}
	var standby string
	if c.standby, standby, err = (speech{name: "hot", asked: c.heard}).listen(); err != nil {
		return c, err
	}
	config := "defaults\n  mode http\n  timeout connect 1s\n  timeout client 30s\n  timeout server 30s\n"
	var books []runbooks.Runbook
	arguments := map[string][]string{}
	for round := range rounds {
		for _, contestant := range contestants {
			name := serviceName(contestant, round)
			var primary string
			if c.primaries[name], primary, err = (speech{name: "primary"}).listen(); err != nil {
				return c, err
			}
			front := harness.Address(harness.FreePort())
			c.fronts[name] = "http://" + front
			config += section(name, front, primary, standby)
			if contestant == bareLoop {
				arguments[name] = []string{primary, standby, "", name}
				continue
			}
			r := runbookOf(name, primary, standby, c.fronts[name])
			if contestant == withCanary {
				r.Canary = &runbooks.Canary{Transcribe: &runbooks.Transcribe{Audio: recording, Expect: audio.Digits}}
			}
			books = append(books, r)
		}
	}
	if c.haproxy, err = harness.HAProxy(ctx, dir, config); err != nil {
		return c, err
	}
	for i := range books {
		books[i].Traffic.Sockets = []string{c.haproxy.Socket}
	}
	for _, a := range arguments {
		a[2] = c.haproxy.Socket
	}
	if c.executor, err = startExecutor(dir, arguments); err != nil {
		return c, err
	}
	site := runbooks.Site{Budgets: runbooks.Budgets{HotPerMinute: 100 * len(books)}}
	if c.understudy, err = harness.StartUnderstudy(ctx, harness.UnderstudyOptions{Dir: dir, Site: site, Runbooks: books}); err != nil {
		return c, err
	}
	return c, c.awaitGuards(ctx)
}

// section is what HAProxy is told of one service. Its checks have patience, as
// those of deploy/haproxy have, so that nothing but a command moves the traffic.
func section(name, front, primary, standby string) string {
	host := func(url string) string { return strings.TrimPrefix(url, "http://") }
	return fmt.Sprintf(`listen %s
  bind %s
  http-request set-header %s %[1]s
  option httpchk GET /health
  default-server check inter 10s fall 600 rise 2
  server primary %[4]s
  server hot %[5]s disabled
`, name, front, throughHeader, host(primary), host(standby))
}

// runbookOf is the runbook of a service with a hot standby behind an HAProxy.
func runbookOf(service, primary, standby, front string) runbooks.Runbook {
	return runbooks.Runbook{
		APIVersion: runbooks.APIVersion, Service: service,
		Match:   []map[string]string{{"alertname": alertName, "service": service}},
		Primary: runbooks.Primary{URL: primary, Server: "primary"},
		Health:  runbooks.Health{Ready: fmt.Sprintf("%q in models_loaded", modelLoaded)},
		Version: &runbooks.Version{Expected: runbooks.Source{Kind: "value", Value: harness.ModelVersion}},
		Traffic: runbooks.Traffic{Kind: "haproxy", Backend: service, Front: front},
		Tiers:   []runbooks.Tier{{Name: runbooks.TierHot, URL: standby, Server: "hot"}},
	}
}

// heard takes note of proofs that come through the front door.
func (c *cast) heard(r *http.Request) {
	name := r.Header.Get(throughHeader)
	proof := "/health"
	if strings.HasPrefix(name, withCanary) {
		proof = transcription
	}
	if r.URL.Path != proof {
		return
	}
	select {
	case c.proven[name] <- struct{}{}:
	default: // only the first one counts
	}
}

// answered checks that the standby answers at a service's front door.
func (c *cast) answered(ctx context.Context, name string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.fronts[name]+models, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if server := response.Header.Get(harness.ServerHeader); response.StatusCode != http.StatusOK || server != "hot" {
		return fmt.Errorf("after the switch %q answers with %s", server, response.Status)
	}
	return nil
}

// awaitGuards waits until every guard is at its post, so that none is born while somebody is measured.
func (c *cast) awaitGuards(ctx context.Context) error {
	return until(ctx, func(ctx context.Context) error {
		var all []triggers.Service
		if err := c.understudy.Get(ctx, "/api/v1/services", &all); err != nil {
			return err
		}
		for _, s := range all {
			if s.State != "ready" {
				return fmt.Errorf("the guard of %s is not ready: %s", s.Service, s.State)
			}
		}
		return nil
	})
}

// close ends everything that was started, Understudy first.
func (c *cast) close() {
	if c.understudy != nil {
		c.understudy.Kill()
	}
	if c.haproxy != nil {
		c.haproxy.Kill()
	}
	if c.executor != nil {
		c.executor.server.Close()
	}
	for _, primary := range c.primaries {
		primary.Close()
	}
	if c.standby != nil {
		c.standby.Close()
	}
}
