package triggers

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// Batching is what the API needs for batches. The jobs themselves are in the
// batch store of the runbook; the engine only works on them.
type Batching struct {
	// Store opens the batch store at an s3:// URL.
	Store func(url string) (*jobs.Store, error)
	// Manifests opens manifests by their s3:// URL.
	Manifests jobs.Opener
	Runs      BatchRuns
}

// BatchRuns is the way to the workflows of batches.
type BatchRuns interface {
	// StartBatch has a job worked on; one that is worked on already goes on.
	StartBatch(ctx context.Context, in activities.StartBatchInput) error
	// StopBatch cancels the work on a job; where nobody works on it that is fine.
	StopBatch(ctx context.Context, service, job string) error
	// BatchRun says whether a job is worked on, and how far that is.
	BatchRun(ctx context.Context, service, job string) (BatchRun, error)
}

// BatchRun is the work on a job.
type BatchRun struct {
	// Running is false where no workflow works on it; State and Live are then empty.
	Running bool
	// Ended is how the latest workflow ended; nil where one runs, or none is known.
	Ended *workflows.BatchResult
	State workflows.BatchState
	// Live is how far the part is that is being worked off, as its worker said last.
	Live jobs.Progress
}

// Batch is one batch as lists show it.
type Batch struct {
	Job     string `json:"job"`
	Service string `json:"service"`
	State   string `json:"state" enum:"waiting,running,finished,cancelled,unreadable" doc:"waiting, running, finished, cancelled, or unreadable"`
	Reason  string `json:"reason,omitempty" doc:"what it waits for, or why it ended"`
	// Working is true where Understudy works on it, or waits with it for its service.
	Working       bool    `json:"working" doc:"whether Understudy works on it, or waits with it for its service"`
	Items         int64   `json:"items"`
	Succeeded     int64   `json:"succeeded"`
	Failed        int64   `json:"failed"`
	Quarantined   int64   `json:"quarantined" doc:"items that were tried too often, because the server died or hung with them"`
	AudioSeconds  float64 `json:"audio_seconds" doc:"seconds of audio that are transcribed"`
	TotalSeconds  float64 `json:"total_seconds" doc:"seconds of audio in the manifest"`
	RedoneSeconds float64 `json:"redone_seconds" doc:"seconds of audio that were sent in vain, and then again"`
	Speed         float64 `json:"speed,omitempty" doc:"seconds of audio transcribed a second"`
	LeftSeconds   float64 `json:"left_seconds,omitempty" doc:"how long the rest will take at this speed, in seconds"`
	On            string  `json:"on,omitempty" doc:"where it is worked on: primary, or a tier"`
	Epoch         int64   `json:"epoch" doc:"the service's epoch at which it is worked on"`
	Moves         int     `json:"moves" doc:"how often it went on at another place or epoch"`
	Holder        string  `json:"holder,omitempty" doc:"who worked on it last"`
	Round         int     `json:"round" doc:"grows when failed items are tried again"`
	// Created and Moved are when the job was made, and when its head was moved last.
	Created   time.Time `json:"created,omitzero"`
	CreatedBy string    `json:"created_by,omitempty"`
	Moved     time.Time `json:"moved,omitzero" doc:"when its progress was written down last"`
	Link      string    `json:"link" doc:"the batch in the Temporal UI"`
}

// BatchDetail is one batch with what it was made of, and how it ended.
type BatchDetail struct {
	Batch
	Store      string       `json:"store" doc:"where it lives"`
	Definition jobs.Job     `json:"definition" doc:"what it was made of; it never changes"`
	Report     *jobs.Report `json:"report,omitempty" doc:"counts, files and checksums, once it is finished"`
}

// BatchPath names a batch.
type BatchPath struct {
	ServicePath
	Job string `path:"job" maxLength:"63" doc:"name of the batch"`
}

// mountBatches adds what is about batches.
func (a *API) mountBatches(api huma.API) {
	const of, one = "/services/{service}/batches", "/services/{service}/batches/{job}"
	get(api, of, "list-batches", "The batches of a service with their progress, the newest first", a.batches)
	get(api, one, "get-batch", "One batch: progress, what it was made of, and its report once it is finished", a.batch)
	a.mountOutput(api, one+"/output")

	huma.Register(api, huma.Operation{
		OperationID: "submit-batch", Method: http.MethodPost, Path: base + of, Summary: "Have a batch of audio transcribed", Tags: tags(of), MaxBodyBytes: maxSubmission,
		Errors: append([]int{http.StatusConflict, http.StatusUnprocessableEntity}, failures...),
	}, a.submit)
	post(api, of+"/resume", "resume-batches", "Go on with unfinished batches on which nobody works", a.resumeBatches)
	post(api, one+"/cancel", "cancel-batch", "End a batch; what was done is kept", a.cancelBatch)
	post(api, one+"/retry-failed", "retry-failed", "Try the failed and quarantined items of a batch again", a.retryFailed)
	post(api, one+"/delete", "delete-batch", "Remove a batch with all its results", a.deleteBatch)
}

// batchRoom is where the batches of a service live now.
type batchRoom struct {
	service string
	batches runbooks.Batches
	store   *jobs.Store
}

