package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
	"github.com/understudy-dr/understudy/tests/harness"
)

// crashOptions describe a scene with a tap before every part.
type crashOptions struct {
	// Held keeps the standby off the traffic until it is proven, and lets the primary hang; else HAProxy moves by
	// itself, and the primary is dead.
	Held bool
	// Required makes a recovery fence the primary before it climbs.
	Required bool
	// Within is the time of the hot tier. Default that of scenes.
	Within time.Duration
	// Cluster runs the Temporal server in a process of its own.
	Cluster bool
	// Cold has primary and hot standby both dead, and a cold tier; Cloud makes its machine in EC2, else here.
	Cold, Cloud bool
}

// dead reports whether the primary is dead when Understudy looks at it; else it hangs.
func (o crashOptions) dead() bool { return !o.Held || o.Cold }

// crashScene is a scene in which everything that Understudy says to a part goes
// through a tap.
type crashScene struct {
	*harness.Scene
	options crashOptions
	engine  *harness.EngineServer
	store   *harness.MinIOServer
	epochs  string

	webhook, primary, hot, front, haproxy, epoch, slack, fence *harness.Tap
	// launch is the one before the doorbell that a machine made here rings when it starts, machine the one before
	// that machine, cloud the one before EC2. The tap of the epochs is that of all S3.
	launch, machine, cloud *harness.Tap
	// account is the EC2 of a scene that makes its machine there.
	account *ec2fixture.Site
	// fenced counts the requests for a fence that were carried out.
	fenced atomic.Int64
	// killed is closed once the hook of the test has acted.
	killed chan struct{}
	clock  crashClock
}

// crashClock measures how long a crash holds the work up. It asserts nothing.
type crashClock struct {
	sync.Mutex
	killed, restarted, ready, resumed time.Time
}

// setCrashScene starts a scene up to the moment before the alert: the primary
// has failed, and HAProxy has seen it.
func setCrashScene(t *testing.T, store *harness.MinIOServer, o crashOptions) *crashScene {
	t.Helper()
	abreast(t)
	s := &crashScene{options: o, store: store, killed: make(chan struct{})}
	_, name, _ := strings.Cut(t.Name(), "/")
	s.epochs = "s3://epochs/" + strings.NewReplacer("/", "-", " ", "-", ",", "", "'", "").Replace(name)
	if o.Cluster {
		ctx, cancel := context.WithTimeout(t.Context(), 10*patience) // it may have to be built
		defer cancel()
		var err error
		if s.engine, err = harness.Engine(ctx, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.engine.Kill() })
	}
	scene := harness.SceneOptions{
		Held: o.Held, Inter: 100 * time.Millisecond, Without: true, Env: s.env(),
		Edit: func(r *runbooks.Runbook, site *runbooks.Site) { s.wire(t, r, site) },
	}
	if o.Cold {
		scene.Cold, scene.Store, scene.History = true, store, !o.Cloud
	}
	s.Scene = setScene(t, scene)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if err := s.StartUnderstudy(ctx); err != nil {
		t.Fatal(err)
	}
	s.webhook = s.tap(t, harness.TapHTTP, s.Understudy.URL)
	guard(t, s.Understudy, atRest)
	if o.Cold {
		s.ruin(t)
	} else if o.Held {
		if err := s.Primary.Freeze(ctx); err != nil {
			t.Fatal(err)
		}
	} else {
		s.Primary.Kill()
	}
	eventually(t, func(ctx context.Context) error {
		shown, err := s.Servers(ctx)
		if err == nil && shown["primary"] != "DOWN" {
			err = fmt.Errorf("HAProxy shows %v", shown)
		}
		return err
	})
	return s
}

func (s *crashScene) env() []string {
	if s.engine == nil {
		return nil
	}
	return s.engine.Keys.Env()
}

