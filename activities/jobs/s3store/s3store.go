// Package s3store keeps batch jobs in a bucket.
//
// It is as safe as the store's conditional writes; package jobs proves that they
// work before it relies on them. Every call has an end: small ones after half a
// minute, large ones once nothing moves any more.
package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/s3client"
)

const (
	// timeout bounds a call that moves little.
	timeout = 30 * time.Second
	// small is up to which size a write counts as one, in bytes.
	small = 1 << 20
	// deleted is how many objects one request deletes at most, as S3 has it.
	deleted = 1000
)

// API is what the store needs of S3.
type API interface {
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
	ListObjectsV2(context.Context, *s3.ListObjectsV2Input, ...func(*s3.Options)) (*s3.ListObjectsV2Output, error)
	DeleteObjects(context.Context, *s3.DeleteObjectsInput, ...func(*s3.Options)) (*s3.DeleteObjectsOutput, error)
}

var _ jobs.Objects = (*Objects)(nil)

// Objects are the objects below a place in a bucket. They are safe for concurrent use.
type Objects struct {
	api    API
	bucket string
	prefix string // empty, or with a slash at its end
}

// New returns the objects at a location. It does not connect.
func New(api API, at s3client.Location) *Objects {
	o := &Objects{api: api, bucket: at.Bucket}
	if at.Key != "" {
		o.prefix = at.Key + "/"
	}
	return o
}

// String is the place as a URL.
func (o *Objects) String() string {
	return strings.TrimSuffix(s3client.Location{Bucket: o.bucket, Key: o.prefix}.String(), "/")
}

