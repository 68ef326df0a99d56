package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Cancel ends a job that is not finished, whoever runs it: the runner stops at its
// next write. What was done is kept. Cancelling again is fine.
func (s *Store) Cancel(ctx context.Context, id, reason string) error {
	return s.close(ctx, id, Cancelled, reason)
}

// Delete removes a job and all that belongs to it, its output included, whoever
// runs it. A deletion that was broken off can be repeated; a job that is not
// there is ErrMissing.
func (s *Store) Delete(ctx context.Context, id, reason string) error {
	if err := s.close(ctx, id, Deleted, reason); err != nil {
		return err
	}
	// The head goes last: as long as there is something left, it says that it is to go.
	kept := []string{id + "/" + jobName, id + "/" + headName}
	for after := id + "/"; ; {
		keys, err := s.objects.List(ctx, id+"/", after, 0)
		if err != nil {
			return fmt.Errorf("delete job %s: %w", id, err)
		}
		if len(keys) == 0 {
			break
		}
		after = keys[len(keys)-1]
		var doomed []string
		for _, key := range keys {
			if key != kept[0] && key != kept[1] {
				doomed = append(doomed, key)
			}
		}
		if err := s.objects.Delete(ctx, doomed); err != nil {
			return fmt.Errorf("delete job %s: %w", id, err)
		}
	}
	for _, key := range kept {
		if err := s.objects.Delete(ctx, []string{key}); err != nil {
			return fmt.Errorf("delete job %s: %w", id, err)
		}
	}
	return nil
}

// close moves a job into a state in which nobody works on it. It takes the job from whoever has it.
func (s *Store) close(ctx context.Context, id string, state State, reason string) error {
	j, err := s.job(ctx, id)
	if err != nil {
		return err
	}
	if err := s.Prove(ctx); err != nil {
		return err
	}
	for range swaps {
		h, at, err := s.head(ctx, j)
		switch {
		case err != nil:
			return err
		case h.State == state:
			return nil
		case h.State == Deleted:
			return cancelled(h)
		case h.State == Finished && state == Cancelled:
			return fmt.Errorf("%w: %s", ErrFinished, id)
		}
		h.State, h.Reason, h.Session, h.At = state, strings.TrimSpace(reason), "", now()
		_, err = s.put(ctx, id+"/"+headName, h.encode(), Condition{Tag: at.tag})
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrRefused) {
			return fmt.Errorf("move the head of job %s: %w", id, err)
		}
	}
	return fmt.Errorf("%w: move the head of job %s: lost %d swaps in a row", ErrUnavailable, id, swaps)
}
