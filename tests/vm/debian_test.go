//go:build vm

package vm

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/tests/harness"
)

// A whole Debian, with systemd and the real cloud-init, carries out the document
// that slim machines get, and its cloud-init finds nothing wrong with it.
func TestWholeDebian(t *testing.T) {
	image := here.debian(t)
	change := func(m *boot.Machine) { m.Order.Placement.Image = image }
	o := here.order(t, "debian", change)
	// It looks at its own user-data when the service runs, so that the time of the boot is left alone.
	o.Boot = withCommand(t, o.Boot, fmt.Sprintf(`until curl -sf -o /dev/null http://127.0.0.1:%d/health; do sleep 1; done; cloud-init schema --system >/dev/console 2>&1`, port))
	began := time.Now()
	m := here.start(t, o)
	here.healthy(t, o, m)
	here.took("whole Debian, systemd and cloud-init", "copied from S3, proven", time.Since(began))
	if got := transcribed(t, at(m)); !strings.Contains(got, canary) {
		t.Errorf("heard %s, want %s", got, canary)
	}
	here.says(t, o, "understudy: step cloud-init done")
	here.says(t, o, "Valid cloud-config: ")
}

// A whole Debian that gets no document of ours says so, where a slim one switches itself off.
func TestWholeDebianWithoutADocument(t *testing.T) {
	image := here.debian(t)
	t.Parallel()
	o := here.order(t, "debian-broken", func(m *boot.Machine) { m.Order.Placement.Image = image })
	o.Boot = "#cloud-config\nwrite_files: [{path: \n"
	here.start(t, o)
	here.says(t, o, "understudy: step document failed cloud-init has carried out no boot document")
	console, err := here.provider.Console(t.Context(), ref(o))
	if step, failed := boot.Failed(boot.Steps(console)); err != nil || !failed || step.Name != "document" {
		t.Errorf("the step is %+v, %v", step, err)
	}
	if m, err := here.provider.Describe(t.Context(), ref(o)); err != nil || m.State != compute.Running {
		t.Errorf("it is %+v, %v", m, err)
	}
}

// debian is the image of a whole Debian with the speech service, which is built
// where that was not done yet.
func (r *room) debian(t *testing.T) string {
	t.Helper()
	r.building.Lock()
	defer r.building.Unlock()
	sum := sha256.New()
	fmt.Fprintln(sum, r.slim.Version)
	for _, part := range []string{"cloud.cfg", "document.service"} { // of which a slim image has nothing
		text, err := os.ReadFile(filepath.Join("../../activities/compute/images", part))
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
	}
	want := images.Ref{Name: "speech-debian", Version: fmt.Sprintf("%.6x", sum.Sum(nil))}
	m, err := images.ReadManifest(r.images, want)
	if err != nil {
		old, _ := filepath.Glob(filepath.Join(r.images, want.Name+"@*")) // its pattern is a good one
		for _, file := range old {
			os.Remove(file)
		}
		began := time.Now()
		if m, err = describe(t.Context(), r.work, r.images, want); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(os.Stderr, "image %s built in %s\n", want, time.Since(began).Round(time.Second))
	}
	if err := r.provider.PushImage(t.Context(), pool, r.images, m); err != nil {
		t.Fatal(err)
	}
	return want.String()
}

// describe builds the image from a description, as a user would.
func describe(ctx context.Context, work, dir string, ref images.Ref) (images.Manifest, error) {
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
	file := filepath.Join(work, ref.Name+".yaml")
	text := fmt.Sprintf(`name: %s
version: %q
init: systemd
packages: [s3fs, pocketsphinx, sox, sqlite3]
memory: 512
files:
  - {from: speech-site, to: %s, mode: "0755"}
  - {from: %s, to: /usr/local/bin/litestream, mode: "0755"}
  - {from: credentials, to: %s, mode: "0600"}
`, ref.Name, ref.Version, harness.GuestProgram, litestream, harness.GuestLogin)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return images.Manifest{}, err
	}
	d, err := images.ReadDescription(file)
	if err != nil {
		return images.Manifest{}, err
	}
	return images.Build(ctx, d, dir, os.Stderr)
}
