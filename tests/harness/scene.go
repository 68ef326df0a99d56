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

	"github.com/understudy-dr/understudy/activities/replica"
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
	// Cold is nil in a scene without a cold tier.
	Cold *Cold
	// History is the database of all transcriptions, Litestream what replicates it; empty and nil in a scene without.
	History    string
	Litestream *Process
	// Host takes the history home on a mended primary's host; nil before Mend.
	Host    *Process
	HAProxy *HAProxyServer
	// Front is the base URL at which clients reach the service.
	Front      string
	Slack      *fakeslack.Running
	Understudy *Understudy
	Runbook    runbooks.Runbook
	options    SceneOptions
	hostEnv    []string
}

// SceneOptions change a scene before it starts; the zero value is a good one.
type SceneOptions struct {
	Dir string
	// Service is its name in the runbook and at HAProxy. Default fun-asr.
	Service string
	// Held keeps the standby disabled at HAProxy until it is proven; else it is a backup server, and HAProxy moves by itself.
	Held bool
	// PrimaryArgs and HotArgs are more flags of the speech servers, such as --blocking.
	PrimaryArgs, HotArgs []string
	// HotVersion is the version of the standby's model; default the primary's.
	HotVersion string
	// Inter and Fall are HAProxy's check interval and how many must fail. Default 250ms and 2.
	Inter time.Duration
	Fall  int
	// Cold adds a cold tier: a store with the model, and a place at HAProxy for a machine that is still to be made.
	Cold bool
	// Store is a stocked store for scenes side by side; default one of the scene's own.
	Store *MinIOServer
	// History lets primary and hot keep their transcriptions, in one database, which Litestream replicates to the
	// store of the cold tier; the cold standby goes on with it.
	History bool
	// Home lets the cold standby replicate what it writes, and a mended primary take it home; it needs History.
	Home bool
	// Edit changes runbook and site file before Understudy starts.
	Edit func(r *runbooks.Runbook, s *runbooks.Site)
	// OnSlack is told of everything that people see change.
	OnSlack func(fakeslack.Change)
	// Ports fixes the ports, for people who read along; zero finds free ones.
	FrontPort, PrimaryPort, HotPort, ColdPort, StorePort, SlackPort int
	// CommandPort lets HAProxy take commands there as well as at its Unix socket.
	CommandPort int
	// SiteFile is one that is there already, with the service's runbook; then none is written, and Edit is not asked.
	SiteFile string
	// Env is added to Understudy's.
	Env []string
	// Without leaves Understudy out; StartUnderstudy starts it later.
	Without bool
	// Told is called before each part starts, with its name and what it is.
	Told func(part, what string)
}

const (
	// Recording is the file in the scene's directory that the canary speaks.
	Recording = "digits.wav"
	// ServerHeader of an answer names the server that gave it.
	ServerHeader = "X-Served-By"

	// sceneVersion is the model version that the scene's config center expects.
	sceneVersion = ModelVersion
)

