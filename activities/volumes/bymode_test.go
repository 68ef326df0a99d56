package volumes_test

import (
	"context"
	"testing"

	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

// named is a provider that tells only its name.
type named string

func (n named) Mount(context.Context, string, runbooks.Volume, func(volumes.Progress)) (volumes.Mounted, error) {
	return volumes.Mounted{How: string(n)}, nil
}

func (n named) Unmount(context.Context, string, runbooks.Volume) error { return failure(n) }

func (n named) Inspect(context.Context, runbooks.Volume) (volumes.Mounted, error) {
	return volumes.Mounted{How: string(n)}, nil
}

func (n named) Verify(context.Context, string, runbooks.Volume, func(volumes.Progress)) error {
	return failure(n)
}

type failure string

func (f failure) Error() string { return string(f) }

func TestByMode(t *testing.T) {
	b := volumes.ByMode{Mounts: named("mount"), Copies: named("copy")}
	for want, all := range map[string][]runbooks.Volume{
		"mount": {{}, {Mode: "mount"}},
		"copy":  {{Mode: "copy"}, {Mode: "copy", Writable: true}, {Mode: "mount", Writable: true}, {Writable: true}},
	} {
		for _, v := range all {
			mounted, err := b.Mount(t.Context(), "key", v, nil)
			if err != nil || mounted.How != want {
				t.Errorf("mount %+v by %s, want %s", v, mounted.How, want)
			}
			if seen, err := b.Inspect(t.Context(), v); err != nil || seen.How != want {
				t.Errorf("inspect %+v by %s, want %s", v, seen.How, want)
			}
			if err := b.Unmount(t.Context(), "key", v); err != failure(want) {
				t.Errorf("unmount %+v by %v, want %s", v, err, want)
			}
			if err := b.Verify(t.Context(), "key", v, nil); err != failure(want) {
				t.Errorf("verify %+v by %v, want %s", v, err, want)
			}
		}
	}
}
