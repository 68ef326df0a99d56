//go:build vm

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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
	// gateway is this host's loopback, as a guest with user-mode networking sees it.
	gateway = "10.0.2.2"
	port    = 7860
	// patience is how long a guest may take under emulation, on a busy computer.
	patience = 5 * time.Minute
	pool     = "vm"
	canary   = "one two three four five six seven eight nine"
	// login is the file with the store's credentials, on the image.
	login = "/etc/understudy/s3-credentials"
)

// room is a hypervisor with an image of the speech service, and a store with its model.
type room struct {
	hypervisor *harness.LibvirtServer
	minio      *harness.MinIOServer
	provider   *libvirt.Provider
	work       string
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
	work, err := os.MkdirTemp("", "understudy-vm-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(work)
	if here.hypervisor, err = harness.Libvirt(ctx); err != nil {
		return 1, err
	}
	defer here.hypervisor.Close()
	if here.minio, err = harness.MinIO(ctx, work); err != nil {
		return 1, err
	}
	defer here.minio.Kill()
	if err := here.minio.Stock(ctx); err != nil {
		return 1, err
	}
	if _, err := here.hypervisor.Pool(ctx, pool); err != nil {
		return 1, err
	}
	here.provider = libvirt.New(libvirt.Config{URI: here.hypervisor.URI, Env: here.hypervisor.Env, Grace: 20 * time.Second})
	here.work = work
	if err := here.build(ctx, "asr", images.Slim); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// build builds an image of the speech service from a description, as a user
// would, and brings it to the pool. An image that UNDERSTUDY_VM_IMAGES holds
// already is taken as it is.
func (r *room) build(ctx context.Context, name, kind string) error {
	dir := os.Getenv("UNDERSTUDY_VM_IMAGES")
	if dir == "" {
		dir = filepath.Join(r.work, "images")
	}
	m, err := images.ReadManifest(dir, images.Ref{Name: name, Version: "1"})
	if err != nil {
		if m, err = describe(ctx, r.work, dir, name, kind); err != nil {
			return err
		}
	}
	return r.provider.PushImage(ctx, pool, dir, m)
}

// describe builds version 1 of an image that starts in one of the two ways.
func describe(ctx context.Context, work, dir, name, kind string) (images.Manifest, error) {
	program := filepath.Join(work, "speech-site")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "github.com/understudy-dr/understudy/tests/site/speech-site")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return images.Manifest{}, fmt.Errorf("build the speech service: %w: %s", err, out)
	}
	litestream, err := harness.FindLitestream()
	if err != nil {
		return images.Manifest{}, err
	}
	credentials := "[default]\naws_access_key_id = understudy\naws_secret_access_key = understudy-secret\n"
	if err := os.WriteFile(filepath.Join(work, "credentials"), []byte(credentials), 0o600); err != nil {
		return images.Manifest{}, err
	}
	file := filepath.Join(work, name+".yaml")
	text := fmt.Sprintf(`name: %s
version: "1"
init: %s
packages: [s3fs, pocketsphinx, sox, sqlite3]
memory: 512
files:
  - {from: speech-site, to: /usr/local/bin/speech-site, mode: "0755"}
  - {from: %s, to: /usr/local/bin/litestream, mode: "0755"}
  - {from: credentials, to: %s, mode: "0600"}
`, name, kind, litestream, login)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return images.Manifest{}, err
	}
	d, err := images.ReadDescription(file)
	if err != nil {
		return images.Manifest{}, err
	}
	began := time.Now()
	m, err := images.Build(ctx, d, dir, os.Stderr)
	fmt.Fprintf(os.Stderr, "image %s built in %s\n", d.Name, time.Since(began).Round(time.Second))
	return m, err
}

