//go:build vm

package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/activities/compute/libvirt"
	"github.com/understudy-dr/understudy/tests/harness"
)

// Each of these machines ends, says why, and leaves nothing behind: start looks
// for that when its test is over.

func TestModelThatIsNotThere(t *testing.T) {
	t.Parallel()
	o := here.order(t, "no-model", func(m *boot.Machine) { m.Volumes[0].Source = "s3://" + harness.ModelBucket + "/nowhere" })
	here.start(t, o)
	here.endsWith(t, o, "it has switched itself off", "step verify failed: /models/asr: it has no MANIFEST.sha256")
}

// QEMU is killed while the model is on its way.
func TestQEMUKilledDuringBoot(t *testing.T) {
	t.Parallel()
	o := here.order(t, "killed", nil)
	here.start(t, o)
	here.says(t, o, "understudy: step mount begin /models/asr")
	for _, pid := range here.hypervisor.Guests(pool + ".killed,") {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	here.endsWith(t, o, "its QEMU ended")
	if _, err := here.provider.Create(t.Context(), o); !errors.Is(err, compute.ErrUsed) {
		t.Errorf("its key again: %v", err)
	}
}

// The kernel finds no first program.
func TestKernelPanicsAtTheStart(t *testing.T) {
	t.Parallel()
	image := here.variant(t, "panicking", func(m *images.Manifest) { m.Cmdline += " rdinit=/nonexistent" })
	o := here.order(t, "panic", func(m *boot.Machine) { m.Order.Placement.Image = image })
	here.start(t, o)
	here.endsWith(t, o, "Kernel panic - not syncing")
}

// The kernel of a system that may start itself anew panics later on: it would
// panic again and again, if the hypervisor did not hear of it.
func TestKernelPanicsLater(t *testing.T) {
	t.Parallel()
	image := here.variant(t, "later", func(m *images.Manifest) { m.Init = images.Systemd })
	o := here.order(t, "panic-later", func(m *boot.Machine) { m.Order.Placement.Image = image })
	o.Boot = withCommand(t, o.Boot, "echo c >/proc/sysrq-trigger")
	here.start(t, o)
	here.endsWith(t, o, "its kernel crashed", "Kernel panic - not syncing: sysrq triggered crash")
}

func TestImageThatIsNotThere(t *testing.T) {
	for image, want := range map[string]string{
		"nowhere@1":                "there is no image nowhere",
		harness.SpeechImage + "@0": "there is no version 0 of image " + harness.SpeechImage + ", but " + here.slim.Version,
	} {
		o := here.order(t, "absent", nil)
		o.Placement.Image = image
		if _, err := here.provider.Create(t.Context(), o); !errors.Is(err, compute.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", image, err)
		}
		here.nothingLeft(t, "absent")
	}
}

// A file that the image's manifest lists is not in the pool.
func TestImageThatIsNotWhole(t *testing.T) {
	image := here.variant(t, "torn", func(*images.Manifest) {})
	if _, err := here.hypervisor.Virsh(t.Context(), "vol-delete", "--pool", pool, "--vol", image+".initrd"); err != nil {
		t.Fatal(err)
	}
	o := here.order(t, "torn", nil)
	o.Placement.Image = image
	if _, err := here.provider.Create(t.Context(), o); !errors.Is(err, compute.ErrRefused) || !strings.Contains(err.Error(), image+".initrd is missing") {
		t.Errorf("it is %v", err)
	}
	here.nothingLeft(t, "torn")
}

func TestUserDataThatIsBroken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ document, why string }{
		"another-language": {"#!/bin/sh\nexit 0\n", "step document failed: the user-data is no cloud-config"},
		"cut-off":          {"#cloud-config\nwrite_files:\n  - path: '/etc/understudy/volu", "step start failed: the document names no service"},
		"nothing":          {"#cloud-config\n{}\n", "step start failed: the document names no service"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := here.order(t, "broken-"+name, nil)
			o.Boot = c.document
			here.start(t, o)
			here.endsWith(t, o, c.why)
		})
	}
}

// The store answers this host, and not the guest.
func TestStoreThatTheGuestDoesNotReach(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"copy", "mount"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			closed := fmt.Sprintf("http://%s:%d", harness.GuestHost, harness.FreePort())
			o := here.order(t, "no-store-"+mode, func(m *boot.Machine) { m.Volumes[0].Mode, m.Volumes[0].Store.Endpoint = mode, closed })
			here.start(t, o)
			here.endsWith(t, o, "step mount failed: /models/asr: ", "this machine does not reach "+closed)
		})
	}
}

// A store refuses what was signed an hour ago, or will be in an hour.
func TestClockThatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		seconds int
		why     string
	}{"ahead": {3600, " s ahead of the store's"}, "behind": {-3600, " s behind the store's"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := here.config()
			config.Virsh = []string{skewed(t, c.seconds)}
			o := here.order(t, "clock-"+name, nil)
			here.startWith(t, libvirt.New(config), o)
			here.endsWith(t, o, "step mount failed: /models/asr: ", "; the clock of this machine is 3", c.why)
		})
	}
}

// endsWith waits until a machine has ended, for a reason that has all these words.
func (r *room) endsWith(t *testing.T, o compute.Order, words ...string) {
	t.Helper()
	why := r.gone(t, o)
	t.Logf("it says: %s", why)
	for _, w := range words {
		if !strings.Contains(why, w) {
			t.Errorf("it says %q, without %q", why, w)
		}
	}
}

// skewed is a virsh that defines machines of which the clock is wrong.
func skewed(t *testing.T, seconds int) string {
	t.Helper()
	script := fmt.Sprintf(`#!/bin/sh
for last; do :; done
case " $* " in *" define "*) sed -i "s|<clock offset='utc'/>|<clock offset='variable' adjustment='%d' basis='utc'/>|" "$last" ;; esac
exec virsh "$@"
`, seconds)
	file := filepath.Join(t.TempDir(), "virsh")
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// withCommand is a document with a command of a shell as its last one.
func withCommand(t *testing.T, document, line string) string {
	t.Helper()
	head, tail, found := strings.Cut(document, "\nfinal_message:")
	if !found {
		t.Fatalf("the document has another end:\n%s", document)
	}
	return head + "\n  - ['sh', '-c', '" + strings.ReplaceAll(line, "'", "''") + "']\nfinal_message:" + tail
}
