package activities

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// guest is a machine that writes to its console one line each time somebody
// hears of the line before, and then does what a test says.
type guest struct {
	compute.Provider
	mu     sync.Mutex
	lines  []string
	shown  int
	news   []BootNews
	ready  bool
	ends   compute.State
	detail string
	// deaf is a console that answers when it is closed.
	deaf  chan struct{}
	asked int
	state compute.State
}

func (g *guest) Console(_ context.Context, _ compute.Ref) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked++; g.asked == 1 {
		return "", errors.New("the console does not answer yet")
	}
	if g.deaf != nil {
		g.mu.Unlock()
		<-g.deaf
		g.mu.Lock()
	}
	if g.shown < len(g.lines) {
		g.shown++
	}
	if g.shown == len(g.lines) && g.ends != "" {
		g.state = g.ends
	}
	return strings.Join(g.lines[:g.shown], "\n"), nil
}

// listener is who hears of a guest's boot.
type listener struct {
	Guards
	*guest
}

func (l listener) Booting(_ context.Context, in BootNews) error {
	g := l.guest
	g.mu.Lock()
	defer g.mu.Unlock()
	g.news = append(g.news, in)
	return errors.New("nobody hears it; that must not matter")
}

func (g *guest) Describe(context.Context, compute.Ref) (compute.Machine, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return compute.Machine{ID: "i-1", State: g.state, Address: "10.0.0.1", Detail: g.detail}, nil
}

func (g *guest) Probe(context.Context, probe.Request) probe.Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ready && (g.deaf != nil || g.shown == len(g.lines)) {
		return probe.Result{Finding: runbooks.Answers}
	}
	return probe.Result{Finding: runbooks.Refuses, Detail: "connection refused"}
}

func (g *guest) await(t *testing.T, within time.Duration, change func(*compute.Ref)) (ReadyResult, error) {
	t.Helper()
	g.state = compute.Running
	acts := New(Deps{Prober: g, Guards: listener{guest: g}, Providers: func(runbooks.Provision) (compute.Provider, error) { return g, nil }})
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	env.RegisterActivity(acts)
	ref := compute.Ref{ID: "i-1", Key: "key-1"}
	if change != nil {
		change(&ref)
	}
	value, err := env.ExecuteActivity(acts.AwaitReady, AwaitReadyInput{Target: runbooks.Target{URL: "http://10.0.0.1"}, Machine: &ref, Until: time.Now().Add(within)})
	var out ReadyResult
	if err == nil {
		err = value.Get(&out)
	}
	return out, err
}

func (g *guest) told() (text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.news {
		if n.Key != "key-1" || n.Recovery == "" || n.Run == "" {
			text += "(of nobody) "
		}
		text += n.Step.String() + "; "
	}
	return text
}

func TestABootIsToldStepByStep(t *testing.T) {
	g := &guest{ready: true, lines: []string{
		"[0.1] Linux\nunderstudy: step kernel done after 1 s", "noise\nunderstudy: step mount begin /m from s3://m/m\x1b[31m", "understudy: step mount done /m",
	}}
	out, err := g.await(t, 30*time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := g.told(), "kernel done after 1 s; mount begin /m from s3://m/m.[31m; "; !strings.HasPrefix(got, want) {
		t.Errorf("told: %s", got)
	}
	if len(out.Boot) < 2 || out.Boot[0].Name != "kernel" || out.Boot[0].At.Before(out.Started) {
		t.Errorf("result: %+v", out.Boot)
	}
}

func TestABootThatFailsSaysWhy(t *testing.T) {
	failing := []string{"understudy: step kernel done", "understudy: step verify failed /m: model.pt has 3 bytes, the manifest says 4"}
	for name, c := range map[string]struct {
		guest  *guest
		change func(*compute.Ref)
		within time.Duration
		want   []string
		not    string
	}{
		"a step fails, and the machine stays on": {&guest{lines: failing}, nil, time.Minute, []string{"step verify failed: /m: model.pt has 3 bytes"}, ""},
		"it switches itself off": {&guest{lines: failing, ends: compute.Gone, detail: "its own reason"}, nil, time.Minute,
			[]string{"step verify failed: /m: model.pt has 3 bytes"}, ""},
		"the provider has said it already": {&guest{lines: failing[1:], ends: compute.Gone, detail: "off; step verify failed: /m: model.pt has 3 bytes, the manifest says 4"}, nil, time.Minute,
			[]string{"/m: model.pt has 3 bytes"}, "; step verify failed: /m: model.pt has 3 bytes, the manifest says 4; step verify"},
		"it hangs in a step": {&guest{lines: []string{"understudy: step mount begin /m from s3://m/m"}}, nil, 2 * time.Second,
			[]string{"not ready in time", "its boot came as far as: mount begin /m from s3://m/m"}, ""},
		"a prepared one shows an earlier boot": {&guest{lines: failing}, func(r *compute.Ref) { r.Placement.Instance = "asr-1" }, 3 * time.Second, []string{"not ready in time"}, ""},
		"its kernel panics": {&guest{lines: []string{"a\nb\naws_secret_access_key = hunter2\nKernel panic: no init"}, ends: compute.Gone}, nil, time.Minute,
			[]string{"its console ends: b | aws_secret_access_key = (hidden) | Kernel panic: no init"}, "hunter2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := c.guest.await(t, c.within, c.change)
			var app *temporal.ApplicationError
			if !errors.As(err, &app) || app.Type() != ErrTypeLost {
				t.Fatalf("it is %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %s", err, want)
				}
			}
			if c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Errorf("%v\nhas %s", err, c.not)
			}
		})
	}
}

// Its console answers only when the test is over.
func TestAConsoleThatHangsDelaysNothing(t *testing.T) {
	g := &guest{ready: true, deaf: make(chan struct{})}
	defer close(g.deaf)
	if _, err := g.await(t, time.Minute, nil); err != nil {
		t.Fatal(err)
	}
}

// A machine cannot flood the history, nor carry a secret into it.
func TestWhatAConsoleMaySay(t *testing.T) {
	var w bootWatch
	for range 5 {
		var many []compute.BootStep
		for i := range 100 {
			many = append(many, compute.BootStep{Name: strings.Repeat("n", 500), State: "done", Detail: strings.Repeat("d", i) + strings.Repeat(" x", 1000)})
		}
		w.keep(many)
	}
	if len(w.steps) > bootSteps {
		t.Errorf("%d steps", len(w.steps))
	}
	for _, s := range w.steps {
		if len(s.String()) > 300 {
			t.Errorf("a step has %d bytes", len(s.String()))
		}
	}
	for said, want := range map[string]string{
		"PASSWORD=hunter2 ok":                       "PASSWORD=(hidden) ok",
		"password: hunter2":                         "password: (hidden)",
		`{"api_key":"hunter2","a":1}`:               `{"api_key":(hidden),"a":1}`,
		"Authorization: Bearer hunter2 next":        "Authorization: (hidden) next",
		"id AKIAABCDEFGHIJKLMNOP here":              "id (hidden) here",
		"loads s3://models/asr, 37 tokens per line": "loads s3://models/asr, 37 tokens per line",
	} {
		if got := discreet(said, 200); got != want {
			t.Errorf("%q became %q", said, got)
		}
	}
}