// wire puts the taps into the runbook and the site file.
func (s *crashScene) wire(t *testing.T, r *runbooks.Runbook, site *runbooks.Site) {
	t.Helper()
	confirm := strings.TrimPrefix(s.Primary.URL, "http://")
	if !s.options.dead() {
		// A tap cannot refuse connections as a dead primary does; a hung one takes them.
		s.primary = s.tap(t, harness.TapHTTP, s.Primary.URL)
		r.Primary.URL = s.primary.URL()
	}
	if !s.options.Cold {
		s.hot = s.tap(t, harness.TapHTTP, s.Hot.URL)
		r.Tiers[0].URL = s.hot.URL()
	}
	s.front = s.tap(t, harness.TapHTTP, s.Front)
	s.haproxy = s.tap(t, harness.TapLine, s.HAProxy.Socket)
	s.slack = s.tap(t, harness.TapHTTP, strings.TrimSuffix(s.Slack.URL, "/api/"))
	s.epoch = s.tap(t, harness.TapHTTP, s.store.Endpoint)
	s.fence = s.tap(t, harness.TapHTTP, s.power(t).URL)

	r.Primary.Fence = []runbooks.Fence{{
		Kind: "http", URL: s.fence.URL() + "/off", Required: s.options.Required,
		Confirm: &runbooks.Confirm{Kind: "tcp-closed", Address: confirm},
	}}
	r.Policy.Confirm, r.Policy.ConfirmEvery = runbooks.Duration(500*time.Millisecond), runbooks.Duration(100*time.Millisecond)
	if s.options.Within > 0 {
		r.Tiers[0].Within = runbooks.Duration(s.options.Within)
	}
	r.Traffic.Sockets, r.Traffic.Front = []string{s.haproxy.Address}, s.front.URL()
	site.Chat.Slack.APIURL = s.slack.URL() + "/api/"
	access := s.store.Site()
	access.Endpoint = s.epoch.URL()
	site.S3 = map[string]runbooks.S3{"default": access}
	site.Epochs = &runbooks.EpochStore{Kind: "s3", URL: s.epochs}
	if s.options.Cold {
		s.wireCold(t, r, site)
	}
}

func (s *crashScene) tap(t *testing.T, make func(part string) (*harness.Tap, error), part string) *harness.Tap {
	t.Helper()
	tap, err := make(strings.TrimPrefix(part, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tap.Close)
	tap.Told(func(string) { s.clock.heard() })
	return tap
}

// power is the switch that turns the primary off, as a power strip does.
func (s *crashScene) power(t *testing.T) *httptest.Server {
	var once sync.Once
	strip := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		once.Do(s.Primary.Kill)
		s.fenced.Add(1)
	}))
	t.Cleanup(strip.Close)
	return strip
}

// kill is what a hook does: it ends Understudy, or the engine, at this moment. A
// dead Understudy's exchange goes no further; an exchange with a living one does.
func (s *crashScene) kill() harness.Fate {
	if s.engine != nil {
		s.engine.Kill()
	} else {
		s.Understudy.Kill()
	}
	s.clock.mark(&s.clock.killed)
	close(s.killed)
	return harness.Fate(s.engine != nil)
}

// strike ends Understudy at a moment between two others, whose exchange goes on.
// It does not wait for the end: even a killed process that reads a mount stays
// until the mount has answered.
func (s *crashScene) strike() harness.Fate {
	struck := s.Understudy.Process
	struck.Signal(syscall.SIGKILL)
	go func() {
		<-struck.Done()
		s.clock.mark(&s.clock.killed)
		close(s.killed)
	}()
	return harness.GoOn
}

// restart starts what was killed again.
func (s *crashScene) restart(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.clock.mark(&s.clock.restarted)
	var err error
	if s.engine != nil {
		err = s.engine.Restart(ctx)
	} else {
		err = s.Understudy.Restart(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.clock.mark(&s.clock.ready)
}

// awaitKill waits until the hook has acted.
func (s *crashScene) awaitKill(t *testing.T) {
	t.Helper()
	select {
	case <-s.killed:
	case <-time.After(patience):
		t.Fatal("the moment of the crash never came")
	}
}

func (c *crashClock) mark(at *time.Time) {
	c.Lock()
	defer c.Unlock()
	*at = time.Now()
}

// heard notes the first sign of work after a restart.
func (c *crashClock) heard() {
	c.Lock()
	defer c.Unlock()
	if !c.restarted.IsZero() && c.resumed.IsZero() {
		c.resumed = time.Now()
	}
}

// String says how long the crash held things up.
func (c *crashClock) String() string {
	c.Lock()
	defer c.Unlock()
	since := func(from, to time.Time) string {
		if from.IsZero() || to.IsZero() {
			return "never"
		}
		return to.Sub(from).Round(10 * time.Millisecond).String()
	}
	return fmt.Sprintf("ready %s after the restart, at work again %s after it, over %s after it",
		since(c.restarted, c.ready), since(c.restarted, c.resumed), since(c.restarted, time.Now()))
}
