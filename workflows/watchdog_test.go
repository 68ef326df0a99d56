package workflows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

const silence = 3 * time.Minute

// ground is two sites with services, and what this process has heard of them.
type ground struct {
	mu  sync.Mutex
	env *testsuite.TestWorkflowEnvironment
	// finds is what is found at a URL, witnessed what a witness finds there; what is not there answers.
	finds, witnessed map[string]runbooks.Finding
	// actives are where services run; what is not there runs at home. recovering are those with a recovery.
	actives    map[string]runbooks.Target
	recovering map[string]bool
	// declines is the guards' reason not to start anything; lost makes them not answer.
	declines string
	lost     error
	// last and listening are what this process has heard; deaf and gone say that it hears nothing of the site.
	last, listening func() time.Time
	deaf, gone      bool

	asks   []activities.AskForRecoveryInput
	asked  []time.Time
	news   []activities.AnnounceInput
	probed []string
	looks  []time.Time
	books  []runbooks.Runbook
}

func at(service, site, host string) runbooks.Runbook {
	return runbooks.Runbook{
		Service: service, Primary: runbooks.Primary{URL: "http://" + host, Server: "primary", Site: site}, Health: runbooks.Health{Timeout: runbooks.Duration(time.Second)},
		Tiers:  []runbooks.Tier{{Name: "hot", URL: "http://hot-" + host, Server: "hot", Site: "dc-b"}},
		Notify: []runbooks.Notify{{Kind: "slack", Channel: "#" + service}},
	}
}

func newGround() *ground {
	never := func() time.Time { return time.Time{} }
	return &ground{
		finds: map[string]runbooks.Finding{}, witnessed: map[string]runbooks.Finding{}, actives: map[string]runbooks.Target{}, recovering: map[string]bool{},
		last: never, listening: never,
		books: []runbooks.Runbook{at("asr", "dc-a", "a1"), at("tts", "dc-a", "a2"), at("far", "dc-b", "b1")},
	}
}

func (g *ground) HeardOf(string) (last, listening time.Time, known bool) {
	return g.last(), g.listening(), !g.gone
}

func (g *ground) Active(_ context.Context, service string) (runbooks.Target, bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lost != nil {
		return runbooks.Target{}, false, g.lost
	}
	if t, ok := g.actives[service]; ok {
		return t, g.recovering[service], nil
	}
	r, _ := g.library().Lookup(service)
	t, _ := r.TargetNamed(runbooks.PrimaryName)
	return t, g.recovering[service], nil
}

func (g *ground) Recover(_ context.Context, in activities.AskForRecoveryInput) (activities.AskForRecoveryResult, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asks, g.asked = append(g.asks, in), append(g.asked, g.env.Now())
	return activities.AskForRecoveryResult{Started: g.declines == "", Reason: g.declines}, g.lost
}

func (g *ground) Announce(_ context.Context, in activities.AnnounceInput) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.news = append(g.news, in)
	return nil
}

func (g *ground) library() *runbooks.Library { return runbooks.NewLibrary(g.books...) }

// eyes look from one place.
type eyes struct {
	*ground
	finds map[string]runbooks.Finding
	away  bool
}

func (e eyes) Probe(_ context.Context, r probe.Request) probe.Result {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.finds[r.URL]
	switch {
	case e.finds["*"] != "":
		f = e.finds["*"]
	case f == "":
		f = runbooks.Answers
	}
	e.probed = append(e.probed, r.URL)
	return probe.Result{Finding: f, Detail: "as the test says", At: time.Now()}
}

// announcing is the one method of the engine that a watchdog's news need.
type announcing struct {
	activities.Guards
	*ground
}

func (a announcing) Announce(ctx context.Context, in activities.AnnounceInput) error {
	return a.ground.Announce(ctx, in)
}

