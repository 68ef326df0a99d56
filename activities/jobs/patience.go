package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/speech"
)

// longestBackoff bounds the pause between two tries.
const longestBackoff = 5 * time.Second

// patiently tries again while the store is away, for as long as the order's patience with it lasts.
func (x *run) patiently(ctx context.Context, try func() error) error {
	began, pause := time.Now(), x.Backoff
	for {
		err := try()
		if err == nil || !errors.Is(err, ErrUnavailable) || time.Since(began) >= x.work.StorePatience {
			return err
		}
		if sleep(ctx, pause) != nil {
			return err
		}
		pause = min(2*pause, longestBackoff)
	}
}

// write writes to the ledger, patiently. What is known is kept even if the work is
// broken off meanwhile: a write that was begun may land anyhow, at a worse time.
func (x *run) write(ctx context.Context, try func(context.Context) error) error {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(releaseTime, cancel) })()
	return x.patiently(longer, func() error { return try(longer) })
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func glance(file File) (float64, error) {
	f, err := os.Open(file.Path)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", speech.ErrAudio, err)
	}
	defer f.Close()
	return speech.Glance(f, file.Size)
}

// whole is a file as it is.
func whole(name string, file File) speech.Audio {
	return speech.Audio{Name: name, Size: file.Size, Open: func() (io.ReadCloser, error) { return os.Open(file.Path) }}
}

// printable is an error as a ledger keeps it: one line of some length.
func printable(err error) string {
	const longest = 1000
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return text
}
