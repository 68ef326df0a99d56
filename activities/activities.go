// Package activities says HOW: the verbs that workflows use to look at the
// world and to change it.
//
// Below it there is one package per capability, below that one per
// implementation; this package knows only the capabilities' interfaces. What it
// adds is what makes their use safe inside a durable workflow: bounded time,
// the check of epoch and deadline just before an effect, and the classification
// of errors into those that a retry can mend and those that it cannot.
//
// Activities that only look run as local activities, at most a second each.
// Whatever changes the world is a regular activity, so that what was seen is in
// the history before anything is done about it.
package activities

import (
	"context"
	"time"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/fence"
	"github.com/understudy-dr/understudy/activities/files"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/activities/settings"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

// LookLimit bounds every look that runs inside a workflow task: a task that
// takes longer than its timeout would be started again from the beginning.
const LookLimit = time.Second

// Guards is the way from an activity back to the workflows.
type Guards interface {
	// May asks the guard of a service whether an effect of this epoch may still be carried out.
	May(ctx context.Context, service string, epoch int64) error
	// Running reports whether a recovery is still running, and its result where it is not.
	Running(ctx context.Context, service string, epoch int64) (RecoveryStatus, error)
	// Terminate ends a recovery that does not end itself.
	Terminate(ctx context.Context, service string, epoch int64, reason string) error
	// Announce hands news to the announcement of a recovery, starting it where needed.
	Announce(ctx context.Context, in AnnounceInput) error
	// Budget takes from, or gives back to, what all services may use together.
	Budget(ctx context.Context, in BudgetInput) (BudgetResult, error)
	// Holds tells what a service's guard holds on to.
	Holds(ctx context.Context, service string) (Held, error)
	// StartBatch starts the workflow of a batch, or finds that it runs.
	StartBatch(ctx context.Context, in StartBatchInput) error
	// AtWork lists the batches of a service that have something in flight, or may.
	AtWork(ctx context.Context, service string) ([]string, error)
	// Drill asks a guard for a drill.
	Drill(ctx context.Context, in AskDrillInput) (AskDrillResult, error)
	// Booting tells a recovery where the boot of its machine is.
	Booting(ctx context.Context, in BootNews) error
}

// epochPatience holds where the site file says nothing else.
const epochPatience = 250 * time.Millisecond

// Deps are what activities work with; package worker assembles them.
type Deps struct {
	// Library returns the runbooks as they stand now.
	Library func() *runbooks.Library
	// Engine names this Understudy where epochs are recorded, so that two of them can tell each other apart.
	Engine    string
	Prober    probe.Prober
	Witnesses []Witness
	Balancers func(runbooks.Traffic) (traffic.Balancer, error)
	Canaries  *speech.CanaryRunner
	// Files keeps what it has read for bad times; Sources always asks.
	Files    files.Opener
	Sources  files.Opener
	Settings *settings.Reader
	// Epochs is nil where the site file names no store.
	Epochs epoch.Store
	// EpochPatience is how long a hot switch waits for that store. One that answers takes a few milliseconds; one that
	// does not must not cost the service more than this.
	EpochPatience time.Duration
	Fences        fence.Fencer
	// Providers make machines, Mounter brings model volumes to this host, Replicas restore data by its kind.
	Providers func(runbooks.Provision) (compute.Provider, error)
	Mounter   func(runbooks.Volume) (volumes.Mounter, error)
	// Models proves model volumes in their buckets.
	Models   volumes.Prover
	Replicas map[string]replica.Replica
	// Boot renders what a machine does first.
	Boot func(BootRequest) (string, error)
	// Buckets asks whether a bucket answers.
	Buckets func(ctx context.Context, bucket string) error
	// Batches run batch-transcription jobs.
	Batches BatchTools
	// StateDir is where files for made machines are kept.
	StateDir string
	// Budgets bound what all services may do together.
	Budgets runbooks.Budgets
	Chats   map[string]chat.Messenger
	// Secrets are the references of the site file, for readiness to look at.
	Secrets []runbooks.Secret
	Reports reports.Store
	// Traces exports the trace of a report's JSON, without waiting; nil exports none.
	Traces func(report []byte)
	// Print makes the files for people of a report's JSON, by extension (.md, .html); nil makes none.
	Print  func(report []byte) (map[string][]byte, error)
	Guards Guards
	// SearchAttributes reports whether the engine has Understudy's search attributes.
	SearchAttributes bool
	Links            runbooks.Links
	Namespace        string
}

// Witness is a machine that looks from elsewhere.
type Witness struct {
	Name   string
	Prober probe.Prober
}

// Activities holds what the activities of this process share. Workflows refer
// to its methods through a nil pointer.
type Activities struct {
	Deps
	effects *effects
}

// New makes activities.
func New(deps Deps) *Activities {
	if deps.EpochPatience <= 0 {
		deps.EpochPatience = epochPatience
	}
	awake.watch()
	return &Activities{Deps: deps, effects: newEffects()}
}

// Timing is when a piece of work began and ended, measured where it was done:
// a workflow's own clock stands still between its tasks.
type Timing struct {
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
}

func begin() Timing { return Timing{Started: time.Now()} }

func (t Timing) end() Timing {
	t.Ended = time.Now()
	return t
}
