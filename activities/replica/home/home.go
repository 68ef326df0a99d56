// Package home takes data over on a host that has data of its own already: that
// of the primary, when a failback brings home what a standby wrote meanwhile.
//
// The newest data is restored beside the old and proven while the service still
// runs. Then the service is stopped, the old data is set aside, whole, with a
// list of what it holds and nobody replicated; the new data takes its place, and
// the service starts and writes below the prefix of its epoch from then on. What
// was taken over can be given back until the next one. No data is ever removed.
//
// Each step is remembered on disk before it is taken: whoever comes after a
// crash, with the same epoch or a later one, finishes it or takes it back.
package home

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/runbooks"
)

// ErrOld means that a later epoch was taken over, or that this one was given back: it is never taken again.
var ErrOld = errors.New("a later epoch has the data")

// ErrService means that the service could not be stopped or started here.
var ErrService = errors.New("the service does not obey")

// Service is what uses the data on this host.
type Service interface {
	// Stop stops it and all that writes or replicates its data, and returns when nothing of it runs. It is idempotent.
	Stop(ctx context.Context) error
	// Start starts it: from now on it writes below the epoch's prefixes, which are in the order of the data. It is
	// idempotent.
	Start(ctx context.Context, epoch int64, prefixes []string) error
	// Resume goes on with what accompanies the service after this program was started again. It neither starts nor
	// stops the service: it may have been fenced, or stopped for a reason.
	Resume(ctx context.Context, epoch int64, prefixes []string) error
}

// Config is what a host needs.
type Config struct {
	// Service is its name in the runbook.
	Service string
	// Data is where each piece lives on this host.
	Data     []runbooks.Data
	Replicas map[string]replica.Replica
	Programs Service
	// InPlace says that the data here follows the active by itself, as that of a hot standby does: to take over is then
	// only to replicate it below the new epoch.
	InPlace bool
	// State is the file that remembers what was done. It must outlive the host's restarts.
	State string
}

// Host takes data over and gives it back, one thing at a time.
type Host struct {
	Config
	turn chan struct{}
}

// Taken is data that was taken over.
type Taken struct {
	Epoch int64 `json:"epoch"`
	// From is the epoch that wrote it.
	From   int64   `json:"from"`
	Pieces []Piece `json:"pieces"`
}

// Piece is one piece of data that was taken over.
type Piece struct {
	Path string `json:"path"`
	// Restored is how far it is, with what the runbook's check answered.
	Restored replica.Restored `json:"restored"`
	// Aside is where the old data is; empty where there was none.
	Aside string `json:"aside,omitempty"`
	// Tail is what the old data holds and the new does not.
	Tail Tail `json:"tail,omitzero"`
}

// New returns a host.
func New(c Config) (*Host, error) {
	for i, d := range c.Data {
		if c.Replicas[d.Kind] == nil {
			return nil, fmt.Errorf("data[%d]: a host cannot take over data of kind %q", i, d.Kind)
		}
	}
	if len(c.Data) == 0 {
		return nil, fmt.Errorf("%s has no data; a host has nothing to take over", c.Service)
	}
	h := &Host{Config: c, turn: make(chan struct{}, 1)}
	_, err := h.load()
	return h, err
}

// TakeOver brings the data of an epoch here, and lets the service go on with it
// below another. Repeated with the same epochs it finds what it did, or goes on
// where it was interrupted. ErrOld, replica.ErrNone and replica.ErrDamaged are
// final; before the service was stopped an error changes nothing.
func (h *Host) TakeOver(ctx context.Context, from, epoch int64) (Taken, error) {
	if err := h.enter(ctx); err != nil {
		return Taken{}, err
	}
	defer h.leave()
	s, err := h.load()
	if err != nil {
		return Taken{}, err
	}
	switch {
	case epoch < s.Epoch, epoch == s.Epoch && (s.Stage == returning || s.Stage == returned):
		return Taken{}, fmt.Errorf("%w: epoch %d is %s here", ErrOld, s.Epoch, s.Stage)
	case epoch == s.Epoch && from != s.From:
		return Taken{}, fmt.Errorf("%w: epoch %d takes over from epoch %d here, not from %d", ErrOld, epoch, s.From, from)
	case epoch > s.Epoch:
		if s.between() { // an earlier one was never finished, and nobody asks for it any more
			if err := h.giveBack(ctx, &s); err != nil {
				return Taken{}, fmt.Errorf("epoch %d, which was interrupted: %w", s.Epoch, err)
			}
		}
		s = h.begin(s, from, epoch)
	}
	// Step 1. Restore beside the old data, and prove it: the service still runs.
	if s.Stage == restoring {
		if err := h.restore(ctx, &s); err != nil {
			return Taken{}, err
		}
	}
	// Step 2. Stop the service: from here on nobody writes the old data.
	if s.Stage == stopping {
		if err := h.Programs.Stop(ctx); err != nil {
			return Taken{}, fmt.Errorf("%w: stop: %w", ErrService, err)
		}
		if err := h.save(&s, moving); err != nil {
			return Taken{}, err
		}
	}
	// Step 3. The old data goes aside, the new takes its place.
	if s.Stage == moving {
		for i := range s.Pieces {
			if err := h.swap(ctx, &s, i); err != nil {
				return Taken{}, err
			}
		}
		if err := h.save(&s, starting); err != nil {
			return Taken{}, err
		}
	}
	// Step 4. Start the service on it.
	if s.Stage == starting {
		if err := h.save(&s, starting); err != nil { // where it is the first step
			return Taken{}, err
		}
		if err := h.Programs.Start(ctx, s.Epoch, h.prefixes(s.Epoch)); err != nil {
			return Taken{}, fmt.Errorf("%w: start: %w", ErrService, err)
		}
		if err := h.save(&s, taken); err != nil {
			return Taken{}, err
		}
	}
	return s.taken(), nil
}