// roomOf finds the batch store of a service, where it runs now.
func (a *API) roomOf(ctx context.Context, service string) (batchRoom, error) {
	r, ok := a.Library().Lookup(service)
	if !ok {
		return batchRoom{}, a.unknown(service)
	}
	active := runbooks.PrimaryName
	if state, err := a.state(ctx, service); err == nil && state.Active != "" {
		active = state.Active
	}
	batches := r.BatchesOf(active)
	if batches == nil || a.Batches.Store == nil {
		return batchRoom{}, huma.Error404NotFound("the runbook of " + service + " names no batch store; add batches: {store: s3://bucket/prefix}")
	}
	store, err := a.Batches.Store(batches.Store)
	if err != nil {
		return batchRoom{}, batchProblem(err)
	}
	return batchRoom{service, *batches, store}, nil
}

func (a *API) batches(ctx context.Context, in *ServicePath) (*Body[[]Batch], error) {
	room, err := a.roomOf(ctx, in.Service)
	if err != nil {
		return nil, err
	}
	listed, err := room.store.Jobs(ctx)
	if err != nil {
		return nil, batchProblem(err)
	}
	all := []Batch{}
	for _, l := range listed {
		if l.Err != nil {
			all = append(all, Batch{Job: l.ID, Service: in.Service, State: "unreadable", Reason: l.Err.Error(), Link: a.Link(workflows.BatchID(in.Service, l.ID))})
		} else if l.Job.Service == in.Service {
			all = append(all, a.summarizeBatch(l.Job, l.Head))
		}
	}
	var wait sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range all {
		if !open(all[i]) {
			continue
		}
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			a.enliven(ctx, &all[i])
		})
	}
	wait.Wait()
	slices.SortStableFunc(all, func(x, y Batch) int { return cmp.Or(y.Created.Compare(x.Created), cmp.Compare(x.Job, y.Job)) })
	return &Body[[]Batch]{all}, nil
}

func (a *API) batch(ctx context.Context, in *BatchPath) (*Body[BatchDetail], error) {
	room, j, h, err := a.openBatch(ctx, in)
	if err != nil {
		return nil, err
	}
	detail := BatchDetail{Batch: a.summarizeBatch(j, h), Store: room.store.String() + "/" + j.ID, Definition: j}
	a.enliven(ctx, &detail.Batch)
	if h.State == jobs.Finished {
		report, err := room.store.Report(ctx, j.ID)
		if err != nil {
			return nil, batchProblem(err)
		}
		detail.Report = &report
	}
	return &Body[BatchDetail]{detail}, nil
}

// openBatch reads a job of a service.
func (a *API) openBatch(ctx context.Context, in *BatchPath) (batchRoom, jobs.Job, jobs.Head, error) {
	room, err := a.roomOf(ctx, in.Service)
	if err != nil {
		return room, jobs.Job{}, jobs.Head{}, err
	}
	j, h, err := room.store.Open(ctx, in.Job)
	if err != nil {
		return room, j, h, batchProblem(err)
	}
	if j.Service != in.Service || h.State == jobs.Deleted {
		return room, j, h, huma.Error404NotFound("there is no batch " + in.Job + " of " + in.Service)
	}
	return room, j, h, nil
}

// summarizeBatch is a batch as the store knows it.
func (a *API) summarizeBatch(j jobs.Job, h jobs.Head) Batch {
	return Batch{
		Job: j.ID, Service: j.Service, State: string(h.State), Reason: h.Reason, Items: j.Manifest.Items, TotalSeconds: j.Manifest.Seconds,
		Succeeded: h.Succeeded, Failed: h.Failed, Quarantined: h.Quarantined, AudioSeconds: h.AudioSeconds, RedoneSeconds: h.RedoneSeconds,
		Epoch: h.Epoch, Holder: h.Holder, Round: h.Round, Created: j.CreatedAt, CreatedBy: j.CreatedBy, Moved: h.At, Link: a.Link(workflows.BatchID(j.Service, j.ID)),
	}
}

func open(b Batch) bool { return b.State == string(jobs.Waiting) || b.State == string(jobs.Running) }

// enliven adds what the engine knows of a batch; the store is some seconds behind it.
func (a *API) enliven(ctx context.Context, b *Batch) {
	ctx, cancel := context.WithTimeout(ctx, askIn)
	defer cancel()
	run, err := a.Batches.Runs.BatchRun(ctx, b.Service, b.Job)
	if err != nil {
		if open(*b) {
			b.Reason = "the engine does not say whether it is worked on: " + err.Error()
		}
		return
	}
	if run.Ended != nil {
		b.Moves = run.Ended.Moves
		if open(*b) {
			b.Reason = cmp.Or(run.Ended.Reason, b.Reason)
		}
	}
	if !run.Running {
		if b.State == string(jobs.Waiting) {
			b.Reason += "; nobody works on it: understudy batch resume " + b.Service
		}
		return
	}
	b.Working, b.On, b.Moves = true, run.State.Active, run.State.Moves
	b.State, b.Reason = string(jobs.Running), ""
	if run.State.Waits != "" {
		b.State, b.Reason = string(jobs.Waiting), run.State.Waits
	}
	for _, p := range []jobs.Progress{run.State.Progress, run.Live} {
		if p.Settled() < b.Succeeded+b.Failed+b.Quarantined {
			continue
		}
		b.Succeeded, b.Failed, b.Quarantined, b.AudioSeconds = p.Succeeded, p.Failed, p.Quarantined, p.AudioSeconds
		b.RedoneSeconds = max(b.RedoneSeconds, p.RedoneSeconds)
		b.Speed, b.LeftSeconds = p.Speed, 0
		if left, ok := p.Left(); ok && b.State == string(jobs.Running) {
			b.LeftSeconds = left.Seconds()
		}
	}
}