// watched runs a watchdog for so long, and returns the state that it has then.
func (g *ground) watched(t *testing.T, state WatchdogState, limit time.Duration, script func(env *testsuite.TestWorkflowEnvironment)) WatchdogState {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetDisableRegistrationAliasing(true)
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	g.env = env
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: WatchdogID("dc-a"), TaskQueue: TaskQueue})
	env.SetTestTimeout(30 * time.Second)
	Register(env)
	var witnesses []activities.Witness
	if len(g.witnessed) > 0 {
		witnesses = append(witnesses, activities.Witness{Name: "moon", Prober: eyes{ground: g, finds: g.witnessed}})
	}
	acts := activities.New(activities.Deps{
		Library: g.library, Prober: eyes{ground: g, finds: g.finds}, Witnesses: witnesses, Guards: announcing{nil, g},
		Balancers: func(runbooks.Traffic) (traffic.Balancer, error) { return nil, errors.New("it went with the site") },
	})
	env.RegisterActivity(acts)
	deps := activities.WatchingDeps{Library: g.library, Diagnoser: acts, Prober: eyes{ground: g, finds: g.finds}, Guards: g, Signs: g}
	if g.deaf {
		deps.Signs = nil
	}
	env.RegisterActivity(activities.NewWatching(deps))
	env.SetOnActivityStartedListener(func(info *activityInfo, _ contextContext, _ encodedValues) {
		if info.ActivityType.Name == "LookAtSite" {
			g.looks = append(g.looks, env.Now())
		}
	})
	script(env)
	env.RegisterDelayedCallback(env.CancelWorkflow, limit)
	env.ExecuteWorkflow(Watchdog, WatchdogInput{Site: "dc-a", State: state})
	var renewed *workflow.ContinueAsNewError
	if errors.As(env.GetWorkflowError(), &renewed) {
		var in WatchdogInput
		if err := converter.GetDefaultDataConverter().FromPayloads(renewed.Input, &in); err != nil {
			t.Fatal(err)
		}
		return in.State
	}
	value, err := env.QueryWorkflow(StateQueryName)
	if err != nil {
		t.Fatal(err)
	}
	var last WatchdogState
	if err := value.Get(&last); err != nil {
		t.Fatal(err)
	}
	return last
}

// speak sends a sign of life at each of these times after the start.
func speak(env *testsuite.TestWorkflowEnvironment, action string, times ...time.Duration) {
	for _, after := range times {
		env.RegisterDelayedCallback(func() {
			env.SignalWorkflow(SignSignalName, SignOfLife{At: env.Now(), Listening: env.Now().Add(-time.Hour), Silence: runbooks.Duration(silence), Action: action})
		}, after)
	}
}

func minutes(from, to int) (times []time.Duration) {
	for i := from; i <= to; i++ {
		times = append(times, time.Duration(i)*time.Minute)
	}
	return times
}

// told are the headlines that people read, final ones marked.
func (g *ground) told() []string {
	var lines []string
	for _, n := range g.news {
		line := n.Message.Headline
		if n.Final {
			line += " (final)"
		}
		lines = append(lines, line)
	}
	return lines
}

func (g *ground) dead(hosts ...string) {
	for _, host := range hosts {
		g.finds["http://"+host] = runbooks.Unreachable
	}
}

func TestASiteThatSpeaksIsLeftAlone(t *testing.T) {
	g := newGround()
	g.dead("a1", "a2") // that is for alerts and heartbeats
	state := g.watched(t, WatchdogState{}, 2*time.Hour, func(env *testsuite.TestWorkflowEnvironment) {
		speak(env, WatchdogRecover, minutes(0, 120)...)
	})
	if len(g.looks)+len(g.asks)+len(g.news) > 0 || state.Silent != nil || state.Last.IsZero() {
		t.Errorf("looked at %v, asked for %v, told %q: %+v", g.looks, g.asks, g.told(), state)
	}
}