// order is one for a machine that copies or mounts its model and transcribes.
func (r *room) order(t *testing.T, key string, change func(*boot.Machine)) compute.Order {
	place := runbooks.Placement{Type: "qemu", Image: "asr@1", Memory: 768, CPUs: 1}
	o := compute.Order{
		Key: key, Service: "asr", Epoch: 7, Mode: "live", Expires: time.Now().Add(time.Hour),
		Provision: runbooks.Provision{
			Kind: "libvirt", Pool: pool, Ports: []int{port}, Placements: []runbooks.Placement{place},
			Command: []string{"/usr/local/bin/speech-site", "asr", "--model", "/models/asr", "--listen", fmt.Sprintf("0.0.0.0:%d", port)},
		},
		Placement: place,
	}
	store := boot.Store{Endpoint: strings.Replace(r.minio.Endpoint, "127.0.0.1", gateway, 1), Region: "us-east-1", PathStyle: true, Login: login}
	m := boot.Machine{Order: o, Volumes: []boot.Volume{{
		Volume: runbooks.Volume{Source: "s3://" + harness.ModelBucket + "/asr-" + harness.ModelVersion, Mount: "/models/asr", Mode: "copy"}, Store: store,
	}}}
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

// start carries out an order; whatever becomes of it is removed at the end of the test.
func (r *room) start(t *testing.T, o compute.Order) compute.Machine {
	t.Helper()
	m, err := r.provider.Create(t.Context(), o)
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
	ctx := context.WithoutCancel(t.Context())
	if err := r.provider.Terminate(ctx, ref(o)); err != nil {
		t.Error(err)
	}
	if guests := r.hypervisor.Guests(pool + "." + o.Key + ","); len(guests) > 0 {
		t.Errorf("it still runs: %v", guests)
	}
	domains, err := r.hypervisor.Virsh(ctx, "list", "--all", "--name")
	if err != nil || strings.Contains(domains, pool+"."+o.Key+"\n") {
		t.Errorf("domains: %v %s", err, domains)
	}
	left, err := filepath.Glob(filepath.Join(r.hypervisor.Dir, "pools", pool, "understudy+"+o.Key+"+*"))
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

// healthy waits until the service in a machine answers, and returns how long that took.
func (r *room) healthy(t *testing.T, o compute.Order, m compute.Machine) time.Duration {
	t.Helper()
	began := time.Now()
	url := fmt.Sprintf("http://%s:%d/health", m.Address, port)
	ready := harness.Responding(url)
	for {
		err := ready(t.Context())
		if err == nil {
			return time.Since(began)
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

// transcribed is what the service in a machine hears in the canary's recording.
func transcribed(t *testing.T, m compute.Machine) string {
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
	resp, err := http.Post(fmt.Sprintf("http://%s:%d/v1/audio/transcriptions", m.Address, port), form.FormDataContentType(), &body)
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

func TestSlimMachineBootsAndTranscribes(t *testing.T) {
	o := here.order(t, "slim", nil)
	if err := here.provider.Check(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	m := here.start(t, o)
	ordered := time.Since(began)
	here.healthy(t, o, m)
	fmt.Fprintf(os.Stderr, "boot times: slim image, model copied from S3 and proven: /health after %.1f s (ordered in %.1f s)\n", time.Since(began).Seconds(), ordered.Seconds())
	if got := transcribed(t, m); !strings.Contains(got, canary) {
		t.Errorf("heard %s, want %s", got, canary)
	}
	console, err := here.provider.Console(t.Context(), ref(o))
	if err != nil {
		t.Fatal(err)
	}
	steps := boot.Steps(console)
	for _, want := range []boot.Step{{Name: "mount", State: "done", Detail: "/models/asr"}, {Name: "verify", State: "done", Detail: "/models/asr"}, {Name: "boot", State: "done"}} {
		found := false
		for _, s := range steps {
			found = found || s == want
		}
		if !found {
			t.Errorf("the console does not say %+v:\n%s", want, console)
		}
	}

	// Stopped and started it has its model already.
	if err := here.provider.Stop(t.Context(), ref(o)); err != nil {
		t.Fatal(err)
	}
	if m, err = here.provider.Describe(t.Context(), ref(o)); err != nil || m.State != compute.Stopped {
		t.Fatalf("%+v, %v", m, err)
	}
	began = time.Now()
	if m, err = here.provider.Start(t.Context(), ref(o)); err != nil {
		t.Fatal(err)
	}
	here.healthy(t, o, m)
	fmt.Fprintf(os.Stderr, "boot times: slim image, stopped and started: /health after %.1f s\n", time.Since(began).Seconds())
}

func TestMachineWithoutItsModelEndsWithTheReason(t *testing.T) {
	o := here.order(t, "no-model", func(m *boot.Machine) { m.Volumes[0].Source = "s3://" + harness.ModelBucket + "/nowhere" })
	here.start(t, o)
	if why := here.gone(t, o); !strings.Contains(why, "step verify failed: /models/asr") && !strings.Contains(why, "step mount failed: /models/asr") {
		t.Errorf("why: %s", why)
	}
}

func TestQEMUKilledDuringBoot(t *testing.T) {
	o := here.order(t, "killed", nil)
	here.start(t, o)
	for _, pid := range here.hypervisor.Guests(pool + ".killed,") {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	if why := here.gone(t, o); !strings.Contains(why, "its QEMU ended") {
		t.Errorf("why: %s", why)
	}
	if _, err := here.provider.Create(t.Context(), o); !errors.Is(err, compute.ErrUsed) {
		t.Errorf("its key again: %v", err)
	}
}

func TestImageThatIsNotThere(t *testing.T) {
	for image, want := range map[string]string{"nowhere@1": "there is no image nowhere", "asr@2": "there is no version 2 of image asr, but 1"} {
		o := here.order(t, "absent", nil)
		o.Placement.Image = image
		if _, err := here.provider.Create(t.Context(), o); !errors.Is(err, compute.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", image, err)
		}
		here.end(t, o)
	}
}
