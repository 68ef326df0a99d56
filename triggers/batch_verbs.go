package triggers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/triggers/audit"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// maxSubmission is the largest body of a submission, in bytes; a longer manifest is put into S3 and named.
	maxSubmission = 32 << 20
	// batchIn bounds a verb about a batch: the server's own limit for an answer is a minute.
	batchIn = 50 * time.Second
	// schemeS3 begins the URLs of objects.
	schemeS3 = "s3://"
)

// Submission describes a batch to be made.
type Submission struct {
	Job      string `json:"job,omitempty" maxLength:"63" doc:"its name: lower-case letters, digits and dashes; without one it gets a name that is made of the Idempotency-Key"`
	Manifest string `json:"manifest,omitempty" maxLength:"1100" doc:"s3://bucket/key of a NeMo manifest: JSON lines with audio_filepath and duration"`
	Lines    string `json:"lines,omitempty" doc:"the manifest itself, instead"`
	Base     string `json:"base,omitempty" maxLength:"1100" doc:"s3://bucket/prefix where relative paths begin, and below which all audio lies; without it, the manifest's own place"`

	Dialect       string   `json:"dialect,omitempty" enum:"openai,funasr" doc:"openai (POST /v1/audio/transcriptions, the default) or funasr (POST /asr, with hot words)"`
	Path          string   `json:"path,omitempty" maxLength:"200" doc:"replaces the dialect's path"`
	Model         string   `json:"model,omitempty" maxLength:"200" doc:"the model to ask for"`
	Language      string   `json:"language,omitempty" maxLength:"35" doc:"the language of the audio, such as zh"`
	Hotwords      []string `json:"hotwords,omitempty" maxItems:"1000" doc:"words to listen for; they take the dialect funasr, or a server that knows them"`
	ChunkSeconds  float64  `json:"chunk_seconds,omitempty" minimum:"1" maximum:"86400" doc:"longer audio is cut into pieces of this length; without it, as the runbook says"`
	Concurrency   int      `json:"concurrency,omitempty" minimum:"1" maximum:"1000" doc:"requests in flight at once; without it, as the runbook says"`
	Attempts      int      `json:"attempts,omitempty" minimum:"1" maximum:"100" doc:"after so many an item is quarantined; without it, as the runbook says"`
	OnModelChange string   `json:"on_model_change,omitempty" enum:"finish-old,restart,mix-and-mark" doc:"what to do where a standby runs another model version; without it, as the runbook says"`
	Reason        string   `json:"reason,omitempty" maxLength:"500" doc:"what it is for"`
}

func (a *API) submit(ctx context.Context, in *struct {
	ServicePath
	Keyed
	Body Submission
}) (*Body[BatchDetail], error) {
	room, err := a.roomOf(ctx, in.Service)
	if err != nil {
		return nil, err
	}
	person, b := access.Of(ctx), in.Body
	if b.Job == "" {
		b.Job = "batch-" + fmt.Sprintf("%x", sha256.Sum256([]byte(person.Name+"/"+in.Key)))[:12]
	}
	verb := batchVerb{did: "batch submit", on: in.Service + "/" + b.Job, key: in.Key, reason: clean(b.Reason, 500)}
	err = a.decideBatch(ctx, verb, func(ctx context.Context) (string, error) {
		j, err := a.create(ctx, room, b, person.Name)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d items, %.0f s of audio", j.Manifest.Items, j.Manifest.Seconds), a.begin(ctx, room, j.ID, false)
	})
	if err != nil {
		return nil, err
	}
	return a.batch(ctx, &BatchPath{ServicePath: in.ServicePath, Job: b.Job})
}

// create makes the job in the store. The same submission again finds it there.
func (a *API) create(ctx context.Context, room batchRoom, b Submission, by string) (jobs.Job, error) {
	if (b.Manifest == "") == (b.Lines == "") {
		return jobs.Job{}, fmt.Errorf("%w: name a manifest in S3 (manifest), or send its lines (lines); one of the two", jobs.ErrInvalid)
	}
	base := b.Base
	if base == "" && b.Manifest != "" {
		base = strings.TrimSuffix(b.Manifest, "/"+path.Base(b.Manifest))
	}
	if !strings.HasPrefix(base, schemeS3) {
		return jobs.Job{}, fmt.Errorf("%w: the base %q: Understudy reads audio from S3 (s3://bucket/prefix); for files of a machine there is understudy batch run", jobs.ErrInvalid, base)
	}
	manifest := io.ReadSeeker(strings.NewReader(b.Lines))
	if b.Manifest != "" {
		file, done, err := a.fetchManifest(ctx, b.Manifest)
		if err != nil {
			return jobs.Job{}, err
		}
		defer done()
		manifest = file
	}
	j := jobs.Job{
		ID: b.Job, Service: room.service, CreatedBy: by, Base: base, Concurrency: b.Concurrency, Attempts: b.Attempts, OnModelChange: b.OnModelChange,
		Params: jobs.Params{Dialect: b.Dialect, Path: b.Path, Model: b.Model, Language: b.Language, Hotwords: b.Hotwords, ChunkSeconds: b.ChunkSeconds},
	}
	j.Apply(room.batches)
	return room.store.Create(ctx, j, manifest)
}