func TestASiteFallsSilent(t *testing.T) {
	g := newGround()
	g.dead("a1", "a2")
	var fell time.Time
	state := g.watched(t, WatchdogState{}, time.Hour, func(env *testsuite.TestWorkflowEnvironment) {
		speak(env, WatchdogRecover, minutes(0, 5)...)
		env.RegisterDelayedCallback(func() { fell = env.Now() }, 5*time.Minute)
		// The process that listens says so to the second.
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(SilenceSignalName, SilenceSignal{Since: fell}) }, 5*time.Minute+silence)
		speak(env, WatchdogRecover, minutes(30, 60)...)
	})
	if len(g.asks) != 2 || len(g.looks) < 10 {
		t.Fatalf("asked for %+v, looked %d times", g.asks, len(g.looks))
	}
	for i, ask := range g.asks {
		if took := g.asked[i].Sub(fell); took != silence {
			t.Errorf("%s was asked for after %s", ask.Service, took)
		}
		if !ask.Since.Equal(fell) || !strings.Contains(ask.Reason, "site dc-a is silent since") || !strings.Contains(ask.Reason, "watchdog: is down") || !strings.HasPrefix(ask.ID, "watchdog/dc-a/"+ask.Service) {
			t.Errorf("asked for %+v", ask)
		}
	}
	if want := []string{"dc-a is silent, 2 of 2 services are down", "dc-a speaks again (final)"}; !slices.Equal(g.told(), want) {
		t.Errorf("told %q, want %q", g.told(), want)
	}
	first := g.news[0]
	if text := strings.Join(first.Message.Lines, "\n"); !strings.Contains(text, "asr (primary): Dead.") || strings.Count(text, "A recovery runs.") != 2 || first.Service != "dc-a" || len(first.Notify) != 2 {
		t.Errorf("told %+v", first)
	}
	if g.news[1].Story != first.Story || g.news[1].Seq != 2 || state.Silent != nil {
		t.Errorf("the end: %+v, %+v", g.news[1], state)
	}
}

// Without the word of the process that listens, the durable timer ends the wait, a third of the silence later.
func TestTheTimerIsTheBackstop(t *testing.T) {
	g := newGround()
	g.dead("a1", "a2")
	var fell time.Time
	g.watched(t, WatchdogState{}, 10*time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		speak(env, WatchdogRecover, minutes(0, 2)...)
		env.RegisterDelayedCallback(func() { fell = env.Now() }, 2*time.Minute)
	})
	if len(g.looks) == 0 || g.looks[0].Sub(fell) != silence+silence/3 || len(g.asks) != 2 {
		t.Errorf("looked at %v, fell silent at %s, asked %d times", g.looks, fell, len(g.asks))
	}
}

func TestAfterOurOwnDowntimeAWholeSilenceMustPass(t *testing.T) {
	g := newGround()
	g.dead("a1", "a2")
	var started time.Time
	state := WatchdogState{Silence: runbooks.Duration(silence), Action: WatchdogRecover}
	g.watched(t, state, 10*time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { started = env.Now() }, 0)
		// The process came up one minute ago; its own signal is late.
		listening := env.Now().Add(-time.Minute)
		g.listening = func() time.Time { return listening }
		// The last sign is from long before.
		env.RegisterDelayedCallback(func() {
			env.SignalWorkflow(SignSignalName, SignOfLife{At: env.Now().Add(-time.Hour), Silence: runbooks.Duration(silence), Action: WatchdogRecover})
		}, 0)
	})
	if len(g.looks) == 0 || g.looks[0].Sub(started) < 2*time.Minute {
		t.Errorf("looked at %v, started at %s", g.looks, started)
	}
	if len(g.asks) != 2 {
		t.Errorf("asked for %+v", g.asks)
	}
}

// Another process has heard of the site, or this one has, a moment ago.
func TestSomebodyElseHasHeardOfTheSite(t *testing.T) {
	for name, heard := range map[string]func(g *ground, env *testsuite.TestWorkflowEnvironment){
		"another process": func(_ *ground, env *testsuite.TestWorkflowEnvironment) {
			speak(env, WatchdogRecover, minutes(0, 29)...)
		},
		"this one, which has not said so yet": func(g *ground, env *testsuite.TestWorkflowEnvironment) {
			speak(env, WatchdogRecover, 0)
			g.last = func() time.Time { return env.Now().Add(-time.Minute) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround()
			g.dead("a1", "a2")
			g.watched(t, WatchdogState{}, 30*time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
				heard(g, env)
				for i := range 9 { // one that listens where no alerts come
					env.RegisterDelayedCallback(func() { env.SignalWorkflow(SilenceSignalName, SilenceSignal{}) }, time.Duration(i)*silence+time.Second)
				}
			})
			if len(g.looks)+len(g.asks)+len(g.news) > 0 {
				t.Errorf("looked at %v, asked for %v, told %q", g.looks, g.asks, g.told())
			}
		})
	}
}

