package workflows

import (
	"slices"

	"github.com/understudy-dr/understudy/runbooks"

	"go.temporal.io/sdk/workflow"
)

// undo is one act that takes another one back.
type undo struct {
	// what it does, for the timeline.
	what string
	tier string
	// ours marks what was made by this recovery and is its own, whoever has the traffic by now.
	ours bool
	// slow marks an act that may have to wait for what is still on its way; the next tier does not wait for it.
	slow bool
	act  func(ctx workflow.Context) error
}

// undoStack holds what must be taken back should the recovery not succeed. An
// entry is pushed before the step that it undoes: a step that failed may have
// happened.
type undoStack struct{ entries []undo }

func (s *undoStack) push(u undo) { s.entries = append(s.entries, u) }

// onlyOurs forgets the acts on what belongs to all.
func (s *undoStack) onlyOurs() {
	s.entries = slices.DeleteFunc(s.entries, func(u undo) bool { return !u.ours })
}

// mark is the height of the stack, to unwind back to.
func (s *undoStack) mark() int { return len(s.entries) }

// unwind runs the entries above a mark, the latest first, on a context that a
// cancellation does not reach. One that fails is told, and the rest go on.
func (r *recovery) unwind(ctx workflow.Context, mark int) {
	ctx, _ = workflow.NewDisconnectedContext(ctx) // not cancelled at the end: slow acts go on
	for i := len(r.undo.entries) - 1; i >= mark; i-- {
		entry := r.undo.entries[i]
		if !entry.slow {
			r.takeBackOne(ctx, entry)
			continue
		}
		r.undoing++
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer func() { r.undoing-- }()
			r.takeBackOne(ctx, entry)
		})
	}
	r.undo.entries = r.undo.entries[:mark]
}

// takeBackOne runs one entry and tells how it went.
func (r *recovery) takeBackOne(ctx workflow.Context, entry undo) {
	started := workflow.Now(ctx)
	err := entry.act(ctx)
	rec := Record{Step: runbooks.StepUndo, Tier: entry.tier, State: Done, Reason: entry.what, Started: started, Ended: workflow.Now(ctx)}
	if err != nil {
		rec.State, rec.Reason = Failed, entry.what+": "+reason(err)
		r.report.Advice = append(r.report.Advice, "not undone, do it by hand: "+entry.what)
	}
	r.note(ctx, rec)
}
