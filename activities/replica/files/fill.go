package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/replica/internal/restoring"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// attempts is how often a file is fetched: the S3 client does not retry a transfer that breaks off in the middle.
	attempts = 3
	// pause is the wait before a file is tried again.
	pause = 200 * time.Millisecond
)

var _ restoring.Way = way{}

// way restores directories by fetching each object.
type way struct {
	replica  *Replica
	parallel int
}

func (way) Beside(string) []string { return nil }

func (way) Free(path string) error {
	empty, err := isEmptyDir(path)
	if errors.Is(err, fs.ErrNotExist) || empty {
		return nil
	}
	return errors.Join(fmt.Errorf("%w: %s", replica.ErrExists, path), err)
}

func (w way) Fill(ctx context.Context, to, _ string, d runbooks.Data, p replica.Point) (replica.Restored, error) {
	s, err := w.replica.open(d, p.Epoch)
	if err != nil {
		return replica.Restored{}, err
	}
	objects, err := s.list(ctx)
	if err != nil {
		return replica.Restored{}, err
	}
	if err := covers(objects, p); err != nil {
		return replica.Restored{}, fmt.Errorf("%s: %w", s.at, err)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return replica.Restored{}, err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return replica.Restored{}, err
	}
	defer root.Close()
	f := fetcher{store: s, root: root}
	if err := each(ctx, w.parallel, objects, f.fetch); err != nil {
		return replica.Restored{}, err
	}
	p.Items = len(objects)
	if newest := newestOf(objects); len(objects) > 0 {
		p.Position = newest.Format(time.RFC3339Nano)
	}
	return replica.Restored{Point: p, Check: fmt.Sprintf("%d files, %d bytes, %d by their sha256", len(objects), f.bytes, f.hashed)}, nil
}

// covers refuses a replica that has less than when it was looked at.
func covers(objects []object, p replica.Point) error {
	at, err := time.Parse(time.RFC3339Nano, p.Position)
	if err != nil {
		return fmt.Errorf("%w: %q is no position of files", replica.ErrNone, p.Position)
	}
	if len(objects) < p.Items {
		return fmt.Errorf("%w: it has %d files, and had %d when it was looked at", replica.ErrDamaged, len(objects), p.Items)
	}
	if newest := newestOf(objects); newest.Before(at) {
		return fmt.Errorf("%w: its newest file is of %s, and was of %s when it was looked at", replica.ErrDamaged, newest, at)
	}
	return nil
}

// fetcher fetches objects into a directory.
type fetcher struct {
	store store
	root  *os.Root

	mu     sync.Mutex
	bytes  int64
	hashed int
}

// fetch fetches a file, and tries again where the transfer broke off.
func (f *fetcher) fetch(ctx context.Context, o object) error {
	if !fs.ValidPath(o.name) {
		return fmt.Errorf("%w: %s has an object %q, which is no path below a directory", replica.ErrDamaged, f.store.at, o.name)
	}
	for attempt := 1; ; attempt++ {
		err := f.get(ctx, o)
		if err == nil || attempt == attempts || !errors.Is(err, replica.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

func (f *fetcher) get(ctx context.Context, o object) error {
	at := s3client.Location{Bucket: f.store.at.Bucket, Key: o.key}
	out, err := f.store.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(at.Bucket), Key: aws.String(at.Key), IfMatch: aws.String(o.etag)})
	if status := s3client.Status(err); status == http.StatusPreconditionFailed || status == http.StatusNotFound {
		return fmt.Errorf("%w: %s changed while it was restored; its writer still runs", replica.ErrDamaged, at)
	}
	if err != nil {
		return unavailable("read", at, err)
	}
	defer out.Body.Close()
	sum := sha256.New()
	n, err := f.write(o.name, io.TeeReader(out.Body, sum))
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR) || errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s is a file and a directory: %w", replica.ErrDamaged, at, err)
	}
	if local := (*fs.PathError)(nil); errors.As(err, &local) {
		return err
	}
	if err != nil {
		return unavailable("read", at, err)
	}
	want, told := out.Metadata[sumKey]
	if got := hex.EncodeToString(sum.Sum(nil)); n != o.size || (told && got != want) {
		return fmt.Errorf("%w: %s has %d bytes and sha256 %s; it should have %d and %s", replica.ErrDamaged, at, n, got, o.size, want)
	}
	if written, err := strconv.ParseInt(out.Metadata[timeKey], 10, 64); err == nil {
		if err := f.root.Chtimes(o.name, time.Unix(0, written), time.Unix(0, written)); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bytes += n
	if told {
		f.hashed++
	}
	return nil
}

// write writes a file and forces it to the disk.
func (f *fetcher) write(name string, content io.Reader) (int64, error) {
	if err := f.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return 0, err
	}
	file, err := f.root.Create(name)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(file, content)
	if err == nil {
		err = file.Sync()
	}
	return n, errors.Join(err, file.Close())
}

// each does a piece of work for each item, some at once; the first error ends the rest.
func each[T any](ctx context.Context, parallel int, items []T, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan T)
	var group sync.WaitGroup
	for range min(parallel, len(items)) {
		group.Go(func() {
			for item := range queue {
				if err := do(ctx, item); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, item := range items {
		select {
		case queue <- item:
		case <-ctx.Done():
		}
	}
	close(queue)
	group.Wait()
	return context.Cause(ctx)
}
