package activities

import (
	"context"
	"fmt"

	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

// MountVolumesInput brings model volumes to this host.
type MountVolumesInput struct {
	Effect
	Volumes []runbooks.Volume `json:"volumes"`
}

// MountVolumesResult is what is there now.
type MountVolumesResult struct {
	Timing
	Mounted []volumes.Mounted `json:"mounted"`
}

// MountVolumes mounts or copies the volumes, one after the other, and verifies
// each against its manifest. It is idempotent for its key. Its progress shows
// in its heartbeats.
func (a *Activities) MountVolumes(ctx context.Context, in MountVolumesInput) (MountVolumesResult, error) {
	out := MountVolumesResult{Timing: begin()}
	if err := fresh(ctx); err != nil {
		return out, classify(err)
	}
	tell, stop := progress(ctx)
	defer stop()
	ctx, cancel := bounded(ctx, in.Effect)
	defer cancel()
	for i, v := range in.Volumes {
		if err := a.effects.still(in.Effect); err != nil {
			return out, classify(err)
		}
		mounter, err := a.Mounter(v)
		if err != nil {
			return out, classify(err)
		}
		m, err := mounter.Mount(ctx, volumeKey(in.Key, i), v, func(p volumes.Progress) { tell(p) })
		if err != nil {
			return out, classify(fmt.Errorf("%s: %w", v.Source, err))
		}
		out.Mounted = append(out.Mounted, m)
	}
	out.Timing = out.Timing.end()
	return out, nil
}

// VerifyVolumes hashes every byte of those volumes that MountVolumes brought
// with the same key by their sizes alone, behind the service that uses them. It
// changes nothing; one that is not what its manifest says is ErrTypeWrong.
func (a *Activities) VerifyVolumes(ctx context.Context, in MountVolumesInput) (Timing, error) {
	t := begin()
	tell, stop := progress(ctx)
	defer stop()
	for i, v := range in.Volumes {
		if v.Verify != volumes.VerifySize {
			continue
		}
		mounter, err := a.Mounter(v)
		if err != nil {
			return t, classify(err)
		}
		verifier, ok := mounter.(volumes.Verifier)
		if !ok {
			return t, classify(fmt.Errorf("%w: what mounted %s does not hash it afterwards", volumes.ErrRefused, v.Source))
		}
		if err := verifier.Verify(ctx, volumeKey(in.Key, i), v, func(p volumes.Progress) { tell(p) }); err != nil {
			return t, classify(fmt.Errorf("%s: %w", v.Source, err))
		}
	}
	return t.end(), nil
}

// UnmountVolumes takes away what MountVolumes brought with the same key. It is idempotent.
func (a *Activities) UnmountVolumes(ctx context.Context, in MountVolumesInput) error {
	defer heartbeat(ctx)()
	for i, v := range in.Volumes {
		mounter, err := a.Mounter(v)
		if err != nil {
			return classify(err)
		}
		if err := mounter.Unmount(ctx, volumeKey(in.Key, i), v); err != nil {
			return classify(fmt.Errorf("%s: %w", v.Mount, err))
		}
	}
	return nil
}

func volumeKey(key string, i int) string { return fmt.Sprintf("%s-%d", key, i) }

// bounded ends work at the deadline of its effect.
func bounded(ctx context.Context, e Effect) (context.Context, context.CancelFunc) {
	if e.NotAfter.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, e.NotAfter)
}
