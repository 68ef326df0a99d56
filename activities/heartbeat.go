package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
)

// beatEvery is the pause between two heartbeats; an activity that misses four
// is taken for lost, and begins again elsewhere.
const beatEvery = time.Second

// heartbeat beats every second until stopped, so that the engine notices within
// seconds when this process dies.
func heartbeat(ctx context.Context) (stop func()) { return beating(ctx, nil) }

// progress beats like heartbeat, with the latest news of a long piece of work.
func progress(ctx context.Context) (tell func(any), stop func()) {
	latest := make(chan any, 1)
	return func(news any) {
		select {
		case <-latest: // only the newest counts
		default:
		}
		select {
		case latest <- news:
		default:
		}
	}, beating(ctx, latest)
}

func beating(ctx context.Context, latest <-chan any) (stop func()) {
	if !activity.IsActivity(ctx) || activity.GetInfo(ctx).HeartbeatTimeout == 0 {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		beat := time.NewTicker(beatEvery)
		defer beat.Stop()
		var news []any
		for {
			select {
			case one := <-latest:
				news = []any{one}
			case <-beat.C:
				activity.RecordHeartbeat(ctx, news...)
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}