// fetchManifest opens a manifest that lies in S3.
func (a *API) fetchManifest(ctx context.Context, url string) (*os.File, func(), error) {
	if !strings.HasPrefix(url, schemeS3) {
		return nil, nil, fmt.Errorf("%w: the manifest %q: name one in S3 (s3://bucket/key), or send its lines", jobs.ErrInvalid, url)
	}
	copied, err := a.Batches.Manifests.Open(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	file, err := os.Open(copied.Path)
	return file, func() {
		file.Close()
		if copied.Close != nil {
			copied.Close()
		}
	}, err
}

// begin has a job worked on, unless it is over.
func (a *API) begin(ctx context.Context, room batchRoom, job string, takeover bool) error {
	_, head, err := room.store.Open(ctx, job)
	switch {
	case err != nil:
		return err
	case head.State == jobs.Finished:
		return nil
	case !head.Open():
		return fmt.Errorf("%w: %s: %s; delete it, or choose another name", jobs.ErrCancelled, job, head.Reason)
	}
	if err := a.Batches.Runs.StartBatch(ctx, activities.StartBatchInput{Service: room.service, Job: job, Takeover: takeover}); err != nil {
		return fmt.Errorf("the batch is in the store, and the engine did not take it; send the same request again: %w", err)
	}
	return nil
}

type batchInput struct {
	BatchPath
	Keyed
	Body Because
}

func (a *API) cancelBatch(ctx context.Context, in *batchInput) (*Body[Decided], error) {
	return a.aboutBatch(ctx, in, "batch cancel", func(ctx context.Context, room batchRoom, why string) (string, error) {
		if err := room.store.Cancel(ctx, in.Job, why); err != nil {
			return "", err
		}
		return "cancelled; the results that are there are kept", a.Batches.Runs.StopBatch(ctx, in.Service, in.Job)
	})
}

func (a *API) deleteBatch(ctx context.Context, in *batchInput) (*Body[Decided], error) {
	return a.aboutBatch(ctx, in, "batch delete", func(ctx context.Context, room batchRoom, why string) (string, error) {
		if err := a.Batches.Runs.StopBatch(ctx, in.Service, in.Job); err != nil {
			return "", err
		}
		return "deleted, with all its results", room.store.Delete(ctx, in.Job, why)
	})
}

func (a *API) retryFailed(ctx context.Context, in *batchInput) (*Body[Decided], error) {
	return a.aboutBatch(ctx, in, "batch retry-failed", func(ctx context.Context, room batchRoom, why string) (string, error) {
		n, err := room.store.RetryFailed(ctx, in.Job, jobs.Claim{Holder: "retry-failed by " + access.Of(ctx).Name})
		var held *jobs.HeldError
		if errors.As(err, &held) {
			return "", fmt.Errorf("%w, %s: wait until it has ended, then try its failed items again", jobs.ErrHeld, held.Head.Holder)
		}
		if err != nil {
			return "", err
		}
		text := fmt.Sprintf("%d items are tried again", n)
		if n == 0 {
			text = "there is nothing to try again"
		}
		return text, a.begin(ctx, room, in.Job, false) // also where an earlier try ended before this
	})
}

// aboutBatch carries out a verb about one batch that is there.
func (a *API) aboutBatch(ctx context.Context, in *batchInput, did string, do func(ctx context.Context, room batchRoom, why string) (string, error)) (*Body[Decided], error) {
	room, err := a.roomOf(ctx, in.Service)
	if err != nil {
		return nil, err
	}
	why := clean(in.Body.Reason, 500)
	done := Decided{On: in.Service + "/" + in.Job, Did: did, Link: a.Link(workflows.BatchID(in.Service, in.Job))}
	verb := batchVerb{did: did, on: done.On, key: in.Key, reason: why}
	err = a.decideBatch(ctx, verb, func(ctx context.Context) (leaves string, err error) {
		j, _, err := room.store.Open(ctx, in.Job)
		if err == nil && j.Service != in.Service {
			err = fmt.Errorf("%w: batch %s belongs to %s", jobs.ErrMissing, in.Job, j.Service)
		}
		if err != nil {
			return "", err
		}
		done.Leaves, err = do(ctx, room, why)
		return done.Leaves, err
	}, &done.Leaves)
	if err != nil {
		return nil, err
	}
	return &Body[Decided]{done}, nil
}

// Resumption says which batches are to go on.
type Resumption struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"why; somebody will ask"`
	Job    string `json:"job,omitempty" maxLength:"63" doc:"only this one; without it every unfinished one of the service"`
	// Takeover is a person's word that the other runner is gone.
	Takeover bool `json:"takeover,omitempty" doc:"take batches from other runners that were heard of a moment ago; without it they must have been silent for a minute"`
}

// Resumed is what became of one batch.
type Resumed struct {
	Job     string `json:"job"`
	OK      bool   `json:"ok"`
	Holder  string `json:"holder,omitempty" doc:"who worked on it last"`
	Problem string `json:"problem,omitempty" doc:"why it does not go on"`
}

func (a *API) resumeBatches(ctx context.Context, in *struct {
	ServicePath
	Keyed
	Body Resumption
}) (*Body[[]Resumed], error) {
	room, err := a.roomOf(ctx, in.Service)
	if err != nil {
		return nil, err
	}
	all, details := []Resumed{}, in.Body.Job
	if in.Body.Takeover {
		details = strings.TrimSpace(details + " takeover")
	}
	verb := batchVerb{did: "batch resume", on: in.Service, key: in.Key, reason: clean(in.Body.Reason, 500), details: details}
	err = a.decideBatch(ctx, verb, func(ctx context.Context) (string, error) {
		listed, err := room.store.Jobs(ctx)
		if err != nil {
			return "", err
		}
		resumed := 0
		for _, l := range listed {
			if in.Body.Job != "" && l.ID != in.Body.Job || l.Err == nil && (l.Job.Service != in.Service || !l.Head.Open()) {
				continue
			}
			one := Resumed{Job: l.ID, Holder: l.Head.Holder}
			err := l.Err
			if err == nil {
				err = a.begin(ctx, room, l.ID, in.Body.Takeover)
			}
			if one.OK = err == nil; one.OK {
				resumed++
			} else {
				one.Problem = err.Error()
			}
			all = append(all, one)
		}
		if in.Body.Job != "" && len(all) == 0 {
			return "", fmt.Errorf("%w: there is no unfinished batch %s of %s", jobs.ErrMissing, in.Body.Job, in.Service)
		}
		return fmt.Sprintf("%d of %d batches resumed", resumed, len(all)), nil
	}, &all)
	if err != nil {
		return nil, err
	}
	return &Body[[]Resumed]{all}, nil
}

// batchVerb is a person's decision about a batch.
type batchVerb struct{ did, on, key, reason, details string }

// decideBatch carries out a decision about a batch, once for its key, and keeps
// it. What it does can be repeated: after a restart, which forgets the keys, the
// store knows what was done already. The text is what people read; answers are
// kept with it for whoever asks again.
func (a *API) decideBatch(ctx context.Context, v batchVerb, do func(context.Context) (text string, err error), answers ...any) error {
	person := access.Of(ctx)
	entry := audit.Entry{Who: person.Name, Role: string(person.Role), From: person.From, Did: v.did, On: v.on, Reason: v.reason, Details: v.details, Key: v.key}
	ctx, cancel := context.WithTimeout(ctx, batchIn)
	defer cancel()
	var err error
	entry.Text, err = a.replies.once(strings.Join([]string{v.did, v.on, person.Name, v.key}, "/"), func() (string, error) { return do(ctx) }, answers)
	entry.Result = audit.Done
	if err != nil {
		entry.Result, entry.Text = audit.Refused, err.Error()
		err = batchProblem(err)
		var status huma.StatusError
		if errors.As(err, &status) && status.GetStatus() >= 500 {
			entry.Result = audit.Unsure
		}
		entry.Text = clean(entry.Text, 2000)
	}
	a.keep(entry)
	return err
}

// batchProblem is the answer to what the batch store says.
func batchProblem(err error) error {
	var wrong *jobs.ManifestError
	is := func(all ...error) bool {
		for _, one := range all {
			if errors.Is(err, one) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.As(err, &wrong):
		var details []error
		for _, p := range wrong.Problems {
			at := "manifest"
			if p.Line > 0 {
				at = fmt.Sprintf("line %d", p.Line)
			}
			details = append(details, &huma.ErrorDetail{Location: strings.TrimSpace(at + " " + p.Field), Message: p.Why})
		}
		text := "the manifest is not usable; nothing was started"
		if wrong.More > 0 {
			text += fmt.Sprintf("; beyond those that are listed there are %d more mistakes", wrong.More)
		}
		return huma.Error422UnprocessableEntity(text, details...)
	case is(jobs.ErrInvalid, jobs.ErrNoAudio):
		return huma.Error422UnprocessableEntity(err.Error())
	case is(jobs.ErrMissing):
		return huma.Error404NotFound(err.Error())
	case is(jobs.ErrExists, jobs.ErrHeld, jobs.ErrCancelled, jobs.ErrFinished, jobs.ErrUnfinished, jobs.ErrTorn, jobs.ErrUnsupported):
		return huma.Error409Conflict(err.Error())
	default:
		return huma.Error503ServiceUnavailable(err.Error())
	}
}
