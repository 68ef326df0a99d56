// Package libvirt makes machines on hypervisors that libvirt manages, here or
// behind qemu+ssh://.
//
// It drives virsh, and keeps all that belongs to a machine on the hypervisor, in
// one storage pool: the image that was pushed there, with its manifest; an
// overlay on it, which is the machine's disk; a seed with the boot document, as
// NoCloud has it; the console's log. Key, tags and expiry are metadata of the
// domain. So any process finds any machine again, and two pools on one
// hypervisor know nothing of each other.
//
// A key is the name of a domain, and the identity of its order is in the
// domain's UUID: libvirt itself refuses a second machine, or another order,
// under a name that is taken, and every step before the start can be repeated. What was removed leaves
// an empty volume behind, which says that its key is used.
package libvirt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// DefaultURI is the hypervisor of this host.
	DefaultURI = "qemu:///system"
	// DefaultPool is the storage pool that holds images and machines.
	DefaultPool = "understudy"
	// DefaultMemory in MiB and DefaultCPUs are what a machine gets where its placement does not say.
	DefaultMemory = 1024
	DefaultCPUs   = 1
	// DefaultCall bounds one call of virsh. The upload of a seed takes well under a second, a start two or three.
	DefaultCall = 30 * time.Second
	// DefaultGrace is how long a guest has to shut down by itself before it is switched off.
	DefaultGrace = 10 * time.Second
	// busyFor bounds the wait for a pool that another caller is working on.
	busyFor = 10 * time.Second
)

// Config says how hypervisors are reached. All of it may be left at zero.
type Config struct {
	// URI is that of provisions that name none. Default DefaultURI.
	URI string
	// Virsh is the program, with its options. Default virsh.
	Virsh []string
	// Env is added to its environment.
	Env []string
	// Call and Grace stand in for the defaults of those names.
	Call, Grace time.Duration
}

// Provider makes machines with libvirt. It is safe for concurrent use and has no memory.
type Provider struct {
	config Config
	// run calls virsh with arguments and returns what it prints; tests stand between.
	run func(ctx context.Context, uri string, args ...string) (string, error)
}

var (
	_ compute.Provider = (*Provider)(nil)
	_ compute.Console  = (*Provider)(nil)
)

// New returns a provider. It does not connect.
func New(c Config) *Provider {
	if c.URI == "" {
		c.URI = DefaultURI
	}
	if len(c.Virsh) == 0 {
		c.Virsh = []string{"virsh"}
	}
	if c.Call == 0 {
		c.Call = DefaultCall
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	return &Provider{config: c, run: virsh{program: c.Virsh, env: c.Env, limit: c.Call}.run}
}

var (
	idFormat   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}$`)
	poolFormat = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,31}$`)
	networkFmt = regexp.MustCompile(`^(bridge:)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)
)

// place is one pool of one hypervisor.
type place struct{ uri, pool string }

func (p *Provider) place(provision runbooks.Provision) (place, error) {
	at := place{uri: or(provision.URI, p.config.URI), pool: or(provision.Pool, DefaultPool)}
	if !poolFormat.MatchString(at.pool) {
		return at, refused("%q is no name of a storage pool", at.pool)
	}
	if u, err := url.Parse(at.uri); err != nil || u.Scheme == "" || strings.ContainsFunc(at.uri, func(r rune) bool { return r <= ' ' }) {
		return at, refused("%q is no connection URI; write one such as qemu:///system or qemu+ssh://host/system", at.uri)
	}
	return at, nil
}

// remote reports whether the hypervisor is another host, whose loopback is not ours.
func (at place) remote() bool {
	u, err := url.Parse(at.uri)
	return err != nil || u.Host != ""
}

// domain is the name of the domain of a key. Pools have no dots in their names.
func (at place) domain(key string) string { return at.pool + "." + key }

// keyOf is the key that a domain was made with. A prepared machine has another by now.
func (at place) keyOf(name string) string { return strings.TrimPrefix(name, at.pool+".") }

// uuid is that of the domain that an order makes: the same for the same order.
func (at place) uuid(o compute.Order) string {
	sum := sha256.Sum256([]byte(at.pool + "\x00" + o.Key + "\x00" + identity(o)))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // version 8: made up by us
	h := hex.EncodeToString(sum[:16])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// identity is what two orders with one key must share. The boot document is no
// part of it: the settings in it may have changed between two calls.
func identity(o compute.Order) string {
	p := o.Placement
	return strings.Join([]string{o.Service, fmt.Sprint(o.Epoch), p.Type, p.Image, p.Subnet, fmt.Sprint(memory(p)), fmt.Sprint(cpus(p))}, "\x00")
}

// volume is the name of a volume of a key. A plus sign is in no key.
func volume(key, kind string) string { return "understudy+" + key + "+" + kind }

// The kinds of volumes that a machine has.
const (
	diskVolume    = "disk.qcow2"
	seedVolume    = "seed.iso"
	consoleVolume = "console.log"
	goneVolume    = "gone-" // with the day, such as gone-20260102
)

// loopback is the address of a machine that has no network but user-mode
// forwarding: one of its own on the hypervisor's loopback, so that it can keep
// its port.
func (at place) loopback(key string) string {
	sum := sha256.Sum256([]byte("address\x00" + at.pool + "\x00" + key))
	return fmt.Sprintf("127.%d.%d.%d", 64+sum[0]%64, sum[1], 1+sum[2]%254)
}

// mac is the hardware address of a machine, of QEMU's range.
func (at place) mac(key string) string {
	sum := sha256.Sum256([]byte("mac\x00" + at.pool + "\x00" + key))
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[0], sum[1], sum[2])
}

// checkOrder refuses what no look at the hypervisor is needed to refuse.
func (p *Provider) checkOrder(o compute.Order) (place, error) {
	if err := compute.CheckKey(o.Key); err != nil {
		return place{}, err
	}
	at, err := p.place(o.Provision)
	if err != nil {
		return at, err
	}
	switch subnet := o.Placement.Subnet; {
	case o.Provision.Kind != "libvirt":
		return at, refused("kind %s is not for libvirt", o.Provision.Kind)
	case subnet != "" && !networkFmt.MatchString(subnet):
		return at, refused("%q is neither the name of a network nor bridge:NAME", subnet)
	case subnet == "" && at.remote() && o.Placement.Instance == "":
		return at, refused("a machine on another host needs a network to be reached by: placements[].subnet, the name of a libvirt network or bridge:NAME")
	case memory(o.Placement) < 16 || cpus(o.Placement) < 1:
		return at, refused("%d MiB of memory and %d processors make no machine", memory(o.Placement), cpus(o.Placement))
	case o.Placement.Type != "" && o.Placement.Type != "kvm" && o.Placement.Type != "qemu":
		return at, refused("%q is no type of machine; kvm, or qemu, which emulates the processor", o.Placement.Type)
	case subnet == "" && len(o.Provision.Ports) == 0 && o.Placement.Instance == "":
		return at, refused("nothing would reach the machine: name its network (placements[].subnet) or the ports to forward (provision.ports)")
	case slices.ContainsFunc(o.Provision.Ports, func(port int) bool { return port < 1 || port > 65535 }):
		return at, refused("ports %v: a port is 1 to 65535", o.Provision.Ports)
	}
	return at, nil
}

func memory(p runbooks.Placement) int {
	if p.Memory != 0 {
		return p.Memory
	}
	return DefaultMemory
}

func cpus(p runbooks.Placement) int {
	if p.CPUs != 0 {
		return p.CPUs
	}
	return DefaultCPUs
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{compute.ErrRefused}, args...)...)
}
