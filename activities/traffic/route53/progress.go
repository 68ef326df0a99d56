package route53

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-dr/understudy/activities/traffic"
)

// submission is a change that was made, and the records that it leads to.
type submission struct {
	// id is empty where there is nothing to wait for.
	id, records string
}

// progress is what this process knows of how far changes are.
type progress struct {
	// last is the newest change that may not be in sync yet.
	last submission
	// synced are the records that were last seen in sync.
	synced string
}

// known returns what there is to wait for until records as they are now are at
// all name servers; false where this process does not know.
func (b *Balancer) known(records string) (submission, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.progress.last.id != "" && b.progress.last.records == records:
		return b.progress.last, true
	case b.progress.last.id == "" && b.progress.synced == records:
		return submission{}, true
	default:
		return submission{}, false
	}
}

// submitted takes note of a change. Route 53 takes the changes of a zone in
// their order, so with the newest all are in sync.
func (b *Balancer) submitted(id, records string) submission {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.progress.last = submission{id, records}
	return b.progress.last
}

// settled takes note that a change needs no more waiting; synced says that it is
// at all name servers.
func (b *Balancer) settled(s submission, synced bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.progress.last == s {
		b.progress = progress{}
		if synced {
			b.progress.synced = s.records
		}
	}
}

// await returns when a change is at all name servers. A look that fails says
// nothing about the change, and the next may succeed.
func (b *Balancer) await(ctx context.Context, s submission) error {
	if s.id == "" {
		return nil
	}
	patient, cancel := context.WithTimeout(ctx, b.config.Sync)
	defer cancel()
	var last error // why the latest look failed
	for {
		inSync, err := b.look(patient, s.id)
		switch {
		case inSync:
			b.settled(s, true)
			return nil
		case codeOf(err) == forgottenCode:
			b.settled(s, false) // the next try repeats the change, and gets an id that is known
			return err
		case errors.Is(err, traffic.ErrRefused):
			return err
		case err == nil || patient.Err() == nil:
			last = err
		}
		if wait(patient, b.config.Poll) {
			continue
		}
		err = fmt.Errorf("%w: the records of %s are changed, and not yet at all name servers of Route 53 (change %s): %w",
			traffic.ErrUnreachable, b.name(), s.id, patient.Err())
		if last != nil {
			err = fmt.Errorf("%w; %w", err, last)
		}
		return err
	}
}
