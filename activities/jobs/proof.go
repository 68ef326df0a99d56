package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// proofLasts is how long a store that has shown that it honours conditions is believed: a gateway in front of it,
	// or its configuration, may change while a batch runs for days.
	proofLasts = time.Minute
	// noTag is the tag of no object: MD5 sums are never all zero in practice.
	noTag = `"00000000000000000000000000000000"`
)

// proof is when conditional writes were seen to work.
type proof struct {
	mu sync.Mutex
	at time.Time
}

// Prove shows that the store honours conditions on writes, by three writes to one
// small object of its own, at most once a minute. ErrUnsupported says that the
// store cannot be used. Create and Take ask it, and a running job goes on asking.
func (s *Store) Prove(ctx context.Context) error {
	s.proof.mu.Lock()
	defer s.proof.mu.Unlock()
	if !s.proof.at.IsZero() && time.Since(s.proof.at) < proofLasts {
		return nil
	}
	content := []byte("This object shows whether the store honours If-None-Match and If-Match.\n")
	// The first write makes the object where it is not there yet; the second must be refused.
	_, err := s.put(ctx, probeName, content, Condition{Absent: true})
	if err == nil {
		_, err = s.put(ctx, probeName, content, Condition{Absent: true})
	}
	if err := s.refusal("If-None-Match", err); err != nil {
		return err
	}
	_, err = s.put(ctx, probeName, content, Condition{Tag: noTag})
	if err := s.refusal("If-Match", err); err != nil {
		return err
	}
	s.proof.at = time.Now()
	return nil
}

// refusal turns the outcome of a write that must be refused into an error, unless it was.
func (s *Store) refusal(header string, err error) error {
	switch {
	case errors.Is(err, ErrRefused):
		return nil
	case err == nil || errors.Is(err, ErrUnsupported):
		return fmt.Errorf("%w: %s: a write with %s that had to be refused was not; keep batches in a store with conditional writes, such as AWS S3 or MinIO",
			ErrUnsupported, s.objects, header)
	default:
		return fmt.Errorf("see whether the store honours conditions: %w", err)
	}
}
