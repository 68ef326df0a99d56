package workflows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/fence"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/activities/settings"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

// world is a speech service with its surroundings, as the capabilities show it:
// two instances behind a load balancer. Workflows run on it with the real
// activities. Everything may change under way, and everything is counted.
type world struct {
	mu sync.Mutex
	// findings are what a probe of an instance sees, by URL.
	findings map[string]runbooks.Finding
	// heard is what an instance transcribes, by URL; the front door's is that of the server on the traffic.
	heard map[string]string
	// servers are the load balancer's.
	servers  map[string]*traffic.Server
	selfMove bool
	inFlight *runbooks.InFlight
	// applied are the changes that the load balancer took.
	applied []traffic.Change
	// balancerErr, fenceErr are what those parts fail with.
	balancerErr, fenceErr error
	fences                int
	epochs                *memoryEpochs
	news                  []activities.AnnounceInput
	files                 map[string]string
	runbook               runbooks.Runbook
	// keeps lets the load balancer be watched for real.
	keeps bool
	// machines makes machines; mounted and restored are what was brought, by key; bucket, mountErr, restoreErr are what those parts fail with.
	machines                     *machines
	mounted, restored            map[string]bool
	atWork                       []string
	bucket, mountErr, restoreErr error
	points                       map[int64]replica.Point
	// hashes is what hashing a volume behind its service comes to.
	hashes  func(ctx context.Context) error
	calls   []string
	budget  BudgetState
	batches []string
	// booted is what was told of boots; onBoot is called with it.
	booted []activities.BootNews
	onBoot func(activities.BootNews)
	// console is what machines have written while they boot; nil where they have none.
	console []string
	// shown is how many of its lines are there.
	shown int
	// onApply is called before the load balancer takes a change.
	onApply func()
}

const (
	primaryURL = "http://primary"
	hotURL     = "http://hot"
	frontURL   = "http://front"
	digits     = "one two three"
)

func newWorld() *world {
	up := func() *bool { yes := true; return &yes }
	return &world{
		findings: map[string]runbooks.Finding{primaryURL: runbooks.Refuses, hotURL: runbooks.Answers},
		heard:    map[string]string{primaryURL: digits, hotURL: digits},
		servers: map[string]*traffic.Server{
			"primary": {Name: "primary", State: traffic.Ready, Up: up()},
			"hot":     {Name: "hot", State: traffic.Maint},
		},
		machines: newMachines(), mounted: map[string]bool{}, restored: map[string]bool{}, points: map[int64]replica.Point{},
		epochs: &memoryEpochs{records: map[string]epoch.Record{}},
		files:  map[string]string{},
		runbook: runbooks.Runbook{
			APIVersion: runbooks.APIVersion, Service: "asr",
			Primary: runbooks.Primary{URL: primaryURL, Server: "primary"},
			Health:  runbooks.Health{Kind: "http", Path: "/health", Timeout: runbooks.Duration(100 * time.Millisecond)},
			Canary:  &runbooks.Canary{Timeout: runbooks.Duration(time.Second), Transcribe: &runbooks.Transcribe{Audio: "digits.wav", Expect: digits}},
			Traffic: runbooks.Traffic{Kind: "haproxy", Front: frontURL, Reconcile: runbooks.Duration(10 * time.Millisecond)},
			Tiers:   []runbooks.Tier{{Name: "hot", URL: hotURL, Server: "hot", Hold: true, Within: runbooks.Duration(5 * time.Second)}},
			Notify:  []runbooks.Notify{{Kind: "slack", Channel: "#oncall"}},
			Policy: runbooks.Policy{
				Cooldown: runbooks.Duration(10 * time.Minute), Confirm: runbooks.Duration(30 * time.Millisecond), ConfirmEvery: runbooks.Duration(10 * time.Millisecond),
				Observe: runbooks.Duration(300 * time.Millisecond), Deadline: runbooks.Duration(30 * time.Minute), Degraded: "page",
			},
		},
	}
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// states are the servers' states at the load balancer.
func (w *world) states() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := ""
	for _, name := range slices.Sorted(maps.Keys(w.servers)) {
		text += name + "=" + string(w.servers[name].State) + " "
	}
	return text[:len(text)-1]
}

// at is the instance that answers at a URL: the front door passes on.
func (w *world) at(url string) (string, bool) {
	if url != frontURL {
		return url, true
	}
	serving := w.view().Serving()
	if len(serving) == 0 {
		return "", false
	}
	return "http://" + serving[0], true
}

func (w *world) view() traffic.View {
	v := traffic.View{At: time.Now()}
	for _, name := range slices.Sorted(maps.Keys(w.servers)) {
		s := *w.servers[name]
		if s.State == traffic.Ready {
			up := w.findings["http://"+name] == runbooks.Answers
			s.Up = &up
		} else {
			s.Up = nil
		}
		if name == "primary" {
			s.Requests = w.inFlight
		}
		v.Servers = append(v.Servers, s)
	}
	return v
}

func (w *world) Probe(_ context.Context, r probe.Request) probe.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	url, ok := w.at(r.URL)
	finding := w.findings[url]
	if !ok {
		finding = runbooks.Errors
	}
	return probe.Result{Finding: finding, Detail: "as the test says", At: time.Now()}
}

