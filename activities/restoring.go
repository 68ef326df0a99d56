package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
)

// DataInput names the data of a service and where the newest of it is.
type DataInput struct {
	Data []runbooks.Data `json:"data"`
	// From is the epoch below whose prefix the active replicated; zero, where nobody knows, takes the newest prefix
	// before Before.
	From   int64 `json:"from,omitempty"`
	Known  bool  `json:"known,omitempty"`
	Before int64 `json:"before"`
}

// DataPoint is how far one piece of data is.
type DataPoint struct {
	Data  runbooks.Data `json:"data"`
	Point replica.Point `json:"point"`
}

// LookAtDataResult is how far all of it is.
type LookAtDataResult struct {
	Timing
	Points []DataPoint `json:"points"`
}

// LookAtData finds the points from which data would be restored. It only looks.
func (a *Activities) LookAtData(ctx context.Context, in DataInput) (LookAtDataResult, error) {
	out := LookAtDataResult{Timing: begin()}
	defer heartbeat(ctx)()
	for _, d := range in.Data {
		point, err := a.lookAtData(ctx, in, d)
		if err != nil {
			return out, classify(fmt.Errorf("%s of %s: %w", d.Kind, d.Path, err))
		}
		out.Points = append(out.Points, DataPoint{Data: d, Point: point})
	}
	out.Timing = out.Timing.end()
	return out, nil
}

func (a *Activities) lookAtData(ctx context.Context, in DataInput, d runbooks.Data) (replica.Point, error) {
	store, err := a.replicaOf(d)
	if err != nil {
		return replica.Point{}, err
	}
	if in.Known {
		return store.Look(ctx, d, in.From)
	}
	all, err := store.Epochs(ctx, d)
	if err != nil {
		return replica.Point{}, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if all[i] >= in.Before {
			continue // ours, or a later one's
		}
		point, err := store.Look(ctx, d, all[i])
		if errors.Is(err, replica.ErrNone) {
			continue
		}
		return point, err
	}
	return replica.Point{}, replica.ErrNone
}

// AwaitSyncInput waits until nothing new arrives.
type AwaitSyncInput struct {
	DataInput
	Until time.Time `json:"until"`
	// Service and Home are whose steps are measured by earlier ones: what follows is the way of the data to Home.
	Service string `json:"service,omitempty"`
	Home    string `json:"home,omitempty"`
}

// AwaitSyncResult is where it stands still.
type AwaitSyncResult struct {
	LookAtDataResult
	// Pace is how long the steps at home took before.
	Pace []reports.Pace `json:"pace,omitempty"`
}

// syncQuiet is how long nothing new must arrive, after the writing has stopped,
// until the replica is taken for complete: Litestream uploads every second.
const syncQuiet = 3 * time.Second

// AwaitSync waits until the replica of a service that no longer writes stands
// still, and returns where. It only looks.
func (a *Activities) AwaitSync(ctx context.Context, in AwaitSyncInput) (out AwaitSyncResult, err error) {
	t := begin()
	defer heartbeat(ctx)()
	var before string
	since := time.Now()
	for {
		out.LookAtDataResult, err = a.LookAtData(ctx, in.DataInput)
		now := ""
		for _, p := range out.Points {
			now += p.Point.Position + " "
		}
		switch {
		case err != nil || now != before:
			before, since = now, time.Now()
		case time.Since(since) >= syncQuiet:
			out.Pace = a.pace(ctx, in.Service, in.Home)
			out.Started = t.Started
			out.Timing = out.Timing.end()
			return out, nil
		}
		if !pause(ctx, in.Until, bootEvery) {
			if err == nil {
				err = errors.New("something new arrives all the time: does anybody still write there?")
			}
			return out, classify(late(ctx, err))
		}
	}
}

// RestoreDataInput brings data to this host.
type RestoreDataInput struct {
	Effect
	Points []DataPoint `json:"points"`
}