// StartScene starts a scene, part by part. What was started is stopped again
// where a part fails.
func StartScene(ctx context.Context, o SceneOptions) (s *Scene, err error) {
	if o.Service == "" {
		o.Service = "fun-asr"
	}
	s = &Scene{Dir: o.Dir, options: o}
	defer func() {
		if err != nil {
			s.Stop()
			s = nil
		}
	}()
	tell := func(part, what string) {
		if o.Told != nil {
			o.Told(part, what)
		}
	}
	var keeps []string
	if o.History {
		s.History = filepath.Join(o.Dir, "history.db")
		keeps = []string{"--history", s.History}
	}
	tell("primary", "a speech recognizer, its model loaded from disk")
	if s.Primary, err = StartASR(ctx, SiteOptions{Name: "primary", Dir: o.Dir, Port: o.PrimaryPort, Args: append(keeps, o.PrimaryArgs...)}); err != nil {
		return s, err
	}
	tell("hot", "the standby: the same, loaded and idle")
	if s.Hot, err = StartASR(ctx, SiteOptions{Name: "hot", Dir: o.Dir, Port: o.HotPort, Version: o.HotVersion, Args: append(keeps, o.HotArgs...)}); err != nil {
		return s, err
	}
	if o.Cold {
		tell("S3", "MinIO, with the model for machines that are still to be made")
		if s.Cold, err = startCold(ctx, o); err != nil {
			return s, err
		}
	}
	if o.History {
		tell("Litestream", "replicates the history of transcriptions to S3")
		if s.Litestream, err = Litestream(ctx, LitestreamOptions{
			Dir: o.Dir, DB: s.History, Replica: replica.Prefix(s.replica(), 0), S3: s.Cold.MinIO.Site(),
		}); err != nil {
			return s, err
		}
	}
	tell("HAProxy", "the front door of both")
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
	tell("Slack", "a fake one, where the people on call are")
	if s.Slack, err = fakeslack.Start(Address(o.SlackPort), fakeslack.Options{OnChange: o.OnSlack}); err != nil {
		return s, err
	}
	if s.Runbook, err = s.runbook(ctx); err != nil {
		return s, err
	}
	if o.Home {
		path, err := PutScripts(ctx, o.Dir)
		if err != nil {
			return s, err
		}
		s.options.Env = append(s.options.Env, path)
	}
	if o.Without {
		return s, nil
	}
	tell("Understudy", "with a Temporal server of its own")
	return s, s.StartUnderstudy(ctx)
}

// Edit changes runbook and site file of an Understudy that is still to be started.
func (s *Scene) Edit(edit func(r *runbooks.Runbook, s *runbooks.Site)) { s.options.Edit = edit }

