package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

// Create makes a machine, or finds the one that the key has made; a placement
// that names a prepared machine has that one started. See compute.Provider.
func (p *Provider) Create(ctx context.Context, o compute.Order) (compute.Machine, error) {
	at, err := p.checkOrder(o)
	if err != nil {
		return compute.Machine{}, err
	}
	if o.Placement.Instance != "" {
		return p.wake(ctx, at, o)
	}
	s, err := p.look(ctx, at, at.domain(o.Key))
	switch {
	case err == nil:
		return p.claim(ctx, at, o, s)
	case !errors.Is(err, errNoDomain):
		return compute.Machine{}, err
	}
	if err := p.unused(ctx, at, o.Key); err != nil {
		return compute.Machine{}, err
	}
	image, err := p.image(ctx, at, o.Placement.Image)
	if err != nil {
		return compute.Machine{}, err
	}
	if err := p.define(ctx, at, o, image); err != nil {
		if errors.Is(err, errExists) { // another order was first
			if s, err := p.look(ctx, at, at.domain(o.Key)); err == nil {
				return p.claim(ctx, at, o, s)
			}
			err = fmt.Errorf("the name %s is taken, and nothing is there: %v", at.domain(o.Key), err)
		}
		return compute.Machine{}, err
	}
	return p.launch(ctx, at, o)
}

// define brings the machine's volumes and its domain to the hypervisor. Each
// step finds what an earlier call has done.
func (p *Provider) define(ctx context.Context, at place, o compute.Order, image placed) error {
	virt, err := p.virtType(ctx, at, o)
	if err != nil {
		return err
	}
	make := func(kind string, size int64, args ...string) error {
		_, err := p.call(ctx, at, append([]string{"vol-create-as", "--pool", at.pool, "--name", volume(o.Key, kind), "--capacity", strconv.FormatInt(size, 10)}, args...)...)
		if errors.Is(err, errExists) {
			return nil
		}
		return err
	}
	if err := make(diskVolume, image.capacity, "--format", "qcow2", "--backing-vol", image.disk, "--backing-vol-format", "qcow2"); err != nil {
		return err
	}
	seed := seedImage(at.uuid(o), o.Boot)
	if err := make(seedVolume, int64(len(seed)), "--format", "raw"); err != nil {
		return err
	}
	if err := p.upload(ctx, at, volume(o.Key, seedVolume), seed); err != nil {
		return err
	}
	if err := make(consoleVolume, 0, "--format", "raw"); err != nil {
		return err
	}
	file, err := written([]byte(render(at, o, notesOf(at, o, time.Now()), image, virt)))
	if err != nil {
		return err
	}
	defer os.Remove(file)
	_, err = p.call(ctx, at, "define", "--file", file)
	return err
}

// launch starts a domain that was defined. Where it certainly cannot start,
// what was made for it is removed again, and the key is free.
func (p *Provider) launch(ctx context.Context, at place, o compute.Order) (compute.Machine, error) {
	name := at.domain(o.Key)
	_, err := p.call(ctx, at, "start", "--domain", name)
	if err != nil && !errors.Is(err, errState) {
		if certain(err) {
			err = errors.Join(err, p.unmake(context.WithoutCancel(ctx), at, name, o.Key))
		}
		return compute.Machine{}, err
	}
	// A call that was given up long ago may arrive after the machine was removed.
	if err := p.unused(ctx, at, o.Key); errors.Is(err, compute.ErrUsed) {
		return compute.Machine{}, errors.Join(err, p.remove(ctx, at, name, o.Key))
	}
	s, err := p.look(ctx, at, name)
	if err != nil {
		return compute.Machine{}, plain(err)
	}
	if s.notes[attrPhase] == phaseMaking && !s.off() {
		if err := p.note(ctx, at, s, map[string]string{attrPhase: phaseStarted}); err != nil {
			return compute.Machine{}, plain(err)
		}
	}
	return p.machine(ctx, at, s)
}

// claim returns the machine that a key has made, if it is this order's and
// lives. One whose making was interrupted is started.
func (p *Provider) claim(ctx context.Context, at place, o compute.Order, s seen) (compute.Machine, error) {
	switch {
	case !s.ours():
		return compute.Machine{}, foreign(s)
	case s.uuid != at.uuid(o):
		return compute.Machine{}, fmt.Errorf("%w: key %s has made %s for another order: service %s, epoch %s, %s",
			compute.ErrUsed, o.Key, s.name, s.notes[compute.TagService], s.notes[compute.TagEpoch], s.notes[attrWhere])
	case s.compute() == compute.Pending:
		return p.launch(ctx, at, o)
	}
	m, err := p.machine(ctx, at, s)
	if err == nil && m.State == compute.Gone {
		return compute.Machine{}, fmt.Errorf("%w: key %s has made %s, which is gone: %s", compute.ErrUsed, o.Key, s.name, m.Detail)
	}
	return m, err
}

// virtType is kvm where the hypervisor has it, and qemu elsewhere; a placement may say which.
func (p *Provider) virtType(ctx context.Context, at place, o compute.Order) (string, error) {
	if o.Placement.Type != "" {
		return o.Placement.Type, nil
	}
	_, err := p.call(ctx, at, "domcapabilities", "--virttype", "kvm")
	switch {
	case err == nil:
		return "kvm", nil
	case errors.Is(err, errNoKVM):
		return "qemu", nil
	default:
		return "", err
	}
}

// plain takes the class from an error of a look that has to succeed: nothing is certain.
func plain(err error) error {
	if errors.Is(err, errNoDomain) {
		return errors.New(err.Error())
	}
	return err
}

func foreign(s seen) error {
	return fmt.Errorf("%w: %s lacks the tag %s=%s", compute.ErrForeign, s.name, compute.TagManagedBy, compute.ManagedBy)
}
