package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/understudy-dr/understudy/activities/volumes"
)

const (
	// DefaultWorkers is how many files are hashed at once. Reading through a mount waits for the network most of the
	// time, so that more than one processor's worth is useful.
	DefaultWorkers = 4
	// chunk is how much is read at once, in bytes.
	chunk = 1 << 20
)

// hashAll hashes files, the largest first, and hands each sum on. The first
// error ends the rest; those that are in the middle of a read end with it.
func hashAll(ctx context.Context, root *os.Root, entries []Entry, o Options, each func(Entry, string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	meter := &Meter{Tell: o.Tell}
	for _, e := range entries {
		meter.Total += e.Size
	}
	queue := make(chan Entry)
	var group sync.WaitGroup
	workers := o.Workers
	if workers <= 0 {
		workers = DefaultWorkers
	}
	for range min(workers, len(entries)) {
		group.Go(func() {
			for e := range queue {
				sum, err := hash(ctx, root, e, meter)
				if err == nil {
					err = each(e, sum)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	largest := slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return int(min(max(b.Size-a.Size, -1), 1)) })
feed:
	for _, e := range largest {
		select {
		case queue <- e:
		case <-ctx.Done():
			break feed
		}
	}
	close(queue)
	group.Wait()
	return context.Cause(ctx)
}

func hash(ctx context.Context, root *os.Root, e Entry, meter *Meter) (string, error) {
	f, err := open(root, e.Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum, buffer := sha256.New(), make([]byte, chunk)
	var size int64
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.Read(buffer)
		sum.Write(buffer[:n])
		size += int64(n)
		meter.Add(int64(n), e.Path)
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
	}
	if size != e.Size {
		return "", fmt.Errorf("%w: %s changed while it was read: %d bytes, then %d", volumes.ErrWrong, e.Path, e.Size, size)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// open opens a regular file for reading. Something that became a pipe since it was listed does not block it.
func open(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%w: %s is no regular file", volumes.ErrWrong, name)
	}
	return f, nil
}
