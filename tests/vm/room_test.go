//go:build vm

package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/activities/compute/libvirt"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
)

const (
	port = 7860
	// patience is how long a guest may take under emulation, on a busy computer.
	patience = 5 * time.Minute
	pool     = "vm"
	canary   = audio.Digits
)

// room is a hypervisor with an image of the speech service, and a store with its model.
type room struct {
	hypervisor *harness.LibvirtServer
	minio      *harness.MinIOServer
	provider   *libvirt.Provider
	// work is a directory for what is made on the way, images the one with the images.
	work, images string
	// slim is the image of most machines.
	slim images.Manifest

	// building guards the building of a second image, mu the times.
	building, mu sync.Mutex
	times        []bootTime
}

// bootTime is a row of the table that is printed at the end.
type bootTime struct {
	machine, boot string
	took          time.Duration
}

var here room

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	var err error
	if here.work, err = os.MkdirTemp("", "understudy-vm-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(here.work)
	if here.hypervisor, err = harness.Libvirt(ctx); err != nil {
		return 1, err
	}
	defer here.hypervisor.Close()
	if here.minio, err = harness.MinIO(ctx, here.work); err != nil {
		return 1, err
	}
	defer here.minio.Kill()
	if err := here.minio.Stock(ctx); err != nil {
		return 1, err
	}
	if _, err := here.hypervisor.Pool(ctx, pool); err != nil {
		return 1, err
	}
	here.provider = libvirt.New(here.config())
	began := time.Now()
	if here.images, here.slim, err = harness.BuildSpeechImage(ctx, os.Stderr); err != nil {
		return 1, err
	}
	fmt.Fprintf(os.Stderr, "image %s is there after %s\n", here.slim.Ref(), time.Since(began).Round(time.Second))
	if err := here.provider.PushImage(ctx, pool, here.images, here.slim); err != nil {
		return 1, err
	}
	code := m.Run()
	here.table()
	return code, nil
}

// config is how a provider reaches the hypervisor.
func (r *room) config() libvirt.Config {
	return libvirt.Config{URI: r.hypervisor.URI, Env: r.hypervisor.Env, Grace: 20 * time.Second}
}

// took adds a row to the table of boot times.
func (r *room) took(machine, boot string, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = append(r.times, bootTime{machine, boot, took})
}

// table prints how long machines took from the order to the first good answer of /health.
func (r *room) table() {
	if len(r.times) == 0 {
		return
	}
	t := tabwriter.NewWriter(os.Stderr, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "MACHINE\tITS MODEL\tFROM ORDER TO /health")
	for _, row := range r.times {
		fmt.Fprintf(t, "%s\t%s\t%.1f s\n", row.machine, row.boot, row.took.Seconds())
	}
	_ = t.Flush() // a failing terminal has nobody to tell
}

// variant brings a copy of the slim image to the pool that differs in its manifest.
func (r *room) variant(t *testing.T, name string, change func(*images.Manifest)) string {
	t.Helper()
	m := r.slim
	old := m.Ref()
	m.Name, m.Version = name, "1"
	dir := t.TempDir()
	rename := func(file string) string { return m.Ref().File(strings.TrimPrefix(file, old.String())) }
	m.Files = nil
	for _, f := range r.slim.Files {
		if err := os.Symlink(filepath.Join(r.images, f.Name), filepath.Join(dir, rename(f.Name))); err != nil {
			t.Fatal(err)
		}
		f.Name = rename(f.Name)
		m.Files = append(m.Files, f)
	}
	m.Disk, m.Kernel, m.Initrd = rename(m.Disk), rename(m.Kernel), rename(m.Initrd)
	change(&m)
	if err := r.provider.PushImage(t.Context(), pool, dir, m); err != nil {
		t.Fatal(err)
	}
	return m.Ref().String()
}

// store is how a guest reaches the store with the models.
func (r *room) store() boot.Store {
	s := harness.ForGuests(r.minio.Site())
	return boot.Store{Endpoint: s.MachineEndpoint, Region: s.Region, PathStyle: s.PathStyle, Login: s.Machines}
}

// order is one for a machine that copies or mounts its model and transcribes.
func (r *room) order(t *testing.T, key string, change func(*boot.Machine)) compute.Order {
	place := runbooks.Placement{Type: "qemu", Image: r.slim.Ref().String(), Memory: 768, CPUs: 1}
	o := compute.Order{
		Key: key, Service: "asr", Epoch: 7, Mode: "live", Expires: time.Now().Add(time.Hour),
		Provision: runbooks.Provision{
			Kind: "libvirt", Pool: pool, Ports: []int{port}, Placements: []runbooks.Placement{place}, Command: command(),
		},
		Placement: place,
	}
	m := boot.Machine{Order: o, Volumes: []boot.Volume{{Volume: runbooks.Volume{Source: source, Mount: "/models/asr", Mode: "copy"}, Store: r.store()}}}
	if change != nil {
		change(&m)
	}
	document, err := boot.Render(m)
	if err != nil {
		t.Fatal(err)
	}
	o = m.Order
	o.Boot = document
	return o
}

