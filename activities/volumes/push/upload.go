package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/internal/manifest"
	"github.com/understudy-dr/understudy/activities/volumes/internal/source"
)

const (
	// maxParts is the most parts that S3 allows, with some to spare.
	maxParts = 9_000
	// abortTimeout bounds the removal of the parts of an upload that failed.
	abortTimeout = 10 * time.Second
)

// uploadAll uploads files: the large ones one after the other in parallel parts,
// the small ones in parallel. Each is hashed again on its way.
func (p *pusher) uploadAll(ctx context.Context, missing []manifest.Entry) error {
	meter := &manifest.Meter{Tell: p.tell(Uploading)}
	for _, e := range missing {
		meter.Total += e.Size
	}
	small := slices.IndexFunc(missing, func(e manifest.Entry) bool { return e.Size <= p.Part }) // they are sorted by size
	if small < 0 {
		small = len(missing)
	}
	for _, e := range missing[:small] {
		if err := p.uploadParts(ctx, e, meter); err != nil {
			return err
		}
	}
	return inParallel(ctx, p.Parallel, missing[small:], func(ctx context.Context, e manifest.Entry) error { return p.uploadWhole(ctx, e, meter) })
}

// inParallel does a piece of work for each item; the first error ends the rest.
func inParallel[T any](ctx context.Context, workers int, items []T, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan T)
	var group sync.WaitGroup
	for range min(workers, len(items)) {
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

func (p *pusher) open(e manifest.Entry) (*os.File, error) {
	f, err := p.root.OpenFile(e.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", volumes.ErrWrong, err)
	}
	return f, nil
}

func changed(e manifest.Entry) error {
	return fmt.Errorf("%w: %s changed while it was uploaded; push again when nobody writes to it", volumes.ErrWrong, e.Path)
}

func (p *pusher) uploadWhole(ctx context.Context, e manifest.Entry, meter *manifest.Meter) error {
	f, err := p.open(e)
	if err != nil {
		return err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, e.Size+1))
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != e.Sum {
		return changed(e)
	}
	if err := p.put(ctx, e.Path, content, e.Sum); err != nil {
		return err
	}
	meter.Add(e.Size, e.Path)
	return nil
}

func (p *pusher) put(ctx context.Context, name string, content []byte, sum string) error {
	object := p.at.Join(name)
	in := &s3.PutObjectInput{Bucket: aws.String(object.Bucket), Key: aws.String(object.Key), Body: bytes.NewReader(content)}
	if sum != "" {
		in.Metadata = map[string]string{sumKey: sum}
	}
	if _, err := p.client.PutObject(ctx, in); err != nil {
		return source.Explain("write "+object.String(), err)
	}
	return nil
}

// upload is a large file on its way.
type upload struct{ bucket, key, id string }

// uploadParts uploads a large file. It reads it once, from its beginning to its
// end, so that the hash of what is sent is known.
func (p *pusher) uploadParts(ctx context.Context, e manifest.Entry, meter *manifest.Meter) error {
	f, err := p.open(e)
	if err != nil {
		return err
	}
	defer f.Close()
	object := p.at.Join(e.Path)
	begun, err := p.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: aws.String(object.Bucket), Key: aws.String(object.Key), Metadata: map[string]string{sumKey: e.Sum},
	})
	if err != nil {
		return source.Explain("write "+object.String(), err)
	}
	upload := upload{object.Bucket, object.Key, aws.ToString(begun.UploadId)}
	parts, err := p.sendParts(ctx, f, e, upload, meter)
	if err == nil {
		_, err = p.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &upload.bucket, Key: &upload.key, UploadId: &upload.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		if err != nil {
			err = source.Explain("write "+object.String(), err)
		}
	}
	if err != nil {
		enough, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		// Best effort: the parts are seen by nobody, and cost a little until a lifecycle rule removes them.
		_, _ = p.client.AbortMultipartUpload(enough, &s3.AbortMultipartUploadInput{Bucket: &upload.bucket, Key: &upload.key, UploadId: &upload.id})
	}
	return err
}

func (p *pusher) sendParts(ctx context.Context, f *os.File, e manifest.Entry, to upload, meter *manifest.Meter) ([]types.CompletedPart, error) {
	size := max(p.Part, e.Size/maxParts+1)
	parts := make([]types.CompletedPart, (e.Size+size-1)/size)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sum, slots := sha256.New(), make(chan struct{}, p.Parallel)
	var group sync.WaitGroup
	for i := range parts {
		content := make([]byte, min(size, e.Size-int64(i)*size))
		if _, err := io.ReadFull(f, content); err != nil {
			cancel(changed(e))
			break
		}
		sum.Write(content)
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-slots }()
			out, err := p.client.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: &to.bucket, Key: &to.key, UploadId: &to.id, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(content),
			})
			if err != nil {
				cancel(source.Explain("write "+p.at.Join(e.Path).String(), err))
				return
			}
			parts[i] = types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(int32(i + 1))}
			meter.Add(int64(len(content)), e.Path)
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if n, _ := f.Read(make([]byte, 1)); n > 0 || hex.EncodeToString(sum.Sum(nil)) != e.Sum {
		return nil, changed(e)
	}
	return parts, nil
}
