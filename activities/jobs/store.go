package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxSmall bounds objects that are read into memory: results with many segments are the largest, in bytes.
const maxSmall = 32 << 20

// Store keeps jobs in an object store. It is safe for concurrent use.
type Store struct {
	objects Objects
	proof   proof
}

// NewStore returns a store over objects. It does not connect.
func NewStore(objects Objects) *Store { return &Store{objects: objects} }

// String names the place to people.
func (s *Store) String() string { return s.objects.String() }

// Create makes a job from its description and its manifest, which is checked
// first: a *ManifestError lists all that is wrong, and nothing is written then. A
// job exists once its job.json does. Creating the same job again is fine and
// returns what is there; another one with the same id is ErrExists.
func (s *Store) Create(ctx context.Context, j Job, manifest io.ReadSeeker) (Job, error) {
	j.fill()
	if err := j.check(); err != nil {
		return Job{}, err
	}
	if _, err := manifest.Seek(0, io.SeekStart); err != nil {
		return Job{}, fmt.Errorf("read the manifest: %w", err)
	}
	figures, err := CheckManifest(manifest, j.Base)
	if err != nil {
		return Job{}, err
	}
	j.Manifest = figures
	if j.CreatedAt.IsZero() {
		j.CreatedAt = time.Now().UTC().Truncate(time.Second)
	}
	if err := s.Prove(ctx); err != nil {
		return Job{}, err
	}
	if _, err := manifest.Seek(0, io.SeekStart); err != nil {
		return Job{}, fmt.Errorf("read the manifest: %w", err)
	}
	// Its name holds its hash, so this overwrites nothing but itself.
	if _, err := s.objects.Put(ctx, j.manifestKey(), manifest, Condition{}); err != nil {
		return Job{}, fmt.Errorf("write the manifest: %w", err)
	}
	_, err = s.put(ctx, j.ID+"/"+jobName, encode(j), Condition{Absent: true})
	if errors.Is(err, ErrRefused) {
		return s.same(ctx, j)
	}
	if err != nil {
		return Job{}, fmt.Errorf("write the job: %w", err)
	}
	return j, s.crown(ctx, j)
}

// crown gives a new job its head. One that the deletion of a job of this name left
// behind is replaced.
func (s *Store) crown(ctx context.Context, j Job) error {
	head, at, err := s.head(ctx, j)
	if err != nil || head.State != Deleted {
		return err
	}
	_, err = s.put(ctx, j.ID+"/"+headName, newHead(j).encode(), Condition{Tag: at.tag})
	if err != nil && !errors.Is(err, ErrRefused) {
		return fmt.Errorf("write the head: %w", err)
	}
	return nil
}

// same returns the job that is there, if it is the one that is wanted.
func (s *Store) same(ctx context.Context, wanted Job) (Job, error) {
	there, head, err := s.Open(ctx, wanted.ID)
	if err != nil {
		return Job{}, err
	}
	if head.State == Deleted {
		return Job{}, fmt.Errorf("%w: job %s is being deleted; delete it again to the end, then create it", ErrExists, wanted.ID)
	}
	compared := there
	compared.CreatedAt, compared.CreatedBy = wanted.CreatedAt, wanted.CreatedBy
	if !bytes.Equal(encode(compared), encode(wanted)) {
		return Job{}, fmt.Errorf("%w: job %s is another one, with %d items, created %s; choose another id", ErrExists,
			wanted.ID, there.Manifest.Items, there.CreatedAt.Format(time.RFC3339))
	}
	return there, nil
}

// Open reads a job and its head, or returns ErrMissing or ErrTorn. A deleted job
// that is not quite gone yet has the state Deleted.
func (s *Store) Open(ctx context.Context, id string) (Job, Head, error) {
	j, err := s.job(ctx, id)
	if err != nil {
		return Job{}, Head{}, err
	}
	head, _, err := s.head(ctx, j)
	return j, head, err
}

