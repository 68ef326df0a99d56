package copy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/internal/keyed"
	"github.com/understudy-dr/understudy/activities/volumes/internal/manifest"
	"github.com/understudy-dr/understudy/activities/volumes/internal/source"
)

const (
	// attempts is how often a range is tried, each time with the S3 client's own retries within. A transfer that broke
	// off in the middle is not retried by the client.
	attempts = 3
	// pause is the wait before a range is tried again.
	pause = 200 * time.Millisecond
)

// download is one volume on its way to the disk.
type download struct {
	way
	job     keyed.Job
	root    *os.Root
	journal *journal
	meter   manifest.Meter
	resumed bool
}

// part is a range of an object.
type part struct {
	object source.Object
	index  int
	from   int64
	size   int64
}

func newDownload(w way, job keyed.Job) (*download, error) {
	private, err := job.Private()
	if err != nil {
		return nil, err
	}
	d := &download{way: w, job: job, meter: manifest.Meter{Total: job.Source.Bytes, Tell: job.Tell}}
	if d.root, err = os.OpenRoot(job.Hold.Temp); err != nil {
		return nil, err
	}
	if d.journal, err = openJournal(private); err != nil {
		d.root.Close()
		return nil, err
	}
	return d, nil
}

func (d *download) close() {
	d.root.Close()
	d.journal.close()
}

func (d *download) run(ctx context.Context) error {
	if err := d.make(d.job.Source.Name, d.job.Source.Text); err != nil {
		return err
	}
	var missing []part
	for _, o := range d.job.Source.Objects {
		if err := d.make(o.Path, nil); err != nil {
			return err
		}
		for _, p := range d.parts(o) {
			if d.journal.has(p, d.part) {
				d.resumed = true
				d.meter.Add(p.size, o.Path)
			} else {
				missing = append(missing, p)
			}
		}
	}
	return d.fetchAll(ctx, missing)
}

// make makes a file, and the directories above it, where they are missing.
func (d *download) make(name string, content []byte) error {
	if err := d.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	f, err := d.root.OpenFile(name, os.O_CREATE|os.O_WRONLY, modeWrite)
	if err != nil {
		return fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

func (d *download) parts(o source.Object) []part {
	var parts []part
	for from := int64(0); from < o.Size; from += d.part {
		parts = append(parts, part{object: o, index: len(parts), from: from, size: min(d.part, o.Size-from)})
	}
	return parts
}

// fetchAll fetches ranges; the first that fails ends the rest.
func (d *download) fetchAll(ctx context.Context, missing []part) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan part)
	var group sync.WaitGroup
	for range min(d.parallel, len(missing)) {
		group.Go(func() {
			for p := range queue {
				if err := d.fetch(ctx, p); err != nil {
					cancel(err)
				}
			}
		})
	}
feed:
	for _, p := range missing {
		select {
		case queue <- p:
		case <-ctx.Done():
			break feed
		}
	}
	close(queue)
	group.Wait()
	return keyed.Explain(ctx, "copy "+d.job.Source.At.String(), context.Cause(ctx))
}

// fetch fetches a range, and tries again where the transfer broke off.
func (d *download) fetch(ctx context.Context, p part) error {
	for attempt := 1; ; attempt++ {
		err := d.get(ctx, p)
		if err == nil {
			return d.journal.add(p, d.part)
		}
		if attempt == attempts || !errors.Is(err, volumes.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

func (d *download) get(ctx context.Context, p part) error {
	what := "read " + s3client.Location{Bucket: d.job.Source.At.Bucket, Key: p.object.Key}.String()
	out, err := d.job.Source.Client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: aws.String(d.job.Source.At.Bucket), Key: aws.String(p.object.Key), IfMatch: aws.String(p.object.ETag),
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", p.from, p.from+p.size-1)),
	})
	if status := s3client.Status(err); status == http.StatusPreconditionFailed || status == http.StatusNotFound {
		return fmt.Errorf("%w: %s changed while it was copied", volumes.ErrWrong, p.object.Path)
	}
	if err != nil {
		return source.Explain(what, err)
	}
	defer out.Body.Close()
	f, err := d.root.OpenFile(p.object.Path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	n, err := io.Copy(&writer{f, p.from, &d.meter, p.object.Path}, io.LimitReader(out.Body, p.size))
	if err == nil && n != p.size {
		err = io.ErrUnexpectedEOF
	}
	if err = errors.Join(err, f.Close()); err == nil {
		return nil
	}
	d.meter.Add(-n, p.object.Path)
	if local := (*fs.PathError)(nil); errors.As(err, &local) { // this disk, not the store
		return fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	return source.Explain(what, err)
}

// writer writes a range to its place, and counts it.
type writer struct {
	f      *os.File
	offset int64
	meter  *manifest.Meter
	path   string
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.offset)
	w.offset += int64(n)
	w.meter.Add(int64(n), w.path)
	return n, err
}