func (w *world) View(context.Context) (traffic.View, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.balancerErr != nil {
		return traffic.View{}, w.balancerErr
	}
	return w.view(), nil
}

func (w *world) Apply(_ context.Context, c traffic.Change) (traffic.View, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.onApply != nil {
		w.onApply()
	}
	if w.balancerErr != nil {
		return traffic.View{}, w.balancerErr
	}
	w.applied = append(w.applied, c)
	for _, a := range c.Set {
		w.servers[a.Server].State = a.State
		if a.Address != "" {
			w.servers[a.Server].Address = a.Address
		}
	}
	return w.view(), nil
}

func (w *world) Transcribe(_ context.Context, r speech.TranscribeRequest) (speech.Transcript, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	url, ok := w.at(r.URL)
	switch finding := w.findings[url]; {
	case !ok, finding == runbooks.Errors:
		return speech.Transcript{}, fmt.Errorf("%w: 503", speech.ErrServer)
	case finding == runbooks.Silent:
		return speech.Transcript{}, speech.ErrMute
	case finding == runbooks.Refuses:
		return speech.Transcript{}, speech.ErrGone
	}
	return speech.Transcript{Text: w.heard[url]}, nil
}

func (w *world) Synthesize(context.Context, speech.SynthesizeRequest) (speech.Audio, error) {
	return speech.Audio{}, errors.New("this world is deaf")
}

func (w *world) Set(context.Context, fence.Order) (fence.Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fences++
	return fence.Outcome{Confirmed: "it refuses connections"}, w.fenceErr
}

func (w *world) Read(context.Context, string) ([]byte, error) { return []byte("RIFF"), nil }

func (w *world) Write(_ context.Context, name string, content []byte) error {
	w.change(func() { w.files[name] = string(content) })
	return nil
}

func (w *world) List(context.Context, string) ([]string, error) { return nil, nil }

func (w *world) May(context.Context, string, int64) error { return nil }

func (w *world) Running(context.Context, string, int64) (activities.RecoveryStatus, error) {
	return activities.RecoveryStatus{Running: true}, nil
}

func (w *world) Terminate(context.Context, string, int64, string) error { return nil }

func (w *world) Announce(_ context.Context, in activities.AnnounceInput) error {
	w.change(func() { w.news = append(w.news, in) })
	return nil
}

// reportStore keeps reports in the world; Read means something else there.
type reportStore struct{ *world }

func (s reportStore) Create(ctx context.Context, name string, content []byte) error {
	if _, err := s.Read(ctx, name); err == nil {
		return reports.ErrExists
	}
	return s.Write(ctx, name, content)
}

func (s reportStore) List(_ context.Context, prefix string) (names []string, err error) {
	s.change(func() {
		for name := range s.files {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
	})
	slices.Sort(names)
	return names, nil
}

func (s reportStore) Read(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, ok := s.files[name]
	if !ok {
		return nil, reports.ErrNone
	}
	return []byte(content), nil
}

// memoryEpochs is an epoch store that may be away.
type memoryEpochs struct {
	mu      sync.Mutex
	records map[string]epoch.Record
	away    bool
}

func (m *memoryEpochs) Read(_ context.Context, service string) (epoch.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[service]
	switch {
	case m.away:
		return r, epoch.ErrUnavailable
	case !ok:
		return r, epoch.ErrNone
	}
	return r, nil
}

func (m *memoryEpochs) Write(_ context.Context, r epoch.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.records[r.Service]
	switch {
	case m.away:
		return epoch.ErrUnavailable
	case ok && (known.Epoch > r.Epoch || known.Epoch == r.Epoch && known.Holder != r.Holder):
		return &epoch.HeldError{Current: known}
	}
	m.records[r.Service] = r
	return nil
}

// env is a test environment whose activities work on the world.
func (w *world) env(t *testing.T, id string) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetDisableRegistrationAliasing(true)
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id, TaskQueue: TaskQueue})
	env.SetTestTimeout(30 * time.Second)
	Register(env)
	env.RegisterActivity(activities.New(activities.Deps{
		Library:   func() *runbooks.Library { return runbooks.NewLibrary(w.runbook) },
		Engine:    "test",
		Prober:    w,
		Balancers: func(runbooks.Traffic) (traffic.Balancer, error) { return w, nil },
		Canaries:  speech.NewCanaryRunner(w),
		Files:     w,
		Settings:  settings.NewReader(settings.ReaderConfig{}),
		Epochs:    w.epochs,
		Fences:    w,
		Reports:   reportStore{w},
		Guards:    w,
		Providers: func(runbooks.Provision) (compute.Provider, error) {
			if w.console != nil {
				return talking{w.machines, w}, nil
			}
			return w.machines, nil
		},
		Mounter:  func(runbooks.Volume) (volumes.Mounter, error) { return w, nil },
		Replicas: map[string]replica.Replica{"litestream": w},
		Sources:  w,
		Boot:     func(activities.BootRequest) (string, error) { return "#cloud-config\n", nil },
		Buckets:  func(context.Context, string) error { return w.bucket },
	}))
	return env
}
