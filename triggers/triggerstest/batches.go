package triggerstest

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/audio"
	"github.com/understudy-dr/understudy/activities/jobs/jobstest"
	"github.com/understudy-dr/understudy/activities/jobs/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
)

// BatchStore is the batch store in the runbooks of [BatchLibrary].
const BatchStore = "s3://batches/asr"

// Batches is a batch store in memory, and an engine that only notes on which
// jobs it would work.
type Batches struct {
	*jobs.Store
	// Objects are the clients of the store; it has the buckets batches and audio.
	Objects *s3client.Clients

	mu   sync.Mutex
	runs map[string]triggers.BatchRun
	// started are the starts, in order; failures how many of the next ones fail.
	started  []activities.StartBatchInput
	failures int
}

// NewBatches starts the store.
func NewBatches(t testing.TB) *Batches {
	t.Helper()
	client, site := jobstest.InMemory(t, "batches", "audio")
	return &Batches{
		Store: jobs.NewStore(s3store.New(client, s3client.Location{Bucket: "batches", Key: "asr"})), Objects: s3client.New(map[string]runbooks.S3{"default": site}),
		runs: map[string]triggers.BatchRun{},
	}
}

// Batching is how the API reaches them.
func (b *Batches) Batching() triggers.Batching {
	return triggers.Batching{
		Store: func(url string) (*jobs.Store, error) {
			if url != BatchStore {
				return nil, jobs.ErrInvalid
			}
			return b.Store, nil
		},
		Manifests: audio.New(audio.Options{Clients: b.Objects, Roots: []string{"s3://"}, Dir: os.TempDir()}), Runs: b,
	}
}

// BatchLibrary is a library whose runbooks have a batch store.
func BatchLibrary(services ...string) *runbooks.Library {
	var books []runbooks.Runbook
	for _, s := range services {
		r := Runbook(s)
		r.Batches = &runbooks.Batches{Store: BatchStore, Concurrency: 3, Attempts: 2, OnModelChange: jobs.FinishOld}
		books = append(books, r)
	}
	return runbooks.NewLibrary(books...)
}

// Works sets what the engine says of a job.
func (b *Batches) Works(job string, run triggers.BatchRun) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs[job] = run
}

// Fail makes the next starts fail.
func (b *Batches) Fail(starts int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = starts
}

// Started are the starts so far.
func (b *Batches) Started() []activities.StartBatchInput {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]activities.StartBatchInput(nil), b.started...)
}

// StartBatch notes the start.
func (b *Batches) StartBatch(_ context.Context, in activities.StartBatchInput) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures > 0 {
		b.failures--
		return errors.New("connection refused")
	}
	b.started = append(b.started, in)
	run := b.runs[in.Job]
	run.Running = true
	b.runs[in.Job] = run
	return nil
}

// StopBatch ends the work.
func (b *Batches) StopBatch(_ context.Context, _, job string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.runs, job)
	return nil
}

// BatchRun says what the test has put.
func (b *Batches) BatchRun(_ context.Context, _, job string) (triggers.BatchRun, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs[job], nil
}
