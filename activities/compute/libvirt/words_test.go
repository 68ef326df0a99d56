package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/runbooks"
)

// What libvirt 9 says, and what it means.
func TestErrorsHaveTheirClass(t *testing.T) {
	for complaint, want := range map[string]error{
		"error: failed to get domain 'x'\nerror: Domain not found: no domain with matching name 'x'\n":                                                 errNoDomain,
		"error: Failed to create vol x\nerror: storage volume 'x' exists already\n":                                                                    errExists,
		"error: failed to get pool 'nope'\nerror: Storage pool not found: no storage pool with matching name 'nope'\n":                                 compute.ErrRefused,
		"error: failed to connect to the hypervisor\nerror: Cannot recv data: Permission denied (publickey).: Connection reset by peer\n":              compute.ErrCredentials,
		"error: Failed to start domain 'x'\nerror: internal error: process exited: Could not set up host forwarding rule 'tcp:127.1.1.1:7860-:7860'\n": compute.ErrCapacity,
		"error: Failed to start domain 'x'\nerror: cannot set up guest memory 'pc.ram': Cannot allocate memory\n":                                      compute.ErrCapacity,
		"error: Domain is already active\n": errState,
	} {
		if err := classified("start", "qemu:///system", complaint, errors.New("exit status 1")); !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", complaint, err, want)
		}
	}
	unknown := classified("start", "qemu:///system", "error: failed to connect to the hypervisor\nerror: End of file while reading data\n\x1b[2J", errors.New("exit status 1"))
	if certain(unknown) || errors.Is(unknown, errNoDomain) || strings.ContainsAny(unknown.Error(), "\x1b\n") {
		t.Errorf("a lost connection is %q", unknown)
	}
}

// A program that is missing is told so, and one that hangs is ended.
func TestVirshThatIsMissingOrHangs(t *testing.T) {
	_, err := virsh{program: []string{"no-such-virsh"}, limit: time.Second}.run(t.Context(), DefaultURI, "list")
	if !errors.Is(err, compute.ErrRefused) || !strings.Contains(err.Error(), "apt-get install libvirt-clients") {
		t.Errorf("missing: %v", err)
	}
	_, err = virsh{program: []string{"sh", "-c", "sleep 1000 & wait"}, limit: 100 * time.Millisecond}.run(t.Context(), DefaultURI, "list")
	if !errors.Is(err, context.DeadlineExceeded) || certain(err) {
		t.Errorf("hanging: %v", err)
	}
}

func sample(key string) compute.Order {
	place := runbooks.Placement{Image: "asr@3", Price: 0.25}
	return compute.Order{
		Key: key, Service: `a"<&>`, Epoch: 7, Mode: "drill", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Placement: place,
		Provision: runbooks.Provision{Kind: "libvirt", Ports: []int{7860}, Placements: []runbooks.Placement{place}},
	}
}

// What is written into a domain is read from it again, whatever is in the tags.
func TestDomainKeepsItsNotes(t *testing.T) {
	at := place{uri: DefaultURI, pool: DefaultPool}
	o := sample("-rf")
	made := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	image := placed{Manifest: images.Manifest{Init: images.Slim, Kernel: "k", Initrd: "i", Cmdline: "a=<b>"}, dir: "/pool"}
	text := render(at, o, notesOf(at, o, made), image, "qemu")
	if err := xml.Unmarshal([]byte(text), new(struct{})); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	s, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !s.ours() || s.name != "understudy.-rf" || s.uuid != at.uuid(o) || s.notes.price() != 0.25 || !s.notes.made().Equal(made) || s.networked {
		t.Errorf("read: %+v", s)
	}
	tags := s.notes.tags()
	for tag, want := range o.Tags() {
		if tags[tag] != want {
			t.Errorf("tag %s is %q, want %q", tag, tags[tag], want)
		}
	}
	if len(tags) != len(o.Tags()) {
		t.Errorf("tags: %v", tags)
	}
	if want := "hostfwd=tcp:" + at.loopback(o.Key) + ":7860-:7860"; !strings.Contains(text, want) {
		t.Errorf("no %s in\n%s", want, text)
	}
	o.Placement.Subnet = "bridge:br0"
	s, err = parse(render(at, o, notesOf(at, o, made), image, "kvm"))
	if err != nil || !s.networked || s.notes[attrAddress] != "" {
		t.Errorf("on a bridge: %+v, %v", s, err)
	}
}

func TestStates(t *testing.T) {
	ours := notes{compute.TagManagedBy: compute.ManagedBy}
	for _, c := range []struct {
		state, reason string
		with          map[string]string
		want          compute.State
	}{
		{"running", "booted", nil, compute.Running},
		{"paused", "I/O error", nil, compute.Running},
		{"in shutdown", "user", nil, compute.Stopping},
		{"shut off", "unknown", map[string]string{attrPhase: phaseMaking}, compute.Pending},
		{"shut off", "failed", map[string]string{attrPhase: phaseMaking}, compute.Gone},
		{"shut off", "unknown", map[string]string{attrPhase: phaseStarted}, compute.Gone}, // libvirtd was started anew, and has forgotten why
		{"shut off", "crashed", map[string]string{attrPhase: phaseStarted}, compute.Gone},
		{"shut off", "destroyed", map[string]string{attrPhase: phaseStopped}, compute.Stopped},
		{"shut off", "shutdown", map[string]string{attrPhase: phaseStarted, compute.TagKeep: "stopped"}, compute.Stopped},
	} {
		s := seen{state: c.state, reason: c.reason, notes: ours.with(c.with)}
		if got := s.compute(); got != c.want {
			t.Errorf("%s (%s) %v: %s, want %s", c.state, c.reason, c.with, got, c.want)
		}
	}
}

// One order has one identity; what may change between two calls is no part of it.
func TestIdentity(t *testing.T) {
	at := place{uri: DefaultURI, pool: DefaultPool}
	o := sample("k")
	again := o
	again.Boot, again.Expires = "#cloud-config\n", o.Expires.Add(time.Hour)
	if at.uuid(o) != at.uuid(again) {
		t.Error("another document makes another order")
	}
	for name, change := range map[string]func(*compute.Order){
		"key": func(o *compute.Order) { o.Key = "K" }, "epoch": func(o *compute.Order) { o.Epoch++ }, "image": func(o *compute.Order) { o.Placement.Image = "asr@4" },
		"memory": func(o *compute.Order) { o.Placement.Memory = 4096 },
	} {
		other := sample("k")
		change(&other)
		if at.uuid(o) == at.uuid(other) {
			t.Errorf("another %s makes no other order", name)
		}
	}
	if at.loopback("k") == at.loopback("K") || !strings.HasPrefix(at.loopback("k"), "127.") {
		t.Errorf("addresses %s and %s", at.loopback("k"), at.loopback("K"))
	}
}

func TestMarksOfOldKeysAreForgotten(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for name, want := range map[string]bool{
		"understudy+k+gone-20260101": true, "understudy+k+gone-20260220": false, "understudy+k+disk.qcow2": false, "asr@1.qcow2": false, "understudy+k+gone-": false,
	} {
		if forgotten(name, now) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
