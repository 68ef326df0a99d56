package litestream

import (
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

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/s3client"
)

// errVanished means that a file that was listed is no longer there.
var errVanished = errors.New("file vanished")

// store is where a replica lies. Each call ends with its context.
type store interface {
	fmt.Stringer
	// list lists all files, by their names below the store.
	list(ctx context.Context) ([]string, error)
	// dirs lists the directories at the top.
	dirs(ctx context.Context) ([]string, error)
	// head reads the first bytes of a file, fewer where it is shorter, or errVanished.
	head(ctx context.Context, name string, size int64) ([]byte, error)
}

// fileScheme begins the URLs of replicas on a disk.
const fileScheme = "file://"

func open(clients s3access.Clients, url string) (store, error) {
	if dir, ok := strings.CutPrefix(url, fileScheme); ok {
		return folder(filepath.Clean(dir)), nil
	}
	at, err := s3client.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("replica: %w", err)
	}
	client, err := clients.For(at.Bucket)
	if err != nil {
		return nil, err
	}
	return bucket{client, at}, nil
}

type bucket struct {
	client *s3.Client
	at     s3client.Location
}

func (b bucket) String() string { return b.at.String() }

func (b bucket) pages(prefix, delimiter string) *s3.ListObjectsV2Paginator {
	in := &s3.ListObjectsV2Input{Bucket: aws.String(b.at.Bucket), Prefix: aws.String(prefix)}
	if delimiter != "" {
		in.Delimiter = aws.String(delimiter)
	}
	return s3.NewListObjectsV2Paginator(b.client, in)
}

func (b bucket) list(ctx context.Context) ([]string, error) {
	base := b.at.Join("").Key
	var names []string
	for pages := b.pages(base, ""); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, b.explain("list", b.at, err)
		}
		for _, o := range page.Contents {
			names = append(names, strings.TrimPrefix(aws.ToString(o.Key), base))
		}
	}
	return names, nil
}

func (b bucket) dirs(ctx context.Context) ([]string, error) {
	base := b.at.Join("").Key
	var names []string
	for pages := b.pages(base, "/"); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, b.explain("list", b.at, err)
		}
		for _, p := range page.CommonPrefixes {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(aws.ToString(p.Prefix), base), "/"))
		}
	}
	return names, nil
}

func (b bucket) head(ctx context.Context, name string, size int64) ([]byte, error) {
	object := b.at.Join(name)
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: aws.String(object.Bucket), Key: aws.String(object.Key), Range: aws.String(fmt.Sprintf("bytes=0-%d", size-1)),
	})
	if s3client.Missing(err) {
		return nil, errVanished
	}
	if err != nil {
		return nil, b.explain("read", object, err)
	}
	defer out.Body.Close()
	content, err := io.ReadAll(io.LimitReader(out.Body, size))
	if err != nil {
		return nil, b.explain("read", object, err)
	}
	return content, nil
}

func (b bucket) explain(verb string, at s3client.Location, err error) error {
	return fmt.Errorf("%w: %s %s: %w", replica.ErrUnavailable, verb, at, s3client.Explain(err))
}

// folder is a replica on a disk, which may be one of another machine.
type folder string

func (f folder) String() string { return fileScheme + string(f) }

// waiting does what a disk may take for ever to do, and gives it up when the context ends.
func waiting[T any](ctx context.Context, what string, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%w: %s: %w", replica.ErrUnavailable, what, ctx.Err())
	}
}

func (f folder) list(ctx context.Context) ([]string, error) {
	return waiting(ctx, "list "+f.String(), func() ([]string, error) {
		var names []string
		err := fs.WalkDir(os.DirFS(string(f)), ".", func(name string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				names = append(names, name)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		return names, unavailable(err)
	})
}

func (f folder) dirs(ctx context.Context) ([]string, error) {
	return waiting(ctx, "list "+f.String(), func() ([]string, error) {
		entries, err := os.ReadDir(string(f))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		var names []string
		for _, e := range entries {
			if e.IsDir() {
				names = append(names, e.Name())
			}
		}
		return names, unavailable(err)
	})
}

func (f folder) head(ctx context.Context, name string, size int64) ([]byte, error) {
	return waiting(ctx, "read "+f.String(), func() ([]byte, error) {
		file, err := os.Open(filepath.Join(string(f), name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errVanished
		}
		if err != nil {
			return nil, unavailable(err)
		}
		defer file.Close()
		content, err := io.ReadAll(io.LimitReader(file, size))
		return content, unavailable(err)
	})
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", replica.ErrUnavailable, err)
}