// silent lets a site speak once and then fall silent for so long.
func (g *ground) silent(t *testing.T, action string, limit time.Duration) WatchdogState {
	t.Helper()
	return g.watched(t, WatchdogState{}, limit, func(env *testsuite.TestWorkflowEnvironment) { speak(env, action, 0) })
}

func TestWhatIsDoneAboutASilentSite(t *testing.T) {
	for name, tt := range map[string]struct {
		action string
		change func(*ground)
		asks   []string
		told   string
		lines  []string
	}{
		"by policy, only a page": {
			WatchdogPage, func(g *ground) { g.dead("a1", "a2") }, nil, "dc-a is silent, 2 of 2 services are down", []string{"understudy recover asr"},
		},
		"only the monitoring is dead": {
			WatchdogRecover, func(*ground) {}, nil, "dc-a is silent, its services are not known to be down", []string{"asr (primary): Healthy", "Prometheus, Alertmanager"},
		},
		"one service is dead": {
			WatchdogRecover, func(g *ground) { g.finds["http://a2"] = runbooks.Refuses }, []string{"tts"}, "dc-a is silent, 1 of 2 services are down", []string{"tts (primary): Dead"},
		},
		"we are cut off": {
			WatchdogRecover, func(g *ground) { g.finds["*"] = runbooks.Unreachable }, nil, "dc-a is silent, and Understudy cannot see: nothing is done", []string{"cut off", "asr (primary): Unknown"},
		},
		"we are cut off, and so is the way to the witness": {
			WatchdogRecover, func(g *ground) { g.finds["*"], g.witnessed["*"] = runbooks.Unreachable, runbooks.Blind }, nil, "dc-a is silent, and Understudy cannot see: nothing is done", []string{"asr (primary): Unknown"},
		},
		"only the witness can be reached, and agrees": {
			WatchdogRecover, func(g *ground) { g.finds["*"], g.witnessed["*"] = runbooks.Unreachable, runbooks.Refuses }, []string{"asr", "tts"}, "dc-a is silent, 2 of 2 services are down", nil,
		},
		"the witness disagrees": {
			WatchdogRecover, func(g *ground) { g.dead("a1", "a2"); g.witnessed["x"] = runbooks.Answers }, nil, "dc-a is silent, its services are not known to be down", []string{"asr (primary): Unknown. observers disagree"},
		},
		"one site alone, nobody can confirm": {
			WatchdogRecover, func(g *ground) { g.books = g.books[:2]; g.dead("a1", "a2") }, nil, "dc-a is silent, its services are not known to be down", []string{"nobody else can confirm it"},
		},
		"one has moved away": {
			WatchdogRecover, func(g *ground) {
				g.dead("a1", "a2")
				g.actives["asr"] = runbooks.Target{Name: "hot", URL: "http://hot-a1", Site: "dc-b"}
			}, []string{"tts"}, "dc-a is silent, 1 of 1 services are down", nil,
		},
		"one is being recovered": {
			WatchdogRecover, func(g *ground) { g.dead("a1", "a2"); g.recovering["asr"] = true }, []string{"tts"}, "dc-a is silent, 2 of 2 services are down", []string{"asr (primary): Dead"},
		},
		"no service there": {
			WatchdogRecover, func(g *ground) { g.books = g.books[2:] }, nil, "dc-a is silent", []string{"No service of the runbooks runs there."},
		},
		"an instance hangs": {
			WatchdogRecover, func(g *ground) { g.finds["http://a1"] = runbooks.Silent }, []string{"asr"}, "dc-a is silent, 1 of 2 services are down", []string{"asr (primary): Hung"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround()
			tt.change(g)
			g.silent(t, tt.action, 20*time.Minute)
			var asked []string
			for _, ask := range g.asks {
				asked = append(asked, ask.Service)
			}
			slices.Sort(asked)
			if !slices.Equal(asked, tt.asks) || len(g.news) != 1 || g.news[0].Message.Headline != tt.told || len(g.looks) < 2 {
				t.Fatalf("asked for %q, told %q, looked %d times", asked, g.told(), len(g.looks))
			}
			text := strings.Join(g.news[0].Message.Lines, "\n")
			for _, want := range tt.lines {
				if !strings.Contains(text, want) {
					t.Errorf("people do not read %q:\n%s", want, text)
				}
			}
		})
	}
}

