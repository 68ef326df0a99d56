package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

// Errors of virsh that mean something to us and are of no class of package compute.
var (
	errNoDomain = errors.New("no such domain")
	errNoVolume = errors.New("no such volume")
	errExists   = errors.New("it is there already")
	errState    = errors.New("it is in another state")
	errBusy     = errors.New("somebody else works on it")
	errNoKVM    = errors.New("there is no KVM")
)

// virsh is the program that speaks to hypervisors.
type virsh struct {
	program, env []string
	limit        time.Duration
}

// run calls virsh with one command and returns what it printed. It is ended
// with all that it started, an ssh perhaps, when the time is over.
func (v virsh) run(ctx context.Context, uri string, args ...string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("virsh %s: %w", args[0], err)
	}
	ctx, cancel := context.WithTimeout(ctx, v.limit)
	defer cancel()
	words := append(append([]string{}, v.program[1:]...), "--quiet", "--connect", uri)
	cmd := exec.CommandContext(ctx, v.program[0], append(words, args...)...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "LIBVIRT_DEFAULT_URI="), v.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("virsh %s at %s has no answer; it may have been carried out: %w", args[0], uri, ctx.Err())
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%w: the program %s is not installed: apt-get install libvirt-clients", compute.ErrRefused, v.program[0])
	}
	return "", classified(args[0], uri, complaint.String(), err)
}

// meanings tell what the texts of libvirt 9 mean, in this order.
var meanings = []struct {
	text  string
	class error
}{
	{"KVM is not supported", errNoKVM},
	{"the accel 'kvm' is not supported", errNoKVM},
	{"authentication failed", compute.ErrCredentials},
	{"Permission denied (", compute.ErrCredentials},
	{"Host key verification failed", compute.ErrCredentials},
	{"authentication unavailable", compute.ErrCredentials},
	{"Domain not found", errNoDomain},
	{"failed to get domain", errNoDomain},
	{"Storage volume not found", errNoVolume},
	{"failed to get vol", errNoVolume},
	{"Storage pool not found", compute.ErrRefused},
	{"failed to get pool", compute.ErrRefused},
	{"asynchronous jobs running", errBusy},
	{"is being allocated", errBusy},
	{"cannot acquire state change lock", errBusy},
	{"Network not found", compute.ErrRefused},
	{"Cannot get interface MTU", compute.ErrRefused},
	{"exists already", errExists},
	{"already exists with uuid", errExists},
	{"is already defined with uuid", errExists},
	{"Domain is already active", errState},
	{"domain is already running", errState},
	{"domain is not running", errState},
	{"Could not set up host forwarding rule", compute.ErrCapacity},
	{"No space left", compute.ErrCapacity},
	{"Disk quota exceeded", compute.ErrQuota},
	{"Cannot allocate memory", compute.ErrCapacity},
	{"cannot set up guest memory", compute.ErrCapacity},
	{"unable to map backing store for guest RAM", compute.ErrCapacity},
	{"Maximum CPUs greater than", compute.ErrRefused},
	{"XML error", compute.ErrRefused},
	{"unsupported configuration", compute.ErrRefused},
	{"Cannot find suitable emulator", compute.ErrRefused},
	{"no supported architecture", compute.ErrRefused},
}

// classified is the error of a call that was answered.
func classified(command, uri, complaint string, err error) error {
	said := said(complaint)
	if said == "" {
		said = err.Error()
	}
	for _, m := range meanings {
		if strings.Contains(complaint, m.text) {
			return fmt.Errorf("%w: virsh %s at %s: %s", m.class, command, uri, said)
		}
	}
	return fmt.Errorf("virsh %s at %s: %s", command, uri, said)
}

// call runs virsh at a place, again for as long as somebody else works there.
func (p *Provider) call(ctx context.Context, at place, args ...string) (string, error) {
	for end := time.Now().Add(busyFor); ; {
		out, err := p.run(ctx, at.uri, args...)
		if !errors.Is(err, errBusy) || time.Now().After(end) || !wait(ctx, 100*time.Millisecond) {
			return out, err
		}
	}
}

// wait pauses; false where the time is over.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// certain reports whether an error says that a call had no effect.
func certain(err error) bool {
	for _, class := range []error{compute.ErrCapacity, compute.ErrQuota, compute.ErrRefused, compute.ErrCredentials} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// said is what virsh complained of in one printable line of bounded length; its
// last line tells the cause.
func said(complaint string) string {
	lines := strings.FieldsFunc(complaint, func(r rune) bool { return r == '\n' || r == '\r' })
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimSpace(l), "error: ")
	}
	text := printable([]byte(strings.Join(lines, ": ")))
	if len(text) > 600 {
		text = "..." + text[len(text)-600:]
	}
	return text
}