// Get opens an object. The time of the call bounds the wait for the answer; its
// body may take longer as long as it moves.
func (o *Objects) Get(ctx context.Context, key string, span jobs.Span) (jobs.Object, error) {
	in := &s3.GetObjectInput{Bucket: aws.String(o.bucket), Key: aws.String(o.prefix + key)}
	if span != (jobs.Span{}) {
		in.Range = aws.String(byteRange(span))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(timeout, func() { cancel(context.DeadlineExceeded) })
	out, err := o.api.GetObject(ctx, in)
	timer.Stop()
	if err != nil {
		defer cancel(nil)
	}
	switch {
	case s3client.Missing(err):
		return jobs.Object{}, fmt.Errorf("%s/%s: %w", o, key, jobs.ErrMissing)
	case s3client.Status(err) == http.StatusRequestedRangeNotSatisfiable: // it ends before the span
		return jobs.Object{Body: http.NoBody}, nil
	case err != nil:
		return jobs.Object{}, o.unavailable(ctx, key, err)
	}
	written, read := aws.ToTime(out.LastModified), time.Now()
	if told, ok := awsmiddleware.GetServerTime(out.ResultMetadata); ok {
		read = told
	}
	return jobs.Object{
		Body: &body{ReadCloser: out.Body, end: func() { cancel(nil) }}, Tag: aws.ToString(out.ETag), Age: max(0, read.Sub(written)),
	}, nil
}

// body frees what a request holds when it is closed.
type body struct {
	io.ReadCloser
	end func()
}

func (b *body) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

func byteRange(span jobs.Span) string {
	if span.Length == 0 {
		return fmt.Sprintf("bytes=%d-", span.Offset)
	}
	return fmt.Sprintf("bytes=%d-%d", span.Offset, span.Offset+span.Length-1)
}

// Put writes an object in one piece.
func (o *Objects) Put(ctx context.Context, key string, content io.ReadSeeker, when jobs.Condition) (string, error) {
	size, err := content.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = content.Seek(0, io.SeekStart)
	}
	if err != nil {
		return "", fmt.Errorf("read what is to be written as %s: %w", key, err)
	}
	if size <= small {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	in := &s3.PutObjectInput{
		Bucket: aws.String(o.bucket), Key: aws.String(o.prefix + key), Body: content, ContentLength: aws.Int64(size),
		ContentType: aws.String(contentType(key)),
	}
	if when.Absent {
		in.IfNoneMatch = aws.String("*")
	}
	if when.Tag != "" {
		in.IfMatch = aws.String(when.Tag)
	}
	out, err := o.api.PutObject(ctx, in)
	conditional := when != (jobs.Condition{})
	switch {
	case err == nil && aws.ToString(out.ETag) == "":
		return "", o.unavailable(ctx, key, errors.New("the store sent no ETag, without which nothing can be compared"))
	case err == nil:
		return aws.ToString(out.ETag), nil
	case conditional && s3client.Refused(err), when.Tag != "" && s3client.Missing(err):
		return "", fmt.Errorf("%s/%s: %w", o, key, jobs.ErrRefused)
	case conditional && s3client.Status(err) == http.StatusNotImplemented:
		return "", fmt.Errorf("%s/%s: %w: %w", o, key, jobs.ErrUnsupported, err)
	default:
		return "", o.unavailable(ctx, key, err)
	}
}

func contentType(key string) string {
	if strings.HasSuffix(key, ".json") {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

// List lists keys.
func (o *Objects) List(ctx context.Context, prefix, after string, limit int) ([]string, error) {
	out, err := o.list(ctx, prefix, after, "", limit)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, object := range out.Contents {
		keys = append(keys, strings.TrimPrefix(aws.ToString(object.Key), o.prefix))
	}
	return keys, nil
}

// Folders lists first parts of keys. A page of the store may hold objects alone;
// then the next one is asked for.
func (o *Objects) Folders(ctx context.Context, after string) ([]string, error) {
	if after != "" {
		after += "0" // the character behind the slash: all that lies in the folder comes before it
	}
	for {
		out, err := o.list(ctx, "", after, "/", 0)
		if err != nil {
			return nil, err
		}
		var folders []string
		for _, p := range out.CommonPrefixes {
			folders = append(folders, strings.TrimSuffix(strings.TrimPrefix(aws.ToString(p.Prefix), o.prefix), "/"))
		}
		if len(folders) > 0 || len(out.Contents) == 0 {
			return folders, nil
		}
		after = strings.TrimPrefix(aws.ToString(out.Contents[len(out.Contents)-1].Key), o.prefix)
	}
}

func (o *Objects) list(ctx context.Context, prefix, after, delimiter string, limit int) (*s3.ListObjectsV2Output, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	in := &s3.ListObjectsV2Input{Bucket: aws.String(o.bucket), Prefix: aws.String(o.prefix + prefix)}
	if after != "" {
		in.StartAfter = aws.String(o.prefix + after)
	}
	if delimiter != "" {
		in.Delimiter = aws.String(delimiter)
	}
	if limit > 0 {
		in.MaxKeys = aws.Int32(int32(min(limit, 1000)))
	}
	out, err := o.api.ListObjectsV2(ctx, in)
	if err != nil {
		return nil, o.unavailable(ctx, prefix, err)
	}
	return out, nil
}

// Delete removes objects, many at a time.
func (o *Objects) Delete(ctx context.Context, keys []string) error {
	for len(keys) > 0 {
		n := min(len(keys), deleted)
		if err := o.deleteSome(ctx, keys[:n]); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

func (o *Objects) deleteSome(ctx context.Context, keys []string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	doomed := &types.Delete{Quiet: aws.Bool(true)}
	for _, key := range keys {
		doomed.Objects = append(doomed.Objects, types.ObjectIdentifier{Key: aws.String(o.prefix + key)})
	}
	out, err := o.api.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: aws.String(o.bucket), Delete: doomed})
	if err != nil {
		return o.unavailable(ctx, keys[0], err)
	}
	for _, failed := range out.Errors {
		return o.unavailable(ctx, keys[0], fmt.Errorf("%s: %s", aws.ToString(failed.Code), aws.ToString(failed.Message)))
	}
	return nil
}

// unavailable names a failure. Our own end of the wait is told as such.
func (o *Objects) unavailable(ctx context.Context, key string, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return fmt.Errorf("%w: %s/%s: %w", jobs.ErrUnavailable, o, key, s3client.Explain(err))
}
