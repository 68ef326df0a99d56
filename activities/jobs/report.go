package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Names of the files of a finished job.
const (
	// OutputFile is the NeMo manifest of what succeeded, with pred_text.
	OutputFile = "output.jsonl"
	// FailedFile and QuarantinedFile are NeMo manifests of the others, with error and error_code.
	FailedFile      = "failed.jsonl"
	QuarantinedFile = "quarantined.jsonl"
	// ReportFile is the report.
	ReportFile = "report.json"
)

// Report is the end of a job.
type Report struct {
	Version    int       `json:"version"`
	Job        string    `json:"job"`
	Service    string    `json:"service"`
	Round      int       `json:"round"`
	CreatedAt  time.Time `json:"created_at"`
	FinishedAt time.Time `json:"finished_at"`
	// Epoch and Holder are those of the runner that finished it.
	Epoch  int64  `json:"epoch"`
	Holder string `json:"holder"`
	Items  int64  `json:"items"`
	Counts
	// Revisions are the models that made the output, with how many items each.
	Revisions []RevisionCount `json:"revisions"`
	Manifest  Manifest        `json:"manifest"`
	Files     []ReportedFile  `json:"files"`
	// Torn are objects that were not what their keys promise.
	Torn []string `json:"torn,omitempty"`
}

// RevisionCount is how many items a model revision did.
type RevisionCount struct {
	Revision string `json:"model_revision"`
	Items    int64  `json:"items"`
}

// ReportedFile is a file of the output.
type ReportedFile struct {
	Name string `json:"name"`
	// Key is where it lies, behind the store's place.
	Key    string `json:"key"`
	Lines  int64  `json:"lines"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Clean reports whether every item succeeded.
func (r Report) Clean() bool { return r.Failed == 0 && r.Quarantined == 0 }

// Report reads the report of a finished job; ErrUnfinished where there is none yet.
func (s *Store) Report(ctx context.Context, id string) (Report, error) {
	j, h, err := s.Open(ctx, id)
	if err != nil {
		return Report{}, err
	}
	if h.State != Finished {
		return Report{}, fmt.Errorf("%w: job %s is %s", ErrUnfinished, id, h.State)
	}
	return s.report(ctx, j, h)
}

func (s *Store) report(ctx context.Context, j Job, h Head) (Report, error) {
	key := j.ID + "/" + h.Report
	content, err := s.read(ctx, key, Span{})
	if err != nil {
		return Report{}, fmt.Errorf("read the report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(content, &r); err != nil || r.Job != j.ID {
		return Report{}, torn(key, "it is no report of job %s", j.ID)
	}
	return r, nil
}

// File opens a file of a finished job by its name, such as OutputFile. The caller closes it.
func (s *Store) File(ctx context.Context, id, name string) (io.ReadCloser, error) {
	r, err := s.Report(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, f := range r.Files {
		if f.Name == name {
			object, err := s.objects.Get(ctx, f.Key, Span{})
			return object.Body, err
		}
	}
	return nil, fmt.Errorf("job %s has no file %q: %w", id, name, ErrMissing)
}
