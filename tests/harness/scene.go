package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/tests/site/audio"
)

// Scene is a small site: a speech service on a primary and a hot standby behind
// HAProxy, people in Slack, and Understudy looking after it. All parts are real
// but Slack.
type Scene struct {
	Dir          string
	Primary, Hot *Site
	HAProxy      *HAProxyServer
	// Front is the base URL at which clients reach the service.
	Front      string
	Slack      *fakeslack.Running
	Understudy *Understudy
	Runbook    runbooks.Runbook
	options    SceneOptions
}

// SceneOptions change a scene before it starts; the zero value is a good one.
type SceneOptions struct {
	Dir string
	// Held keeps the standby disabled at HAProxy until it is proven; else it is a backup server, and HAProxy moves by itself.
	Held bool
	// PrimaryArgs and HotArgs are more flags of the speech servers, such as --blocking.
	PrimaryArgs, HotArgs []string
	// HotVersion is the version of the standby's model; default the primary's.
	HotVersion string
	// Inter and Fall are HAProxy's check interval and how many must fail. Default 250ms and 2.
	Inter time.Duration
	Fall  int
	// Edit changes runbook and site file before Understudy starts.
	Edit func(r *runbooks.Runbook, s *runbooks.Site)
	// OnSlack is told of everything that people see change.
	OnSlack func(fakeslack.Change)
	// Ports fixes the ports, for people who read along; zero finds free ones.
	FrontPort, PrimaryPort, HotPort int
	// Env is added to Understudy's.
	Env []string
	// Without leaves Understudy out; StartUnderstudy starts it later.
	Without bool
	// Told is called before each part starts, with what it is.
	Told func(what string)
}

// sceneVersion is the model version that the scene's config center expects.
const sceneVersion = ModelVersion

// StartScene starts a scene, part by part. What was started is stopped again
// where a part fails.
func StartScene(ctx context.Context, o SceneOptions) (s *Scene, err error) {
	s = &Scene{Dir: o.Dir, options: o}
	defer func() {
		if err != nil {
			s.Stop()
			s = nil
		}
	}()
	tell := func(format string, args ...any) {
		if o.Told != nil {
			o.Told(fmt.Sprintf(format, args...))
		}
	}
	tell("the primary: a speech recognizer, its model loaded from disk")
	if s.Primary, err = StartASR(ctx, SiteOptions{Name: "primary", Dir: o.Dir, Port: o.PrimaryPort, Args: o.PrimaryArgs}); err != nil {
		return s, err
	}
	tell("the hot standby: the same, idle")
	if s.Hot, err = StartASR(ctx, SiteOptions{Name: "hot", Dir: o.Dir, Port: o.HotPort, Version: o.HotVersion, Args: o.HotArgs}); err != nil {
		return s, err
	}
	tell("HAProxy in front of both")
	front := o.FrontPort
	if front == 0 {
		front = FreePort()
	}
	s.Front = "http://" + Address(front)
	if s.HAProxy, err = HAProxy(ctx, o.Dir, s.BalancerConfig()); err != nil {
		return s, err
	}
	if err := s.awaitFront(ctx); err != nil {
		return s, err
	}
	tell("Slack, where the people on call are")
	if s.Slack, err = fakeslack.Start("127.0.0.1:0", fakeslack.Options{OnChange: o.OnSlack}); err != nil {
		return s, err
	}
	if s.Runbook, err = s.runbook(ctx); err != nil {
		return s, err
	}
	if o.Without {
		return s, nil
	}
	tell("Understudy")
	return s, s.StartUnderstudy(ctx)
}

// StartUnderstudy starts Understudy with the scene's runbook.
func (s *Scene) StartUnderstudy(ctx context.Context) (err error) {
	site := runbooks.Site{
		Chat: runbooks.Chat{Slack: &runbooks.Slack{Token: runbooks.Secret{Env: "SLACK_TOKEN"}, APIURL: s.Slack.URL}},
	}
	r := s.Runbook
	if s.options.Edit != nil {
		s.options.Edit(&r, &site)
	}
	s.Runbook = r
	s.Understudy, err = StartUnderstudy(ctx, UnderstudyOptions{
		Dir: s.Dir, Site: site, Runbooks: []runbooks.Runbook{r}, Env: append(s.options.Env, "SLACK_TOKEN="+fakeslack.Token),
	})
	return err
}

