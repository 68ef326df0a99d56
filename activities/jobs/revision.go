package jobs

import "context"

// choose decides under which variant a run with this revision works, and notes it in the head.
func (l *Lease) choose(ctx context.Context, revision string) (Variant, error) {
	h := l.Head()
	wanted, current := l.job.Variant(revision), h.Current()
	switch {
	case current.Revision == revision:
		return current, nil
	case current.ID == "" || h.Window.End == 0:
		return wanted, l.Advance(ctx, func(h *Head) { h.Variants = []Variant{wanted} })
	case l.job.OnModelChange == Restart:
		l.crashed = nil // what was in flight is done again like everything else
		return wanted, l.Advance(ctx, func(h *Head) {
			h.Variants = []Variant{wanted}
			// This revision may have been here before: what it left is looked for.
			h.Window = Window{End: l.job.Manifest.Items}
			h.Counts = Counts{RedoneSeconds: h.RedoneSeconds + h.AudioSeconds}
		})
	case l.job.OnModelChange == MixAndMark:
		for _, v := range h.Variants {
			if v.Revision == revision {
				wanted = v
			}
		}
		return wanted, l.Advance(ctx, func(h *Head) {
			var others []Variant
			for _, v := range h.Variants {
				if v.ID != wanted.ID {
					others = append(others, v)
				}
			}
			h.Variants = append(others, wanted)
		})
	default:
		return Variant{}, &RevisionError{Job: l.job.ID, Began: current.Revision, Active: revision}
	}
}