// source is where the model is.
const source = "s3://" + harness.ModelBucket + "/asr-" + harness.ModelVersion

// command starts the service in a guest.
func command(more ...string) []string {
	return append([]string{harness.GuestProgram, "asr", "--model", "/models/asr", "--listen", fmt.Sprintf("0.0.0.0:%d", port)}, more...)
}

// start carries out an order; whatever becomes of it is removed at the end of the test.
func (r *room) start(t *testing.T, o compute.Order) compute.Machine {
	t.Helper()
	return r.startWith(t, r.provider, o)
}

// startWith is start with a provider that differs from the room's.
func (r *room) startWith(t *testing.T, p *libvirt.Provider, o compute.Order) compute.Machine {
	t.Helper()
	m, err := p.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			console, err := r.provider.Console(context.WithoutCancel(t.Context()), ref(o))
			t.Logf("console: %v\n%s", err, console)
		}
		r.end(t, o)
	})
	return m
}

// end removes a machine, and looks that nothing of it is left but the mark of its key.
func (r *room) end(t *testing.T, o compute.Order) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	if err := r.provider.Terminate(ctx, ref(o)); err != nil {
		t.Error(err)
	}
	r.nothingLeft(t, o.Key)
}

// nothingLeft fails where a machine has left more behind than the mark of its key.
func (r *room) nothingLeft(t *testing.T, key string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	if guests := r.hypervisor.Guests(pool + "." + key + ","); len(guests) > 0 {
		t.Errorf("it still runs: %v", guests)
	}
	domains, err := r.hypervisor.Virsh(ctx, "list", "--all", "--name")
	if err != nil || strings.Contains(domains, pool+"."+key+"\n") {
		t.Errorf("domains: %v %s", err, domains)
	}
	left, err := filepath.Glob(filepath.Join(r.hypervisor.Dir, "pools", pool, "understudy+"+key+"+*"))
	if err != nil {
		t.Error(err)
	}
	for _, file := range left {
		if !strings.Contains(file, "+gone-") {
			t.Errorf("left behind: %s", file)
		}
	}
}

func ref(o compute.Order) compute.Ref {
	return compute.Ref{Key: o.Key, Provision: o.Provision, Placement: o.Placement}
}

// healthy waits until the service in a machine answers.
func (r *room) healthy(t *testing.T, o compute.Order, m compute.Machine) {
	t.Helper()
	began := time.Now()
	url := fmt.Sprintf("http://%s:%d/health", m.Address, port)
	ready := harness.Responding(url)
	for {
		err := ready(t.Context())
		if err == nil {
			return
		}
		seen, look := r.provider.Describe(t.Context(), ref(o))
		if look != nil || seen.State == compute.Gone || time.Since(began) > patience {
			t.Fatalf("%s: %v; the machine is %s: %s, %v", url, err, seen.State, seen.Detail, look)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// gone waits until a machine has ended, and returns why.
func (r *room) gone(t *testing.T, o compute.Order) string {
	t.Helper()
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		m, err := r.provider.Describe(t.Context(), ref(o))
		if err == nil && m.State == compute.Gone {
			return m.Detail
		}
		if time.Since(began) > patience {
			t.Fatalf("it is %s: %s, %v", m.State, m.Detail, err)
		}
	}
}

// says waits until the console of a machine that runs has a text.
func (r *room) says(t *testing.T, o compute.Order, text string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		console, err := r.provider.Console(t.Context(), ref(o))
		if err == nil && strings.Contains(console, text) {
			return
		}
		m, look := r.provider.Describe(t.Context(), ref(o))
		if look == nil && m.State == compute.Gone || time.Since(began) > patience {
			t.Fatalf("it is %s (%s), and its console has no %q: %v\n%s", m.State, m.Detail, text, err, console)
		}
	}
}

// transcribed is what a service hears in the canary's recording.
func transcribed(t *testing.T, at string) string {
	t.Helper()
	clip, err := audio.Say(t.Context(), canary)
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "canary.wav")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(part, bytes.NewReader(clip.WAV())); err != nil {
		t.Fatal(err)
	}
	form.Close()
	resp, err := http.Post(at+"/v1/audio/transcriptions", form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %v: %s", resp.Status, err, answer)
	}
	return string(answer)
}

// at is the base URL of the service in a machine.
func at(m compute.Machine) string { return fmt.Sprintf("http://%s:%d", m.Address, port) }