// BalancerConfig is HAProxy's configuration: what a careful operator writes.
func (s *Scene) BalancerConfig() string {
	inter, fall := s.options.Inter, s.options.Fall
	if inter == 0 {
		inter = 250 * time.Millisecond
	}
	if fall == 0 {
		fall = 2
	}
	standby := "backup"
	if s.options.Held {
		standby = "disabled"
	}
	return fmt.Sprintf(`defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout check 200ms
  retries 3
  option redispatch 1
frontend speech
  bind %s
  default_backend fun_asr
backend fun_asr
  option httpchk GET /health
  default-server inter %dms fall %d rise 1
  server primary %s check
  server hot %s check %s
`, strings.TrimPrefix(s.Front, "http://"), inter.Milliseconds(), fall, host(s.Primary.URL), host(s.Hot.URL), standby)
}

// runbook describes the scene's service.
func (s *Scene) runbook(ctx context.Context) (runbooks.Runbook, error) {
	clip, err := audio.Say(ctx, audio.Digits)
	if err != nil {
		return runbooks.Runbook{}, err
	}
	path := filepath.Join(s.Dir, "digits.wav")
	if err := os.WriteFile(path, clip.WAV(), 0o644); err != nil {
		return runbooks.Runbook{}, err
	}
	return runbooks.Runbook{
		APIVersion: runbooks.APIVersion, Service: "fun-asr", Objectives: runbooks.Objectives{RTO: runbooks.Duration(10 * time.Second)},
		Match:   []map[string]string{{"alertname": "SpeechServiceDown", "service": "fun-asr"}},
		Primary: runbooks.Primary{URL: s.Primary.URL, Server: "primary"},
		Health:  runbooks.Health{Timeout: runbooks.Duration(300 * time.Millisecond), Ready: `"pocketsphinx-en-us" in models_loaded`},
		Canary:  &runbooks.Canary{Timeout: runbooks.Duration(10 * time.Second), Transcribe: &runbooks.Transcribe{Audio: path, Expect: audio.Digits}},
		Version: &runbooks.Version{Expected: runbooks.Source{Kind: "value", Value: sceneVersion}},
		Traffic: runbooks.Traffic{
			Kind: "haproxy", Sockets: []string{s.HAProxy.Socket}, Backend: "fun_asr", Front: s.Front, Reconcile: runbooks.Duration(200 * time.Millisecond),
		},
		Tiers:  []runbooks.Tier{{Name: runbooks.TierHot, URL: s.Hot.URL, Server: "hot", Hold: s.options.Held, Within: runbooks.Duration(10 * time.Second)}},
		Notify: []runbooks.Notify{{Kind: "slack", Channel: "#asr-oncall"}},
		Policy: runbooks.Policy{
			Cooldown: runbooks.Duration(2 * time.Second), Confirm: runbooks.Duration(time.Second), ConfirmEvery: runbooks.Duration(250 * time.Millisecond),
			Observe: runbooks.Duration(5 * time.Second),
		},
	}, nil
}

func (s *Scene) awaitFront(ctx context.Context) error {
	for Responding(s.Front+"/health")(ctx) != nil {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the front door does not answer: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// Stop ends every part, Understudy first.
func (s *Scene) Stop() {
	var parts []*Process
	if s.Understudy != nil {
		parts = append(parts, s.Understudy.Process)
	}
	if s.HAProxy != nil {
		parts = append(parts, s.HAProxy.Process)
	}
	for _, site := range []*Site{s.Primary, s.Hot} {
		if site != nil {
			parts = append(parts, site.Process)
		}
	}
	for _, p := range parts {
		if p != nil {
			p.Kill()
		}
	}
	if s.Slack != nil {
		s.Slack.Close()
	}
}

// Servers is HAProxy's view: the administrative state and the status of each server.
func (s *Scene) Servers(ctx context.Context) (map[string]string, error) {
	text, err := s.HAProxy.Command(ctx, "show stat fun_asr 4 -1")
	if err != nil {
		return nil, err
	}
	servers := map[string]string{}
	var name, status int
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSpace(line), ",")
		if strings.HasPrefix(line, "# ") {
			for i, cell := range cells {
				switch cell {
				case "svname":
					name = i
				case "status":
					status = i
				}
			}
			continue
		}
		if len(cells) > max(name, status) && status > 0 {
			servers[cells[name]] = cells[status]
		}
	}
	if len(servers) == 0 {
		return nil, errors.New("HAProxy shows no servers: " + text)
	}
	return servers, nil
}

func host(url string) string {
	_, address, _ := strings.Cut(url, "://")
	if _, _, err := net.SplitHostPort(address); err != nil {
		panic("harness: " + url + " has no port")
	}
	return address
}
