package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

// Stop lets a machine shut down, switches it off where it does not, and keeps
// it. See compute.Provider.
func (p *Provider) Stop(ctx context.Context, r compute.Ref) error {
	at, s, err := p.living(ctx, r)
	if err != nil {
		return err
	}
	return p.turnOff(ctx, at, s)
}

// Start starts a stopped machine. See compute.Provider.
func (p *Provider) Start(ctx context.Context, r compute.Ref) (compute.Machine, error) {
	at, s, err := p.living(ctx, r)
	if err != nil {
		return compute.Machine{}, err
	}
	if s.compute() == compute.Running {
		return p.machine(ctx, at, s)
	}
	return p.turnOn(ctx, at, s, nil)
}

// Terminate removes a machine with all that was made for it, and marks its key
// as used; a prepared one it stops. See compute.Provider.
func (p *Provider) Terminate(ctx context.Context, r compute.Ref) error {
	at, s, err := p.find(ctx, r)
	switch {
	case errors.Is(err, compute.ErrNone):
		key := r.Key
		if key == "" {
			key = at.keyOf(r.ID)
		}
		return p.clearRest(ctx, at, key)
	case err != nil:
		return err
	case !s.ours():
		return foreign(s)
	case s.kept() || s.name == r.Placement.Instance:
		return p.turnOff(ctx, at, s)
	}
	key := s.notes[compute.TagKey]
	if s.name != at.domain(key) {
		return fmt.Errorf("%w: %s is not the machine that key %q makes; where it was prepared, give it the tag %s=stopped", compute.ErrForeign, s.name, key, compute.TagKeep)
	}
	return p.remove(ctx, at, s.name, key)
}

// clearRest removes what a call that was interrupted before it made a machine,
// or a removal, has left behind.
func (p *Provider) clearRest(ctx context.Context, at place, key string) error {
	names, err := p.volumes(ctx, at)
	if err != nil || compute.CheckKey(key) != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, volume(key, "")) && !strings.HasPrefix(name, volume(key, goneVolume)) {
			return p.remove(ctx, at, at.domain(key), key)
		}
	}
	return nil
}

// remove marks the key as used, and then removes the machine.
func (p *Provider) remove(ctx context.Context, at place, name, key string) error {
	if err := p.unused(ctx, at, key); err == nil {
		mark := volume(key, goneVolume+time.Now().UTC().Format("20060102"))
		if _, err := p.call(ctx, at, "vol-create-as", "--pool", at.pool, "--name", mark, "--capacity", "0", "--format", "raw"); err != nil && !errors.Is(err, errExists) {
			return err
		}
	} else if !errors.Is(err, compute.ErrUsed) {
		return err
	}
	return p.unmake(ctx, at, name, key)
}

// unmake removes the domain and the volumes of a key.
func (p *Provider) unmake(ctx context.Context, at place, name, key string) error {
	for _, step := range [][]string{{"destroy", "--domain", name}, {"undefine", "--domain", name, "--managed-save", "--snapshots-metadata", "--nvram"}} {
		if _, err := p.call(ctx, at, step...); err != nil && !errors.Is(err, errNoDomain) && !errors.Is(err, errState) {
			return err
		}
	}
	return p.clear(ctx, at, key)
}

// living finds a machine of ours that is there.
func (p *Provider) living(ctx context.Context, r compute.Ref) (place, seen, error) {
	at, s, err := p.find(ctx, r)
	switch {
	case err != nil:
		return at, s, err
	case !s.ours():
		return at, s, foreign(s)
	case s.compute() == compute.Gone:
		return at, s, fmt.Errorf("%w: %s is gone: %s", compute.ErrNone, s.name, p.epitaph(ctx, at, s))
	}
	return at, s, nil
}

// turnOff stops a machine. It is marked first, so that one that is off is known
// to be so on purpose; a prepared one is free again, with its key used.
func (p *Provider) turnOff(ctx context.Context, at place, s seen) error {
	changes := map[string]string{attrPhase: phaseStopped}
	if s.kept() && s.notes[compute.TagKey] != "" {
		changes[compute.TagMode] = compute.ModeResting
	}
	if err := p.note(ctx, at, s, changes); err != nil {
		return err
	}
	if s.off() {
		return nil
	}
	if _, err := p.call(ctx, at, "shutdown", "--domain", s.name, "--mode", "acpi"); errors.Is(err, errState) {
		return nil
	}
	for end := time.Now().Add(p.config.Grace); time.Now().Before(end); {
		if !wait(ctx, 200*time.Millisecond) {
			return ctx.Err()
		}
		now, err := p.look(ctx, at, s.name)
		if err == nil && now.off() {
			return nil
		}
	}
	_, err := p.call(ctx, at, "destroy", "--domain", s.name)
	if errors.Is(err, errState) {
		return nil
	}
	return plain(err)
}

// turnOn starts a stopped machine, with changes to its notes.
func (p *Provider) turnOn(ctx context.Context, at place, s seen, changes map[string]string) (compute.Machine, error) {
	if err := p.note(ctx, at, s, changes); err != nil {
		return compute.Machine{}, err
	}
	if _, err := p.call(ctx, at, "start", "--domain", s.name); err != nil && !errors.Is(err, errState) {
		return compute.Machine{}, plain(err)
	}
	now, err := p.look(ctx, at, s.name)
	if err != nil {
		return compute.Machine{}, plain(err)
	}
	if !now.off() {
		if err := p.note(ctx, at, now, map[string]string{attrPhase: phaseStarted}); err != nil {
			return compute.Machine{}, err
		}
	}
	return p.machine(ctx, at, now)
}

// note changes the notes of a domain, for now and for its next start.
func (p *Provider) note(ctx context.Context, at place, s seen, changes map[string]string) error {
	same := true
	for key, value := range changes {
		same = same && s.notes[key] == value
	}
	if same {
		return nil
	}
	args := []string{"metadata", "--domain", s.name, "--uri", Namespace, "--key", "u", "--set", s.notes.with(changes).element("machine", ""), "--config"}
	if !s.off() {
		args = append(args, "--live")
	}
	_, err := p.call(ctx, at, args...)
	if errors.Is(err, errState) && !s.off() { // it ended meanwhile
		_, err = p.call(ctx, at, args[:len(args)-1]...)
	}
	return plain(err)
}
