//go:build vm

package vm

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/activities/compute/libvirt"
	"github.com/understudy-dr/understudy/runbooks"
)

// A slim machine is made, brings its model and transcribes. Stopped, and named
// as prepared in the way that docs/images.md tells, it is what a later order starts.
func TestSlimMachine(t *testing.T) {
	o := here.order(t, "slim", nil)
	if err := here.provider.Check(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	m := here.start(t, o)
	here.healthy(t, o, m)
	here.took("slim image", "copied from S3, proven", time.Since(began))
	if got := transcribed(t, at(m)); !strings.Contains(got, canary) {
		t.Errorf("heard %s, want %s", got, canary)
	}
	console, err := here.provider.Console(t.Context(), ref(o))
	if err != nil {
		t.Fatal(err)
	}
	steps := boot.Steps(console)
	for _, want := range []boot.Step{{Name: "mount", State: "done", Detail: "/models/asr"}, {Name: "verify", State: "done", Detail: "/models/asr"}, {Name: "boot", State: "done"}} {
		if !slices.Contains(steps, want) {
			t.Errorf("the console does not say %+v:\n%s", want, console)
		}
	}

	// It is stopped, and becomes a prepared machine.
	if err := here.provider.Stop(t.Context(), ref(o)); err != nil {
		t.Fatal(err)
	}
	if m, err = here.provider.Describe(t.Context(), ref(o)); err != nil || m.State != compute.Stopped {
		t.Fatalf("%+v, %v", m, err)
	}
	prepared := `<machine managed-by="understudy" service="asr" keep="stopped" address="` + m.Address + `"/>`
	if _, err := here.hypervisor.Virsh(t.Context(), "metadata", m.ID, "--uri", libvirt.Namespace, "--key", "u", "--config", "--set", prepared); err != nil {
		t.Fatal(err)
	}
	again := here.order(t, "prepared", func(b *boot.Machine) {
		b.Order.Epoch, b.Order.Placement = 8, runbooks.Placement{Instance: m.ID}
		b.Order.Provision.Placements, b.Order.Provision.Keep = []runbooks.Placement{b.Order.Placement}, "stopped"
	})
	began = time.Now()
	if m, err = here.provider.Create(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	here.healthy(t, again, m)
	here.took("slim image, stopped and started (keep: stopped)", "on its disk, proven again", time.Since(began))
	if got := transcribed(t, at(m)); !strings.Contains(got, canary) {
		t.Errorf("heard %s, want %s", got, canary)
	}
	if err := here.provider.Terminate(t.Context(), ref(again)); err != nil {
		t.Fatal(err)
	}
	if m, err = here.provider.Describe(t.Context(), ref(again)); err != nil || m.State != compute.Stopped {
		t.Fatalf("given back it is %+v, %v", m, err)
	}
	// With the tags that it was made with it can be removed.
	made := `<machine managed-by="understudy" service="asr" understudy-key="slim" phase="stopped"/>`
	if _, err := here.hypervisor.Virsh(t.Context(), "metadata", m.ID, "--uri", libvirt.Namespace, "--key", "u", "--config", "--set", made); err != nil {
		t.Fatal(err)
	}
}