// A site of which nothing was ever heard is badly configured, which says nothing about its services.
func TestASiteThatNeverSpoke(t *testing.T) {
	g := newGround()
	g.dead("a1", "a2")
	g.watched(t, WatchdogState{}, 20*time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			env.SignalWorkflow(SignSignalName, SignOfLife{Listening: env.Now(), Silence: runbooks.Duration(silence), Action: WatchdogRecover})
		}, 0)
	})
	if len(g.asks) > 0 || len(g.news) != 1 || !strings.Contains(g.news[0].Message.Fields[0].Value, "none ever came") {
		t.Errorf("asked for %+v, told %+v", g.asks, g.news)
	}
}

func TestGuardsThatDoNotStartARecovery(t *testing.T) {
	for name, set := range map[string]func(*ground){
		"paused":  func(g *ground) { g.declines = "paused by mia" },
		"no word": func(g *ground) { g.lost = errors.New("no answer in time") },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround()
			g.dead("a1", "a2")
			set(g)
			g.watched(t, WatchdogState{}, 20*time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
				speak(env, WatchdogRecover, 0)
				env.RegisterDelayedCallback(func() {
					g.mu.Lock()
					defer g.mu.Unlock()
					g.declines, g.lost = "", nil
				}, 10*time.Minute)
			})
			ids, started := map[string]bool{}, 0
			for i, ask := range g.asks {
				ids[ask.ID] = true
				if i >= len(g.asks)-2 {
					started++
				}
			}
			// Each look asks anew while it is declined, each minute; then once, and not again.
			if len(ids) != len(g.asks) || len(g.asks) < 10 || len(g.asks) > 20 || started != 2 {
				t.Errorf("asked %d times with %d ids", len(g.asks), len(ids))
			}
			if len(g.news) != 2 || !strings.Contains(strings.Join(g.news[0].Message.Lines, " "), "No recovery was started: ") || !strings.Contains(strings.Join(g.news[1].Message.Lines, " "), "A recovery runs.") {
				t.Errorf("told %+v", g.news)
			}
		})
	}
}

// While a site is silent its services are looked at again: one may fail later.
func TestAServiceFailsLater(t *testing.T) {
	g := newGround()
	g.watched(t, WatchdogState{}, 30*time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		speak(env, WatchdogRecover, 0)
		env.RegisterDelayedCallback(func() { g.mu.Lock(); g.dead("a1"); g.mu.Unlock() }, 15*time.Minute)
	})
	if len(g.asks) != 1 || g.asks[0].Service != "asr" || len(g.news) != 2 {
		t.Errorf("asked for %+v, told %q", g.asks, g.told())
	}
}

func TestAProcessThatTakesNoAlerts(t *testing.T) {
	g := newGround()
	g.dead("a1", "a2")
	g.deaf = true
	g.silent(t, WatchdogRecover, 20*time.Minute)
	if len(g.looks)+len(g.asks)+len(g.news) > 0 {
		t.Errorf("looked at %v, asked for %v, told %q", g.looks, g.asks, g.told())
	}
}