// GiveBack lets the service go on with the data that it had before an epoch was
// taken over. What was written meanwhile is kept aside as well. It is idempotent,
// and an epoch that was never taken over never will be afterwards.
func (h *Host) GiveBack(ctx context.Context, epoch int64) error {
	if err := h.enter(ctx); err != nil {
		return err
	}
	defer h.leave()
	s, err := h.load()
	switch {
	case err != nil:
		return err
	case epoch < s.Epoch:
		return fmt.Errorf("%w: epoch %d is %s here", ErrOld, s.Epoch, s.Stage)
	case epoch > s.Epoch && s.between():
		if err := h.giveBack(ctx, &s); err != nil {
			return err
		}
		fallthrough
	case epoch > s.Epoch:
		s = s.next(0, epoch, nil)
		return h.save(&s, returned)
	default:
		return h.giveBack(ctx, &s)
	}
}

// Resume goes on after this program was started again. What was being given back
// is given back; a take-over that was interrupted waits for whoever asked for it.
func (h *Host) Resume(ctx context.Context) error {
	if err := h.enter(ctx); err != nil {
		return err
	}
	defer h.leave()
	s, err := h.load()
	switch {
	case err != nil:
		return err
	case s.Stage == returning:
		return h.giveBack(ctx, &s)
	case s.between():
		return nil
	default:
		return h.Programs.Resume(ctx, s.wrote(), h.prefixes(s.wrote()))
	}
}

// begin is the state at the beginning of a take-over.
func (h *Host) begin(s state, from, epoch int64) state {
	if !h.InPlace {
		return s.next(from, epoch, h.Data)
	}
	s = s.next(from, epoch, nil)
	s.Stage = starting
	return s
}

func (h *Host) restore(ctx context.Context, s *state) error {
	if err := h.save(s, restoring); err != nil { // before the first file is there
		return err
	}
	for i := range s.Pieces {
		p, d := &s.Pieces[i], h.Data[i]
		store, key := h.Replicas[d.Kind], h.key(s.Epoch, i)
		point, err := store.Look(ctx, d, s.From)
		if err != nil {
			return fmt.Errorf("%s of epoch %d: %w", d.Path, s.From, err)
		}
		d.Path = p.Staged
		if p.Restored, err = store.Restore(ctx, key, d, point); errors.Is(err, replica.ErrExists) {
			// An earlier try restored another point: something was still written then.
			if err = store.Remove(ctx, key, d); err == nil {
				p.Restored, err = store.Restore(ctx, key, d, point)
			}
		}
		if err == nil {
			err = likeTheOld(p.Path, p.Staged)
		}
		if err != nil {
			return fmt.Errorf("restore %s: %w", p.Path, err)
		}
	}
	return h.save(s, stopping)
}

func (h *Host) giveBack(ctx context.Context, s *state) error {
	switch s.Stage {
	case returned:
		return nil
	case restoring:
		if err := h.unstage(ctx, s); err != nil {
			return err
		}
		return h.save(s, returned)
	}
	if err := h.save(s, returning); err != nil {
		return err
	}
	// A service whose data was not touched is only started again: it may be its stop that has failed.
	if h.InPlace || slices.ContainsFunc(s.Pieces, func(p piece) bool { return p.Weighed }) {
		if err := h.Programs.Stop(ctx); err != nil {
			return fmt.Errorf("%w: stop: %w", ErrService, err)
		}
	}
	for i := range s.Pieces {
		if err := unswap(s.Pieces[i], s.Epoch); err != nil {
			return err
		}
	}
	if err := h.unstage(ctx, s); err != nil {
		return err
	}
	if err := h.Programs.Start(ctx, s.Former, h.prefixes(s.Former)); err != nil {
		return fmt.Errorf("%w: start: %w", ErrService, err)
	}
	return h.save(s, returned)
}

// unstage takes away what was restored and never took a place.
func (h *Host) unstage(ctx context.Context, s *state) error {
	for i, p := range s.Pieces {
		d := h.Data[i]
		d.Path = p.Staged
		if err := h.Replicas[d.Kind].Remove(ctx, h.key(s.Epoch, i), d); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) prefixes(epoch int64) []string {
	all := make([]string, len(h.Data))
	for i, d := range h.Data {
		all[i] = replica.Prefix(d.Replica+d.Bucket, epoch)
	}
	return all
}

func (h *Host) key(epoch int64, i int) string {
	return fmt.Sprintf("home-%s-%d-%d", h.Service, epoch, i)
}

// enter waits for its turn.
func (h *Host) enter(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *Host) leave() { <-h.turn }

// String says it to people, in one line.
func (t Taken) String() string {
	if len(t.Pieces) == 0 {
		return fmt.Sprintf("it goes on with the data that it has, and replicates it below epoch %d", t.Epoch)
	}
	var said []string
	for _, p := range t.Pieces {
		text := fmt.Sprintf("%s has the data of epoch %d as of %s", p.Path, t.From, p.Restored.At.UTC().Format(time.RFC3339))
		if p.Restored.Check != "" {
			text += ", its check answers " + p.Restored.Check
		}
		if p.Aside != "" {
			text += fmt.Sprintf("; the old is kept in %s, %s", p.Aside, p.Tail)
		}
		said = append(said, text)
	}
	return strings.Join(said, "; ")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