// StartUnderstudy starts Understudy with the scene's runbook.
func (s *Scene) StartUnderstudy(ctx context.Context) (err error) {
	env := append(s.options.Env, "SLACK_TOKEN="+fakeslack.Token)
	if s.options.SiteFile != "" {
		if s.Understudy, err = StartUnderstudy(ctx, UnderstudyOptions{Dir: s.Dir, SiteFile: s.options.SiteFile, Env: env}); err != nil {
			return err
		}
		library, problems := runbooks.LoadLibrary(s.Understudy.Options.Site.Runbooks...)
		s.Runbook, _ = library.Lookup(s.options.Service)
		return problems.Err()
	}
	site := runbooks.Site{
		S3:   s.stores(),
		Chat: runbooks.Chat{Slack: &runbooks.Slack{Token: runbooks.Secret{Env: "SLACK_TOKEN"}, APIURL: s.Slack.URL}},
	}
	r := s.Runbook
	if s.options.Edit != nil {
		s.options.Edit(&r, &site)
	}
	s.Runbook = r
	s.Understudy, err = StartUnderstudy(ctx, UnderstudyOptions{
		Dir: s.Dir, Site: site, Runbooks: []runbooks.Runbook{r}, Env: env,
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
	slot := ""
	if s.Cold != nil {
		slot = "  server cold 127.0.0.1:1 check disabled\n" // a machine's address is put in when there is one
	}
	global := ""
	if s.options.CommandPort != 0 {
		global = fmt.Sprintf("global\n  stats socket %s level admin\n", Address(s.options.CommandPort))
	}
	return global + fmt.Sprintf(`defaults
  mode http
  timeout connect 1s
  timeout client 1m
  timeout server 1m
  timeout check 200ms
  retries 3
  option redispatch 1
frontend speech
  bind %[1]s
  default_backend %[2]s
backend %[2]s
  option httpchk GET /health
  http-response set-header X-Served-By %%s
  default-server inter %[3]dms fall %[4]d rise 1
  server primary %[5]s check
  server hot %[6]s check %[7]s
%[8]s`, strings.TrimPrefix(s.Front, "http://"), s.backend(), inter.Milliseconds(), fall, host(s.Primary.URL), host(s.Hot.URL), standby, slot)
}

// replica is where the history is replicated to, below a prefix for each epoch.
// Scenes that share a store keep apart by their ports.
func (s *Scene) replica() string {
	base := "s3://" + HistoryBucket + "/" + s.options.Service
	if s.Cold.shared {
		base += fmt.Sprintf("-%d", s.Cold.Port)
	}
	return base
}

// backend is the service's name at HAProxy.
func (s *Scene) backend() string { return strings.ReplaceAll(s.options.Service, "-", "_") }

// runbook describes the scene's service. The recording of its canary is in the
// scene's directory, where Understudy runs.
func (s *Scene) runbook(ctx context.Context) (runbooks.Runbook, error) {
	clip, err := audio.Say(ctx, audio.Digits)
	if err != nil {
		return runbooks.Runbook{}, err
	}
	path := filepath.Join(s.Dir, Recording)
	if err := os.WriteFile(path, clip.WAV(), 0o644); err != nil {
		return runbooks.Runbook{}, err
	}
	r := runbooks.Runbook{
		APIVersion: runbooks.APIVersion, Service: s.options.Service, Objectives: runbooks.Objectives{RTO: runbooks.Duration(10 * time.Second)},
		Match:   []map[string]string{{"alertname": "SpeechServiceDown", "service": s.options.Service}},
		Primary: runbooks.Primary{URL: s.Primary.URL, Server: "primary"},
		Health:  runbooks.Health{Timeout: runbooks.Duration(300 * time.Millisecond), Ready: `"pocketsphinx-en-us" in models_loaded`},
		Canary:  &runbooks.Canary{Timeout: runbooks.Duration(25 * time.Second), Transcribe: &runbooks.Transcribe{Audio: path, Expect: audio.Digits}},
		Version: &runbooks.Version{Expected: runbooks.Source{Kind: "value", Value: sceneVersion}},
		Traffic: runbooks.Traffic{
			Kind: "haproxy", Sockets: []string{s.HAProxy.Socket}, Backend: s.backend(), Front: s.Front, Reconcile: runbooks.Duration(200 * time.Millisecond),
		},
		Tiers:  []runbooks.Tier{{Name: runbooks.TierHot, URL: s.Hot.URL, Server: "hot", Hold: s.options.Held, Within: runbooks.Duration(30 * time.Second)}},
		Notify: []runbooks.Notify{{Kind: "slack", Channel: "#asr-oncall"}},
		Policy: runbooks.Policy{
			Cooldown: runbooks.Duration(2 * time.Second), Confirm: runbooks.Duration(time.Second), ConfirmEvery: runbooks.Duration(250 * time.Millisecond),
			Observe: runbooks.Duration(5 * time.Second),
		},
	}
	if s.Cold != nil {
		program, err := BuildSite(ctx)
		if err != nil {
			return r, err
		}
		restored := ""
		if s.options.History {
			restored = filepath.Join(s.Dir, "cold", "history.db")
			r.Data = []runbooks.Data{{Kind: "litestream", Replica: s.replica(), Path: restored, Check: "select count(*) from history"}}
		}
		r.Tiers = append(r.Tiers, s.Cold.Tier(program, restored))
		if s.options.Home {
			s.homing(&r)
		}
	}
	return r, nil
}

// stores are the S3 endpoints of the scene.
func (s *Scene) stores() map[string]runbooks.S3 {
	if s.Cold == nil {
		return nil
	}
	return map[string]runbooks.S3{"default": s.Cold.MinIO.Site()}
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
	parts = append(parts, s.Litestream, s.Host)
	defer Clear(s.Dir) // last: the mounts, which are meant to outlive Understudy, but not the scene
	if s.Cold != nil && s.Cold.MinIO != nil && !s.Cold.shared {
		parts = append(parts, s.Cold.MinIO.Process)
	}
	for _, p := range parts {
		if p != nil {
			p.Kill()
		}
	}
	if s.HAProxy != nil {
		<-s.HAProxy.swept
	}
	if s.Slack != nil {
		s.Slack.Close()
	}
}

// Servers is HAProxy's view: the administrative state and the status of each server.
func (s *Scene) Servers(ctx context.Context) (map[string]string, error) {
	text, err := s.HAProxy.Command(ctx, "show stat "+s.backend()+" 4 -1")
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
