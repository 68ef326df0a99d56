package nginx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock lets one change at a time go on in a directory of upstream files, also
// among processes: what one writes, another must not test, reload or put back.
// The kernel lets go of it when its holder dies.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && ctx.Err() == nil {
			return func() { d.Close() }, nil
		}
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			d.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			d.Close()
			return nil, fmt.Errorf("another change of the upstream files in %s goes on: %w", dir, ctx.Err())
		case <-time.After(pause):
		}
	}
}
