package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	batchBucket = "batches"
	batchStore  = "s3://" + batchBucket + "/asr"
	batchJob    = "night"
	batchItems  = 6
)

// batch submits a job, and kills the primary while it is worked off.
func batch(p *play) {
	p.do(p.submit)
	p.do(func(ctx context.Context) error {
		_, err := p.engine.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
			ID: workflows.BatchID(p.Runbook.Service, batchJob), TaskQueue: workflows.BatchQueue,
		}, workflows.Batch, workflows.BatchInput{Service: p.Runbook.Service, Job: batchJob})
		return err
	})
	p.kill(p.Primary.Process)
	p.fire()
	p.outcome(workflows.OutcomeRecovered)
	p.do(func(ctx context.Context) error {
		var result workflows.BatchResult
		if err := p.engine.GetWorkflow(ctx, workflows.BatchID(p.Runbook.Service, batchJob), "").Get(ctx, &result); err != nil {
			return err
		}
		if result.Outcome != workflows.BatchDone || result.Report == nil || result.Report.Succeeded != batchItems {
			return fmt.Errorf("the batch: %+v", result)
		}
		return nil
	})
}

// submit puts audio and a job into the store.
func (p *play) submit(ctx context.Context) error {
	store := p.Cold.MinIO
	if err := store.CreateBucket(ctx, batchBucket); err != nil {
		return err
	}
	recordings := filepath.Join(p.Dir, "recordings")
	if err := os.MkdirAll(recordings, 0o755); err != nil {
		return err
	}
	clip, err := os.ReadFile(filepath.Join(p.Dir, harness.Recording))
	if err != nil {
		return err
	}
	var manifest strings.Builder
	for i := range batchItems {
		name := fmt.Sprintf("%02d.wav", i)
		if err := os.WriteFile(filepath.Join(recordings, name), clip, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&manifest, "{\"audio_filepath\": %q, \"duration\": 3.0}\n", name)
	}
	if err := store.Upload(ctx, batchBucket, "audio", recordings); err != nil {
		return err
	}
	at, err := s3client.ParseURL(batchStore)
	if err != nil {
		return err
	}
	api, err := store.Clients().For(at.Bucket)
	if err != nil {
		return err
	}
	job := jobs.Job{ID: batchJob, Service: p.Runbook.Service, CreatedAt: time.Now().UTC(), CreatedBy: somebody, Base: "s3://" + batchBucket + "/audio"}
	job.Apply(runbooks.Batches{Store: batchStore, Concurrency: 2, Chunk: runbooks.Duration(time.Minute), Attempts: 3, OnModelChange: "finish-old"})
	_, err = jobs.NewStore(s3store.New(api, at)).Create(ctx, job, strings.NewReader(manifest.String()))
	return err
}

// watchdog starts one, to which nothing happens.
func watchdog(p *play) {
	p.do(func(ctx context.Context) error {
		_, err := p.engine.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "watchdog/dc-a", TaskQueue: workflows.TaskQueue}, workflows.Watchdog, workflows.WatchdogInput{
			Site: "dc-a", State: workflows.WatchdogState{Silence: runbooks.Duration(time.Hour), Action: "page", Listening: time.Now()},
		})
		return err
	})
	// The engine lists what is started a moment later than it starts.
	p.do(func(ctx context.Context) error {
		return until(ctx, func(ctx context.Context) error {
			list, err := p.engine.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: `WorkflowType = "Watchdog"`})
			if err == nil && len(list.GetExecutions()) == 0 {
				err = errors.New("the watchdog is not listed")
			}
			return err
		})
	})
}
