//go:build vm

package vm

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// The primary dies. The machine of the cold tier panics while it boots; that is
// in the timeline, nothing of it is left, and the next tier's machine, in another
// pool, mounts its model, goes on with the history, and takes the traffic.
func TestRecoveryClimbsPastAMachineThatPanics(t *testing.T) {
	const far = "far"
	if _, err := here.hypervisor.Pool(t.Context(), far); err != nil {
		t.Fatal(err)
	}
	if err := here.provider.PushImage(t.Context(), far, here.images, here.slim); err != nil {
		t.Fatal(err)
	}
	panicking := here.variant(t, "panicking-cold", func(m *images.Manifest) { m.Cmdline += " rdinit=/nonexistent" })
	s := here.scene(t, rung{runbooks.TierCold, "cold", pool, panicking}, rung{runbooks.TierCrossRegion, "hot", far, here.slim.Ref().String()})
	strike(t, s)
	r := recovered(t, s, runbooks.TierCrossRegion)
	here.took("slim image, after an alert, verified through HAProxy", "mounted with s3fs, proven; history restored", r.Verified.Sub(ordered(r)))
	if !slices.ContainsFunc(r.Timeline, func(at workflows.Record) bool {
		return at.Tier == runbooks.TierCold && at.State == workflows.Failed && strings.Contains(at.Reason, "Kernel panic - not syncing")
	}) {
		t.Errorf("the timeline does not say that the cold machine panicked\n%s", r.Markdown())
	}
	if left, err := here.provider.List(t.Context(), *s.Runbook.Tiers[0].Provision, s.Runbook.Service); err != nil || len(left) != 0 {
		t.Errorf("of the cold tier there is %+v, %v", left, err)
	}
	for _, name := range here.volumesOf(t, pool) {
		if strings.Contains(name, "-"+runbooks.TierCold+"-") && !strings.Contains(name, "+gone-") {
			t.Errorf("left behind: %s", name)
		}
	}
}
