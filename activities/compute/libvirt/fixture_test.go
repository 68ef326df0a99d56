//go:build vm

package libvirt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/computetest"
	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/activities/compute/libvirt"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

var hypervisor *harness.LibvirtServer

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	var err error
	if hypervisor, err = harness.Libvirt(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cancel()
	code := m.Run()
	hypervisor.Close()
	os.Exit(code)
}

// world is a pool of its own on the hypervisor, with an image that starts nothing.
type world struct {
	t         *testing.T
	pool, dir string
	held      atomic.Bool
	mu        sync.Mutex
	// between stands between the provider and virsh, for one call of a command.
	between map[string]libvirt.Hook
}

var worlds atomic.Int32

func newWorld(t *testing.T) *world {
	w := &world{t: t, pool: fmt.Sprintf("w%d", worlds.Add(1)), between: map[string]libvirt.Hook{}}
	var err error
	if w.dir, err = hypervisor.Pool(t.Context(), w.pool); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"9", "10"} {
		w.image("blank", version)
	}
	t.Cleanup(func() {
		for _, pid := range w.guests() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return w
}

// image puts an image into the pool of which the disk is empty.
func (w *world) image(name, version string) {
	ref := images.Ref{Name: name, Version: version}
	disk := filepath.Join(w.dir, ref.File(".qcow2"))
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", disk, "16M").CombinedOutput(); err != nil {
		w.t.Fatalf("qemu-img: %v: %s", err, out)
	}
	text, err := json.Marshal(images.Manifest{Name: name, Version: version, Init: images.Systemd, Disk: ref.File(".qcow2"), Capacity: 16 << 20, Files: []images.File{{Name: ref.File(".qcow2")}}})
	if err != nil {
		w.t.Fatal(err)
	}
	manifest := filepath.Join(w.dir, ref.ManifestName())
	if err := os.WriteFile(manifest, text, 0o644); err != nil {
		w.t.Fatal(err)
	}
	for _, file := range []string{disk, manifest} {
		if err := hypervisor.Own(file); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) provider() *libvirt.Provider {
	p := libvirt.New(libvirt.Config{URI: hypervisor.URI, Env: hypervisor.Env, Grace: time.Second})
	p.Between(func(ctx context.Context, args []string, call libvirt.Call) (string, error) {
		w.mu.Lock()
		between := w.between[args[0]]
		delete(w.between, args[0])
		w.mu.Unlock()
		if between == nil {
			return call(ctx, args)
		}
		return between(ctx, args, call)
	})
	return p
}

func (w *world) interpose(command string, f libvirt.Hook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.between[command] = f
}

func (w *world) guests() []int { return hypervisor.Guests(w.pool + ".") }

func (w *world) order(key string) compute.Order {
	place := runbooks.Placement{Type: "qemu", Image: "blank@10", Memory: 32, CPUs: 1, Price: 0.5}
	return compute.Order{
		Key: key, Service: "asr", Epoch: 7, Mode: "live", Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Second), Boot: "#cloud-config\n",
		Provision: runbooks.Provision{Kind: "libvirt", Pool: w.pool, Ports: []int{7860}, Placements: []runbooks.Placement{place}}, Placement: place,
	}
}

