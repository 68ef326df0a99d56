package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// InFlight bounds what has to be done again after a job's service or runner was
// lost: of the items that were given out and have no outcome, as many as were in
// flight at most, the longest ones, and their audio in seconds. What was really
// done again the job's report says, as RedoneSeconds.
func (s *Store) InFlight(ctx context.Context, j Job, h Head) (items int, seconds float64, err error) {
	from, to := h.Window.Item, h.Window.End
	if to <= from {
		return 0, 0, nil
	}
	outcomes, err := s.Outcomes(ctx, j, h, from, to)
	if err != nil {
		return 0, 0, fmt.Errorf("what job %s had in flight: %w", j.ID, err)
	}
	var open []float64
	manifest := s.Items(j, h.Window.Position)
	for at := from; at < to; {
		some, err := manifest.Next(ctx, int(min(to-at, Page)))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, 0, fmt.Errorf("what job %s had in flight: %w", j.ID, err)
		}
		for _, item := range some {
			if !outcomes[item.Index].Settled() {
				open = append(open, item.Seconds)
			}
		}
		at += int64(len(some))
	}
	slices.Sort(open)
	open = open[max(0, len(open)-h.Lanes):]
	for _, one := range open {
		seconds += one
	}
	return len(open), seconds, nil
}
