package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// resumeWithin bounds the search for interrupted batches; each goes on as a
// workflow of its own, which outlives the recovery.
const resumeWithin = 2 * time.Minute

// resumeBatches has interrupted batch-transcription jobs go on where the service
// runs now. A batch store that is away stops nothing: it is said, and a person
// can resume them later.
func (r *recovery) resumeBatches(ctx workflow.Context, rung runbooks.Rung) {
	batches := r.in.Runbook.BatchesOf(rung.Tier)
	if batches == nil || r.in.Mode != ModeLive {
		return
	}
	shut := r.open(ctx, runbooks.StepResume, rung.Tier, "looking for interrupted batches")
	result, err := do(ctx, within(longLook, resumeWithin), "resume interrupted batches", acts.ResumeBatches, activities.ResumeBatchesInput{
		Service: r.in.Service, Batches: *batches,
	})
	if err != nil {
		shut(Failed, reason(err), result.Timing)
		r.report.Advice = append(r.report.Advice, "interrupted batches could not be looked for; later: understudy batch resume "+r.in.Service)
		return
	}
	r.report.InFlight = result.InFlight
	for _, lost := range result.InFlight {
		r.report.RPOAudioSeconds += lost.Seconds
	}
	what := fmt.Sprintf("%d of %d batches resumed", len(result.Resumed), result.Found)
	if len(result.Foreign) > 0 {
		what += fmt.Sprintf(", %d of them another runner's: %s", len(result.Foreign), strings.Join(result.Foreign, ", "))
	}
	if r.report.RPOAudioSeconds > 0 {
		what += fmt.Sprintf("; at most %.1f s of audio are done again", r.report.RPOAudioSeconds)
	}
	if len(result.Problems) > 0 {
		shut(Failed, what+"; "+join(result.Problems), result.Timing)
		r.report.Advice = append(r.report.Advice, "look at the batches that were not resumed: understudy batch status")
		return
	}
	shut(Done, what, result.Timing)
}