func (w *world) fixture() computetest.Fixture {
	impossible := func(change func(*compute.Order)) compute.Order {
		o := w.order("impossible")
		change(&o)
		return o
	}
	refused := func(change func(*compute.Order)) computetest.Impossible {
		return computetest.Impossible{Order: impossible(change), Err: compute.ErrRefused}
	}
	return computetest.Fixture{
		Provider: w.provider(), Again: func() compute.Provider { return w.provider() },
		Order: w.order,
		Other: func(o compute.Order) compute.Order { o.Placement.Memory += 16; return o },
		Count: func(*testing.T) int { return len(w.guests()) },
		NoID:  w.pool + ".never-made", Keeps: true,
		Impossible: map[string]computetest.Impossible{
			"another kind":                refused(func(o *compute.Order) { o.Provision.Kind = "local" }),
			"an image that is nowhere":    refused(func(o *compute.Order) { o.Placement.Image = "nowhere@1" }),
			"a version that is nowhere":   refused(func(o *compute.Order) { o.Placement.Image = "blank@11" }),
			"an image that is a path":     refused(func(o *compute.Order) { o.Placement.Image = "../blank@10" }),
			"no image":                    refused(func(o *compute.Order) { o.Placement.Image = "" }),
			"a pool that is nowhere":      refused(func(o *compute.Order) { o.Provision.Pool = "nowhere" }),
			"a pool that is an option":    refused(func(o *compute.Order) { o.Provision.Pool = "--all" }),
			"a URI that is none":          refused(func(o *compute.Order) { o.Provision.URI = "here there" }),
			"no way to reach it":          refused(func(o *compute.Order) { o.Provision.Ports = nil }),
			"another host, no network":    refused(func(o *compute.Order) { o.Provision.URI = "qemu+ssh://elsewhere/system" }),
			"a network with an option":    refused(func(o *compute.Order) { o.Placement.Subnet = "--x" }),
			"a port that is none":         refused(func(o *compute.Order) { o.Provision.Ports = []int{70000} }),
			"less memory than none":       refused(func(o *compute.Order) { o.Placement.Memory = -1 }),
			"a type that is none":         refused(func(o *compute.Order) { o.Placement.Type = "g5.xlarge" }),
			"an instance that is nowhere": {Order: impossible(func(o *compute.Order) { o.Placement.Instance = w.pool + ".nowhere" }), Err: compute.ErrCapacity},
		},
		Exit: func(t *testing.T, m compute.Machine) {
			for _, pid := range hypervisor.Guests(m.ID + ",") {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		},
		Foreign: w.foreign,
		LoseReply: func(*testing.T) {
			w.interpose("start", func(ctx context.Context, args []string, call libvirt.Call) (string, error) {
				_, _ = call(ctx, args)
				return "", errors.New("connection lost")
			})
		},
		Hold:   w.hold,
		Held:   w.held.Load,
		Absent: map[string]string{"Delay": "a domain is seen at once by all who ask its hypervisor"},
	}
}

// hold keeps the definition of the next machine back until it is released.
func (w *world) hold(t *testing.T) func() {
	arrive, arrived := make(chan struct{}), make(chan struct{})
	w.interpose("define", func(ctx context.Context, args []string, call libvirt.Call) (string, error) {
		text, err := os.ReadFile(args[len(args)-1])
		if err != nil {
			t.Error(err)
		}
		file := filepath.Join(t.TempDir(), "domain.xml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Error(err)
		}
		late := append(slices.Clone(args[:len(args)-1]), file)
		go func() {
			<-arrive
			_, _ = call(context.WithoutCancel(ctx), late)
			close(arrived)
		}()
		w.held.Store(true)
		<-ctx.Done()
		return "", ctx.Err()
	})
	return func() { close(arrive); <-arrived }
}

// foreign is a domain in our naming that somebody else has made.
func (w *world) foreign(t *testing.T) (compute.Ref, func() bool) {
	name := w.pool + ".theirs"
	file := filepath.Join(t.TempDir(), "domain.xml")
	text := fmt.Sprintf(`<domain type='qemu'><name>%s</name><metadata><x:machine xmlns:x="https://example.com" managed-by="understudy"/></metadata><memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os><devices/></domain>`, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"define", file}, {"start", name}} {
		if _, err := hypervisor.Virsh(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	// Its process has no file of ours in its arguments; it is found by its name.
	alive := func() bool { return len(w.guests()) >= 1 && len(hypervisor.Guests(name+",")) == 1 }
	if !alive() {
		t.Fatal("the foreign machine does not run")
	}
	return compute.Ref{ID: name, Provision: w.order("x").Provision}, alive
}

func TestConformance(t *testing.T) {
	computetest.Run(t, func(t *testing.T) computetest.Fixture { return newWorld(t).fixture() })
}
