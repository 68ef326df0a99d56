package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/speech"
)

const (
	schemeS3 = "s3://"
	// glance is how much of an object is read to find the length of a WAV file, in bytes.
	glance = 64 << 10
)

// open finds out what kind of source it is.
func open(ctx context.Context, o Options) (source, error) {
	if strings.HasPrefix(o.Source, schemeS3) {
		return openS3(o)
	}
	name, err := filepath.Abs(o.Source)
	if err != nil || o.Source == "" {
		return source{}, fmt.Errorf("%w: the source %q", jobs.ErrInvalid, o.Source)
	}
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return local(o, name, func(_ context.Context, yield func(string) bool) error { return walk(name, name, yield) }), nil
	case err == nil:
		return local(o, filepath.Dir(name), func(_ context.Context, yield func(string) bool) error {
			yield(filepath.Base(name))
			return nil
		}), nil
	case !strings.ContainsAny(name, "*?["):
		return source{}, fmt.Errorf("%w: %w", jobs.ErrInvalid, err)
	}
	return pattern(o, name)
}

// pattern is a source of files, and of folders with all that lies in them, that fit a pattern.
func pattern(o Options, name string) (source, error) {
	found, err := filepath.Glob(name)
	if err != nil {
		return source{}, fmt.Errorf("%w: the pattern %s: %w", jobs.ErrInvalid, name, err)
	}
	base := name
	for strings.ContainsAny(base, "*?[") {
		base = filepath.Dir(base)
	}
	return local(o, base, func(_ context.Context, yield func(string) bool) error {
		for _, one := range found {
			if err := walk(base, one, yield); err != nil {
				return err
			}
		}
		return nil
	}), nil
}

// walk yields the files at and below a path, relative to the base.
func walk(base, from string, yield func(string) bool) error {
	err := filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%w: %w", jobs.ErrInvalid, err)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		relative, err := filepath.Rel(base, name)
		if err == nil && !yield(relative) {
			return fs.SkipAll
		}
		return err
	})
	return err
}

func local(o Options, base string, each func(context.Context, func(string) bool) error) source {
	return source{base: base, each: each, measure: func(ctx context.Context, name string) (float64, error) {
		full := filepath.Join(base, name)
		file, err := os.Open(full)
		if err != nil {
			return 0, err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return 0, err
		}
		if seconds, err := speech.Glance(file, info.Size()); seconds > 0 || err != nil {
			return seconds, err
		}
		return measured(ctx, o, full)
	}}
}

func measured(ctx context.Context, o Options, full string) (float64, error) {
	if o.Seconds == nil {
		return 0, errors.New("its length cannot be measured without sox or ffmpeg")
	}
	return o.Seconds(ctx, full)
}

// openS3 is a source of objects. Of plain WAV only the beginning is read.
func openS3(o Options) (source, error) {
	at, err := s3client.ParseURL(o.Source)
	if err != nil {
		return source{}, fmt.Errorf("%w: %w", jobs.ErrInvalid, err)
	}
	if o.Clients == nil {
		return source{}, fmt.Errorf("%w: no S3 endpoint is configured for %s", jobs.ErrInvalid, o.Source)
	}
	client, err := o.Clients.For(at.Bucket)
	if err != nil {
		return source{}, fmt.Errorf("%w: %w", jobs.ErrUnavailable, err)
	}
	prefix := ""
	if at.Key != "" {
		prefix = at.Key + "/"
	}
	return source{
		base: at.String(),
		each: func(ctx context.Context, yield func(string) bool) error {
			pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: aws.String(at.Bucket), Prefix: aws.String(prefix)})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return fmt.Errorf("%w: list %s: %w", jobs.ErrUnavailable, at, s3client.Explain(err))
				}
				for _, object := range page.Contents {
					if !yield(strings.TrimPrefix(aws.ToString(object.Key), prefix)) {
						return nil
					}
				}
			}
			return nil
		},
		measure: func(ctx context.Context, name string) (float64, error) {
			return measureObject(ctx, o, client, at, prefix+name)
		},
	}, nil
}

func measureObject(ctx context.Context, o Options, client *s3.Client, at s3client.Location, key string) (float64, error) {
	url := s3client.Location{Bucket: at.Bucket, Key: key}.String()
	if _, err := s3client.ParseURL(url); err != nil {
		return 0, err // a batch could not open it either
	}
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(at.Bucket), Key: aws.String(key), Range: aws.String(fmt.Sprintf("bytes=0-%d", glance-1))})
	if s3client.Status(err) == 416 { // there is no first byte
		return speech.Glance(bytes.NewReader(nil), 0)
	}
	if err != nil {
		return 0, s3client.Explain(err)
	}
	defer out.Body.Close()
	head, err := io.ReadAll(io.LimitReader(out.Body, glance))
	if err != nil {
		return 0, err
	}
	size := int64(len(head))
	if total := aws.ToString(out.ContentRange); total != "" {
		if _, err := fmt.Sscanf(total[strings.LastIndex(total, "/")+1:], "%d", &size); err != nil {
			return 0, fmt.Errorf("the store does not tell its size: %s", total)
		}
	}
	if seconds, err := speech.Glance(beginning{head, size}, size); seconds > 0 || err != nil && !errors.Is(err, errBeyond) {
		return seconds, err
	}
	if o.Audio == nil {
		return 0, errors.New("its length cannot be measured without sox or ffmpeg")
	}
	file, err := o.Audio.Open(ctx, url)
	if err != nil {
		return 0, err
	}
	if file.Close != nil {
		defer file.Close()
	}
	return measured(ctx, o, file.Path)
}

// errBeyond is a read of what was not fetched.
var errBeyond = errors.New("behind what was read")

// beginning is the beginning of something longer.
type beginning struct {
	head []byte
	size int64
}

func (b beginning) ReadAt(p []byte, at int64) (int, error) {
	if at >= b.size {
		return 0, io.EOF
	}
	if at+int64(len(p)) > int64(len(b.head)) && int64(len(b.head)) < b.size {
		return 0, errBeyond
	}
	return bytes.NewReader(b.head).ReadAt(p, at)
}
