//go:build vm

package libvirt_test

import (
	"errors"
	"testing"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/libvirt"
	"github.com/understudy-dr/understudy/runbooks"
)

// A machine that was prepared is started for an order, stopped when that is
// over, and starts for the next one; one key has it once.
func TestPreparedMachine(t *testing.T) {
	w := newWorld(t)
	p := w.provider()
	o := w.order("prepare")
	made, err := p.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context(), compute.Ref{ID: made.ID, Provision: o.Provision}); err != nil {
		t.Fatal(err)
	}
	// What docs/images.md tells people to do.
	if _, err := hypervisor.Virsh(t.Context(), "metadata", made.ID, "--uri", libvirt.Namespace, "--key", "u", "--config",
		"--set", `<machine managed-by="understudy" service="asr" keep="stopped" address="`+made.Address+`"/>`); err != nil {
		t.Fatal(err)
	}
	wake := func(key string, epoch int64) compute.Order {
		o := w.order(key)
		o.Epoch, o.Provision.Keep = epoch, "stopped"
		o.Placement = runbooks.Placement{Instance: made.ID}
		o.Provision.Placements = []runbooks.Placement{o.Placement}
		return o
	}
	first := wake("first", 8)
	for range 2 {
		m, err := p.Create(t.Context(), first)
		if err != nil || m.ID != made.ID || m.Key != "first" || m.State != compute.Running || m.Address != made.Address || !m.Kept() {
			t.Fatalf("started: %+v, %v", m, err)
		}
	}
	if _, err := p.Create(t.Context(), wake("second", 9)); !errors.Is(err, compute.ErrCapacity) {
		t.Errorf("while it runs for another key: %v", err)
	}
	byKey := compute.Ref{Key: "first", Provision: first.Provision}
	if err := p.Terminate(t.Context(), byKey); err != nil {
		t.Fatal(err)
	}
	m, err := p.Describe(t.Context(), byKey)
	if err != nil || m.State != compute.Stopped || len(w.guests()) != 0 {
		t.Fatalf("given back: %+v, %v", m, err)
	}
	if _, err := p.Create(t.Context(), first); !errors.Is(err, compute.ErrUsed) {
		t.Errorf("its old key again: %v", err)
	}
	if _, err := p.Create(t.Context(), wake("old", 7)); !errors.Is(err, compute.ErrUsed) {
		t.Errorf("an older epoch: %v", err)
	}
	if m, err := p.Create(t.Context(), wake("third", 9)); err != nil || m.State != compute.Running {
		t.Errorf("the next order: %+v, %v", m, err)
	}
	other := wake("other", 10)
	other.Service = "tts"
	if _, err := p.Create(t.Context(), other); !errors.Is(err, compute.ErrForeign) {
		t.Errorf("another service: %v", err)
	}
}
