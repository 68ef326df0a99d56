// Package s3store keeps reports in a bucket, away from the machine that
// Understudy runs on.
package s3store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/activities/s3client"
)

// contentTypes let a browser show a report instead of saving it.
var contentTypes = map[string]string{
	".json": "application/json",
	".html": "text/html; charset=utf-8",
	".md":   "text/markdown; charset=utf-8",
	".txt":  "text/plain; charset=utf-8",
}

// API is what the store needs of S3.
type API interface {
	s3.ListObjectsV2APIClient
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
}

var _ reports.Store = (*Store)(nil)

// Store keeps reports in a bucket. It is safe for concurrent use.
type Store struct {
	api API
	at  s3client.Location
}

// New returns a store that keeps reports below a location. It does not connect.
func New(api API, at s3client.Location) *Store { return &Store{api: api, at: at} }

// Write keeps a report.
func (s *Store) Write(ctx context.Context, name string, content []byte) error {
	return s.put(ctx, name, content, nil)
}

// Create keeps a report where there is none of its name.
func (s *Store) Create(ctx context.Context, name string, content []byte) error {
	err := s.put(ctx, name, content, aws.String("*"))
	if s3client.Refused(err) {
		return fmt.Errorf("%w: %s", reports.ErrExists, s.at.Join(name))
	}
	return err
}

func (s *Store) put(ctx context.Context, name string, content []byte, noneMatch *string) error {
	if err := reports.CheckName(name); err != nil {
		return err
	}
	if err := reports.CheckSize(name, content); err != nil {
		return err
	}
	object := s.at.Join(name)
	in := &s3.PutObjectInput{Bucket: aws.String(object.Bucket), Key: aws.String(object.Key), Body: bytes.NewReader(content), IfNoneMatch: noneMatch}
	if kind := contentTypes[path.Ext(name)]; kind != "" {
		in.ContentType = aws.String(kind)
	}
	if _, err := s.api.PutObject(ctx, in); err != nil {
		return fmt.Errorf("write %s: %w", object, s3client.Explain(err))
	}
	return nil
}

// Read returns a report.
func (s *Store) Read(ctx context.Context, name string) ([]byte, error) {
	if err := reports.CheckName(name); err != nil {
		return nil, err
	}
	object := s.at.Join(name)
	out, err := s.api.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(object.Bucket), Key: aws.String(object.Key)})
	if s3client.Missing(err) {
		return nil, fmt.Errorf("%w: %s", reports.ErrNone, object)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", object, s3client.Explain(err))
	}
	defer out.Body.Close()
	content, err := io.ReadAll(io.LimitReader(out.Body, reports.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	return content, reports.CheckSize(name, content)
}

// List returns the names that begin with a prefix.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if !reports.Begins(prefix) {
		return nil, ctx.Err()
	}
	base := s.at.Join("").Key
	var names []string
	pages := s3.NewListObjectsV2Paginator(s.api, &s3.ListObjectsV2Input{Bucket: aws.String(s.at.Bucket), Prefix: aws.String(base + prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", s.at.Join(prefix), s3client.Explain(err))
		}
		for _, object := range page.Contents {
			// Other things may stand in the bucket; only what Read would take is a report.
			if name := strings.TrimPrefix(aws.ToString(object.Key), base); reports.CheckName(name) == nil {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names) // not every store lists in the order of bytes
	return names, nil
}
