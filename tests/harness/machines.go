package harness

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/activities/compute/libvirt"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// MachinePool is the storage pool of Machines.
	MachinePool = "understudy"
	// machineMemory is what a guest gets, in MiB: the recognizer's model takes half of it.
	machineMemory = 768
	// guestModel is where a guest has its model.
	guestModel = "/models/asr"
)

// Machines is a hypervisor of our own with the image of the speech server.
type Machines struct {
	*LibvirtServer
	Image images.Manifest
	// Provider is how Understudy drives it.
	Provider *libvirt.Provider
}

// SpeechMachines starts a hypervisor and brings the image to it, which is built
// first where that was not done before.
func SpeechMachines(ctx context.Context, tell io.Writer) (*Machines, error) {
	dir, image, err := BuildSpeechImage(ctx, tell)
	if err != nil {
		return nil, err
	}
	m := &Machines{Image: image}
	if m.LibvirtServer, err = Libvirt(ctx); err != nil {
		return nil, err
	}
	m.Provider = libvirt.New(libvirt.Config{URI: m.URI, Env: m.Env})
	if _, err = m.Pool(ctx, MachinePool); err == nil {
		err = m.Provider.PushImage(ctx, MachinePool, dir, image)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Tier is a cold tier whose standby is a real machine: it brings its model from
// the source itself, and answers at the port. The speech server gets more flags.
func (m *Machines) Tier(source string, port int, flags ...string) runbooks.Tier {
	command := append([]string{GuestProgram, "asr", "--model", guestModel, "--listen", fmt.Sprintf("0.0.0.0:%d", port)}, flags...)
	return runbooks.Tier{
		Name: runbooks.TierCold, Server: "cold", URL: fmt.Sprintf("http://{address}:%d", port), Within: runbooks.Duration(4 * time.Minute),
		Provision: &runbooks.Provision{
			Kind: "libvirt", URI: m.URI, Pool: MachinePool, Ports: []int{port}, Command: command,
			Placements: []runbooks.Placement{{Type: "qemu", Image: m.Image.Ref().String(), Memory: machineMemory, CPUs: 1}},
		},
		Volumes: []runbooks.Volume{{Source: source, Mount: guestModel, Mode: "copy"}},
	}
}

// ForGuests is a store as a site file describes it for machines: they reach this
// host's loopback at another address, and have a login of their own.
func ForGuests(s runbooks.S3) runbooks.S3 {
	s.MachineEndpoint, s.Machines = strings.Replace(s.Endpoint, "127.0.0.1", GuestHost, 1), GuestLogin
	return s
}