// RestoreDataResult is what was brought.
type RestoreDataResult struct {
	Timing
	Restored []replica.Restored `json:"restored"`
}

// RestoreData restores data from the points given, or from newer ones where
// those are merged with others by now, and proves each by its check. It is
// idempotent for its key, and never overwrites other data.
func (a *Activities) RestoreData(ctx context.Context, in RestoreDataInput) (RestoreDataResult, error) {
	out := RestoreDataResult{Timing: begin()}
	if err := fresh(ctx); err != nil {
		return out, classify(err)
	}
	defer heartbeat(ctx)()
	ctx, cancel := bounded(ctx, in.Effect)
	defer cancel()
	for i, p := range in.Points {
		if err := a.effects.still(in.Effect); err != nil {
			return out, classify(err)
		}
		store, err := a.replicaOf(p.Data)
		if err != nil {
			return out, classify(err)
		}
		r, err := restorePoint(ctx, store, volumeKey(in.Key, i), p)
		if err != nil {
			return out, classify(fmt.Errorf("%s: %w", p.Data.Path, err))
		}
		out.Restored = append(out.Restored, r)
	}
	out.Timing = out.Timing.end()
	return out, nil
}

// newerPoints is how often a point is looked for again that was merged away meanwhile.
const newerPoints = 3

// restorePoint restores a point. A point that is not there any more was merged
// with later ones, as Litestream does after some minutes, and the newest of the
// same prefix takes its place, never an older one. A try that a crash cut short
// may have come to that already: its data is at the path, under the same key.
func restorePoint(ctx context.Context, store replica.Replica, key string, p DataPoint) (replica.Restored, error) {
	point := p.Point
	for again := 0; ; again++ {
		r, err := store.Restore(ctx, key, p.Data, point)
		if again == newerPoints || !errors.Is(err, replica.ErrNone) && !errors.Is(err, replica.ErrExists) {
			return r, err
		}
		newest, missed := store.Look(ctx, p.Data, point.Epoch)
		if missed != nil || newest.Position == point.Position || newest.At.Before(point.At) {
			return r, err
		}
		point = newest
	}
}

// RemoveData takes away what RestoreData brought with the same key. It is idempotent.
func (a *Activities) RemoveData(ctx context.Context, in RestoreDataInput) error {
	defer heartbeat(ctx)()
	for i, p := range in.Points {
		store, err := a.replicaOf(p.Data)
		if err != nil {
			return classify(err)
		}
		if err := store.Remove(ctx, volumeKey(in.Key, i), p.Data); err != nil {
			return classify(fmt.Errorf("%s: %w", p.Data.Path, err))
		}
	}
	return nil
}

// SetDataAsideInput names restored data by the key of its restore.
type SetDataAsideInput struct {
	Effect
	Data []runbooks.Data `json:"data"`
}

// SetDataAsideResult is where it is kept.
type SetDataAsideResult struct {
	Timing
	Paths []string `json:"paths,omitempty"`
}

// SetDataAside keeps what RestoreData brought with the same key, and what was
// written into it since, beside its path: the path is free for the next
// standby, and nothing is lost. It is idempotent.
func (a *Activities) SetDataAside(ctx context.Context, in SetDataAsideInput) (SetDataAsideResult, error) {
	out := SetDataAsideResult{Timing: begin()}
	defer heartbeat(ctx)()
	for i, d := range in.Data {
		store, err := a.replicaOf(d)
		if err != nil {
			return out, classify(err)
		}
		path, err := store.SetAside(ctx, volumeKey(in.Key, i), d)
		if err != nil {
			return out, classify(err)
		}
		if path != "" {
			out.Paths = append(out.Paths, path)
		}
	}
	out.Timing = out.Timing.end()
	return out, nil
}

func (a *Activities) replicaOf(d runbooks.Data) (replica.Replica, error) {
	store, ok := a.Replicas[d.Kind]
	if !ok {
		return nil, fmt.Errorf("data of kind %s is not restored by this Understudy", d.Kind)
	}
	return store, nil
}
