package workflows

import (
	"github.com/understudy-dr/understudy/runbooks"

	"go.temporal.io/sdk/workflow"
)

// undo is one act that takes another one back.
type undo struct {
	// what it does, for the timeline.
	what string
	tier string
	act  func(ctx workflow.Context) error
}

// undoStack holds what must be taken back should the recovery not succeed. An
// entry is pushed before the step that it undoes: a step that failed may have
// happened.
type undoStack struct{ entries []undo }

func (s *undoStack) push(u undo) { s.entries = append(s.entries, u) }

// mark is the height of the stack, to unwind back to.
func (s *undoStack) mark() int { return len(s.entries) }

// unwind runs the entries above a mark, the latest first, on a context that a
// cancellation does not reach. One that fails is told, and the rest go on.
func (r *recovery) unwind(ctx workflow.Context, mark int) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	for i := len(r.undo.entries) - 1; i >= mark; i-- {
		entry := r.undo.entries[i]
		started := workflow.Now(ctx)
		err := entry.act(ctx)
		rec := Record{Step: runbooks.StepUndo, Tier: entry.tier, State: Done, Reason: entry.what, Started: started, Ended: workflow.Now(ctx)}
		if err != nil {
			rec.State, rec.Reason = Failed, entry.what+": "+reason(err)
			r.report.Advice = append(r.report.Advice, "not undone, do it by hand: "+entry.what)
		}
		r.note(ctx, rec)
	}
	r.undo.entries = r.undo.entries[:mark]
}
