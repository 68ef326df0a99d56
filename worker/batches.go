package worker

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	sdkworker "go.temporal.io/sdk/worker"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/audio"
	"github.com/understudy-dr/understudy/activities/jobs/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/speech/chunk"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// batchesAtOnce bounds the parts of batches that this process works off at
// once: each has requests of its own in flight, and recoveries share the machine.
const batchesAtOnce = 8

// batchBeat is how often the progress of a part reaches the engine: people look at it.
const batchBeat = 2 * time.Second

// batchTools make what batches are run with.
func batchTools(site runbooks.Site, objects *s3client.Clients) activities.BatchTools {
	// Without a decoder long audio is sent whole; the runbook's other work must not suffer from that.
	var cutter jobs.Cutter
	if made, err := chunk.New(chunk.Options{}); err == nil {
		cutter = made
	}
	opener := audio.New(audio.Options{Clients: objects, Roots: []string{"s3://"}, Dir: filepath.Join(site.DataDir, "audio")})
	client := speech.NewClient()
	var mu sync.Mutex
	stores := map[string]*jobs.Store{}
	return activities.BatchTools{
		Store: func(url string) (*jobs.Store, error) {
			mu.Lock()
			defer mu.Unlock()
			if s := stores[url]; s != nil {
				return s, nil
			}
			at, client, err := bucketOf(url, objects)
			if err != nil {
				return nil, fmt.Errorf("%w: batches.store: %v", jobs.ErrInvalid, err)
			}
			stores[url] = jobs.NewStore(s3store.New(client, at))
			return stores[url], nil
		},
		Runner: func(s *jobs.Store) *jobs.Runner {
			return &jobs.Runner{Store: s, Audio: opener, Speech: client, Cutter: cutter}
		},
	}
}

// newBatchWorker runs batches beside recoveries, which never wait behind them.
func (p *program) newBatchWorker() sdkworker.Worker {
	w := sdkworker.New(p.engine.client, workflows.BatchQueue, sdkworker.Options{
		WorkerStopTimeout:                  stopTimeout,
		MaxConcurrentActivityExecutionSize: batchesAtOnce,
		DefaultHeartbeatThrottleInterval:   batchBeat,
		MaxHeartbeatThrottleInterval:       batchBeat,
		DisableRegistrationAliasing:        true,
	})
	workflows.Register(w)
	w.RegisterActivity(p.acts)
	return w
}