func TestASiteThatIsNoLongerWatched(t *testing.T) {
	g := newGround()
	g.dead("a1", "a2")
	g.watched(t, WatchdogState{}, 2*time.Hour, func(env *testsuite.TestWorkflowEnvironment) {
		speak(env, WatchdogPage, 0)
		env.RegisterDelayedCallback(func() { g.gone = true }, 20*time.Minute)
	})
	if err := g.env.GetWorkflowError(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if want := []string{"dc-a is silent, 2 of 2 services are down", "dc-a is not watched over any more (final)"}; !slices.Equal(g.told(), want) {
		t.Errorf("told %q", g.told())
	}
}

// A watchdog carries over what it knows, in the middle of a silence too.
func TestAWatchdogContinuesAsNew(t *testing.T) {
	g := newGround()
	g.dead("a1", "a2")
	state := g.watched(t, WatchdogState{}, time.Hour, func(env *testsuite.TestWorkflowEnvironment) {
		speak(env, WatchdogRecover, 0)
		var again func()
		again = func() { // late copies, which change nothing
			env.SignalWorkflow(SignSignalName, SignOfLife{At: time.Unix(1, 0), Silence: runbooks.Duration(silence), Action: WatchdogRecover})
			env.RegisterDelayedCallback(again, time.Millisecond)
		}
		env.RegisterDelayedCallback(again, 20*time.Minute)
	})
	if state.Silent == nil || len(state.Silent.Asked) != 2 || state.Silent.Seq != 1 || state.Last.IsZero() {
		t.Fatalf("carried over: %+v", state)
	}
	next := newGround()
	next.dead("a1", "a2")
	since := state.Silent.Since
	after := next.watched(t, state, 17*time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
		env.SetStartTime(since.Add(25 * time.Minute))
		speak(env, WatchdogRecover, 15*time.Minute)
	})
	if len(next.asks) > 0 || len(next.news) != 1 || !next.news[0].Final || next.news[0].Seq != 2 || after.Silent != nil {
		t.Errorf("the next run: asked for %+v, told %q, %+v", next.asks, next.told(), after)
	}
}

func TestWhenAWatchdogLooks(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, tt := range map[string]struct {
		state WatchdogState
		want  bool
	}{
		"nothing is known":               {WatchdogState{}, false},
		"a word about nothing":           {WatchdogState{Word: true}, false},
		"it spoke":                       {WatchdogState{Last: ago(silence)}, false},
		"a word, and it spoke":           {WatchdogState{Last: ago(silence - 1), Word: true}, false},
		"a word, and it did not":         {WatchdogState{Last: ago(silence), Word: true}, true},
		"a word of one that just began":  {WatchdogState{Last: ago(time.Hour), Listening: ago(silence - 1), Word: true}, false},
		"the timer":                      {WatchdogState{Last: ago(silence + silence/3)}, true},
		"the timer, a moment before":     {WatchdogState{Last: ago(silence + silence/3 - 1)}, false},
		"the timer of one that began":    {WatchdogState{Last: ago(time.Hour), Listening: ago(silence)}, false},
		"silent, and just looked at":     {WatchdogState{Last: ago(time.Hour), Silent: &Silent{Looked: ago(time.Minute - 1)}}, false},
		"silent, and time to look again": {WatchdogState{Last: ago(time.Hour), Silent: &Silent{Looked: ago(time.Minute)}}, true},
		"silent, and a word says so":     {WatchdogState{Last: ago(time.Hour), Silent: &Silent{Looked: ago(time.Second)}, Word: true}, false},
	} {
		if name != "nothing is known" && name != "a word about nothing" {
			tt.state.Silence = runbooks.Duration(silence)
		}
		if got := tt.state.expired(now); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for given, want := range map[time.Duration]time.Duration{time.Second: 10 * time.Second, 3 * time.Minute: time.Minute, 24 * time.Hour: 5 * time.Minute} {
		if got := (&WatchdogState{Silence: runbooks.Duration(given)}).again(); got != want {
			t.Errorf("a silence of %s is looked into again after %s, want %s", given, got, want)
		}
	}
	if text := fmt.Sprint(WatchdogID("dc-a")); text != "watchdog/dc-a" {
		t.Error(text)
	}
}