// job reads a description.
func (s *Store) job(ctx context.Context, id string) (Job, error) {
	if err := CheckID(id); err != nil {
		return Job{}, err
	}
	key := id + "/" + jobName
	content, err := s.read(ctx, key, Span{})
	if err != nil {
		return Job{}, fmt.Errorf("job %s: %w", id, err)
	}
	var j Job
	if err := json.Unmarshal(content, &j); err != nil {
		return Job{}, torn(key, "it is no job: %v", err)
	}
	if j.ID != id {
		return Job{}, torn(key, "it is job %q", j.ID)
	}
	j.fill()
	if err := j.check(); err != nil {
		return Job{}, torn(key, "%v", err)
	}
	if m := j.Manifest; !manifestPattern.MatchString(m.Key) || m.Items < 1 || m.Items > MaxItems || m.Bytes < 1 || bad(m.Seconds) {
		return Job{}, torn(key, "what it says of its manifest makes no sense")
	}
	return j, nil
}

// located is a head with what is needed to swap it.
type located struct {
	tag string
	age time.Duration
}

// head reads the head. The one of a job whose creator died before it wrote it is made here.
func (s *Store) head(ctx context.Context, j Job) (Head, located, error) {
	key := j.ID + "/" + headName
	object, err := s.objects.Get(ctx, key, Span{})
	if errors.Is(err, ErrMissing) {
		if _, err := s.put(ctx, key, newHead(j).encode(), Condition{Absent: true}); err != nil && !errors.Is(err, ErrRefused) {
			return Head{}, located{}, fmt.Errorf("write the head: %w", err)
		}
		object, err = s.objects.Get(ctx, key, Span{})
	}
	if err != nil {
		return Head{}, located{}, fmt.Errorf("read the head: %w", err)
	}
	content, err := drain(object.Body, key)
	if err != nil {
		return Head{}, located{}, err
	}
	head, err := parseHead(j, key, content)
	return head, located{tag: object.Tag, age: object.Age}, err
}

// Listed is a job as a list shows it.
type Listed struct {
	ID string
	// Job and Head are empty where Err says why they cannot be read.
	Job  Job
	Head Head
	Err  error
}

// Jobs lists all jobs, by id. What is no job, because a creation or a deletion
// did not end, is left out; a job that cannot be read is listed with its error.
func (s *Store) Jobs(ctx context.Context) ([]Listed, error) {
	var all []Listed
	for after := ""; ; {
		folders, err := s.objects.Folders(ctx, after)
		if err != nil {
			return nil, fmt.Errorf("list jobs: %w", err)
		}
		if len(folders) == 0 {
			break
		}
		after = folders[len(folders)-1]
		for _, id := range folders {
			if CheckID(id) == nil {
				all = append(all, Listed{ID: id})
			}
		}
	}
	const readers = 8
	var wait sync.WaitGroup
	gate := make(chan struct{}, readers)
	for i := range all {
		gate <- struct{}{}
		wait.Go(func() {
			defer func() { <-gate }()
			all[i].Job, all[i].Head, all[i].Err = s.Open(ctx, all[i].ID)
		})
	}
	wait.Wait()
	kept := all[:0]
	for _, l := range all {
		if errors.Is(l.Err, ErrUnavailable) {
			return nil, fmt.Errorf("list jobs: %w", l.Err)
		}
		if !errors.Is(l.Err, ErrMissing) && l.Head.State != Deleted {
			kept = append(kept, l)
		}
	}
	return kept, nil
}

// read reads an object, or a part of it, into memory.
func (s *Store) read(ctx context.Context, key string, span Span) ([]byte, error) {
	object, err := s.objects.Get(ctx, key, span)
	if err != nil {
		return nil, err
	}
	return drain(object.Body, key)
}

func drain(body io.ReadCloser, key string) ([]byte, error) {
	defer body.Close()
	content, err := io.ReadAll(io.LimitReader(body, maxSmall+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrUnavailable, key, err)
	case len(content) > maxSmall:
		return nil, torn(key, "it is larger than %d MiB", maxSmall>>20)
	}
	return content, nil
}

func (s *Store) put(ctx context.Context, key string, content []byte, when Condition) (string, error) {
	return s.objects.Put(ctx, key, bytes.NewReader(content), when)
}
