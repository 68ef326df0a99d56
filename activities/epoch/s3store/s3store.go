// Package s3store keeps epochs in a bucket, one object per service.
//
// It is as safe as the store's conditional writes: the first record is written
// with If-None-Match, each later one with If-Match and the ETag that was read.
// Some stores ignore these headers and would let two writers win. Before its
// first write the [Store] therefore proves that this one does not.
package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/s3client"
)

const (
	// probeName is the object with which conditional writes are proved. No service can have this name.
	probeName = "_conditional-writes"
	// noETag is the ETag of no object: MD5 sums are never all zero in practice.
	noETag = `"00000000000000000000000000000000"`
)

// API is what the store needs of S3.
type API interface {
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
}

var _ epoch.Store = (*Store)(nil)

// Store keeps epochs in a bucket. It is safe for concurrent use.
type Store struct {
	api    API
	at     s3client.Location
	proved atomic.Bool
}

// New returns a store that keeps its records as at/<service>.json. It does not connect.
func New(api API, at s3client.Location) *Store { return &Store{api: api, at: at} }

// Read returns the record of a service.
func (s *Store) Read(ctx context.Context, service string) (epoch.Record, error) {
	if err := epoch.CheckService(service); err != nil {
		return epoch.Record{}, err
	}
	ctx, cancel := epoch.Bound(ctx)
	defer cancel()
	current, _, err := s.get(ctx, service)
	if err != nil {
		return epoch.Record{}, err
	}
	if current == nil {
		return epoch.Record{}, fmt.Errorf("%s: %w", s.object(service), epoch.ErrNone)
	}
	return *current, nil
}

// Write moves a record forward. A swap that is lost is decided anew on what won;
// so is one whose answer was lost and that the SDK repeated.
func (s *Store) Write(ctx context.Context, r epoch.Record) error {
	if err := r.Check(); err != nil {
		return err
	}
	ctx, cancel := epoch.Bound(ctx)
	defer cancel()
	if err := s.Verify(ctx); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		current, etag, err := s.get(ctx, r.Service)
		if err != nil {
			return err
		}
		kept, changed, err := epoch.Decide(current, r)
		if err != nil || !changed {
			return err
		}
		content, err := epoch.Encode(kept)
		if err != nil {
			return err
		}
		object := s.object(r.Service)
		err = s.put(ctx, object, content, etag)
		if err == nil {
			return nil
		}
		// Missing: somebody removed the object between our read and our write.
		if !s3client.Refused(err) && !s3client.Missing(err) {
			return unavailable(object, err)
		}
		if err := epoch.Pause(ctx, attempt); err != nil {
			return unavailable(object, err)
		}
	}
}

// Verify proves that the store honours conditions on writes. It writes one
// small object beside the records, and is remembered once it succeeded, so only
// the first Write of a process pays for it; call it at the start to spare the
// first recovery that. ErrUnsafe says that the store cannot be used.
func (s *Store) Verify(ctx context.Context) error {
	if s.proved.Load() {
		return nil
	}
	ctx, cancel := epoch.Bound(ctx)
	defer cancel()
	probe := s.at.Join(probeName)
	content := []byte("Understudy writes this object to see whether the store honours If-None-Match and If-Match.\n")
	// The first write makes the object where it is not there yet; the second must be refused.
	err := s.put(ctx, probe, content, "")
	if err == nil {
		err = s.put(ctx, probe, content, "")
	}
	if err := s.refusal(probe, "If-None-Match", err); err != nil {
		return err
	}
	if err := s.refusal(probe, "If-Match", s.put(ctx, probe, content, noETag)); err != nil {
		return err
	}
	s.proved.Store(true)
	return nil
}

// refusal turns the outcome of a write that must be refused into an error, unless it was.
func (s *Store) refusal(probe s3client.Location, header string, err error) error {
	switch {
	case s3client.Refused(err):
		return nil
	case err == nil || s3client.Status(err) == http.StatusNotImplemented:
		return fmt.Errorf("%w: %w: %s: a write with %s that had to be refused was not; keep epochs in a store with conditional writes, such as AWS S3, MinIO or etcd",
			epoch.ErrUnavailable, epoch.ErrUnsafe, probe, header)
	default:
		return unavailable(probe, err)
	}
}

// get returns the record and its ETag, or nil where there is none.
func (s *Store) get(ctx context.Context, service string) (*epoch.Record, string, error) {
	object := s.object(service)
	out, err := s.api.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(object.Bucket), Key: aws.String(object.Key)})
	if s3client.Missing(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", unavailable(object, err)
	}
	defer out.Body.Close()
	content, err := io.ReadAll(io.LimitReader(out.Body, epoch.MaxSize))
	if err != nil {
		return nil, "", unavailable(object, err)
	}
	r, err := epoch.Decode(service, content)
	if err == nil && aws.ToString(out.ETag) == "" {
		err = errors.New("the store sent no ETag, without which nothing can be compared")
	}
	if err != nil {
		return nil, "", unavailable(object, err)
	}
	return &r, aws.ToString(out.ETag), nil
}

// put writes the object if it still has the ETag, or if it is not there where that is empty.
func (s *Store) put(ctx context.Context, object s3client.Location, content []byte, etag string) error {
	in := &s3.PutObjectInput{
		Bucket: aws.String(object.Bucket), Key: aws.String(object.Key),
		Body: bytes.NewReader(content), ContentType: aws.String("application/json"),
	}
	if etag == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = aws.String(etag)
	}
	_, err := s.api.PutObject(ctx, in)
	return err
}

func (s *Store) object(service string) s3client.Location { return s.at.Join(service + ".json") }

func unavailable(object s3client.Location, err error) error {
	return fmt.Errorf("%w: %s: %w", epoch.ErrUnavailable, object, s3client.Explain(err))
}
