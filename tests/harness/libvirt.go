package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// nobody is the user and group that libvirt runs as where the tests run as root: it then keeps to its own directory.
const nobody = 65534

// LibvirtServer is a hypervisor of our own: libvirtd as an ordinary user has it,
// with nothing outside its directory.
type LibvirtServer struct {
	*Process
	// URI is how virsh reaches it.
	URI string
	// Dir holds all that it keeps; Env is what virsh needs besides.
	Dir string
	Env []string
}

// Libvirt starts a hypervisor. Its directory is made in the system's temporary
// one, with a short name, since sockets are in it, and is removed by Close.
func Libvirt(ctx context.Context) (*LibvirtServer, error) {
	path, err := Find("libvirtd", "libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients")
	if err != nil {
		return nil, err
	}
	for program, from := range map[string]string{"virsh": "libvirt-clients", "qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils"} {
		if _, err := Find(program, from); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "uvm")
	if err != nil {
		return nil, err
	}
	s := &LibvirtServer{Dir: dir, URI: "qemu:///session?socket=" + filepath.Join(dir, "run/libvirt/libvirt-sock")}
	s.Env = []string{
		"HOME=" + dir, "XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"), "XDG_CONFIG_HOME=" + filepath.Join(dir, "conf"),
		"XDG_CACHE_HOME=" + filepath.Join(dir, "cache"), "XDG_DATA_HOME=" + filepath.Join(dir, "data"),
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin",
	}
	spec := Spec{Name: "libvirtd", Path: path, Env: s.Env, Dir: dir, Ready: func(ctx context.Context) error {
		_, err := s.Virsh(ctx, "uri")
		return err
	}}
	err = os.Chmod(dir, 0o755)
	for _, d := range []string{"run", "conf", "cache", "data"} {
		if err == nil {
			err = s.Own(filepath.Join(dir, d))
		}
	}
	if os.Geteuid() == 0 {
		// The kernel forgets the death signal where a process changes its user; setpriv sets it again.
		spec.Path, spec.Args = "setpriv", []string{"--reuid", strconv.Itoa(nobody), "--regid", strconv.Itoa(nobody), "--clear-groups", "--pdeathsig", "KILL", path}
	}
	if err == nil {
		s.Process, err = Start(ctx, spec)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// Own makes a directory, or takes a file, and gives it to the user of the hypervisor.
func (s *LibvirtServer) Own(path string) error {
	if _, err := os.Stat(path); err != nil {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	}
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(path, nobody, nobody)
}

// Pool makes a storage pool in a directory of its own, and returns the directory.
func (s *LibvirtServer) Pool(ctx context.Context, name string) (string, error) {
	dir := filepath.Join(s.Dir, "pools", name)
	if err := s.Own(dir); err != nil {
		return "", err
	}
	if _, err := s.Virsh(ctx, "pool-define-as", name, "dir", "--target", dir); err != nil {
		return "", err
	}
	_, err := s.Virsh(ctx, "pool-start", name)
	return dir, err
}

// Virsh runs a command of virsh.
func (s *LibvirtServer) Virsh(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "virsh", append([]string{"--quiet", "--connect", s.URI}, args...)...)
	cmd.Env = append(os.Environ(), s.Env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("virsh %s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// Guests are the processes of virtual machines whose names begin so.
func (s *LibvirtServer) Guests(prefix string) []int {
	var found []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		words := strings.Split(string(line), "\x00")
		if strings.Contains(words[0], "qemu-system") && bytes.Contains(line, []byte("\x00guest="+prefix)) && bytes.Contains(line, []byte(s.Dir+"/")) {
			found = append(found, pid)
		}
	}
	return found
}

// Close ends the hypervisor with all its machines, and removes its directory.
func (s *LibvirtServer) Close() {
	s.Stop(5 * time.Second)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		guests := s.Guests("")
		if len(guests) == 0 {
			break
		}
		for _, pid := range guests {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	os.RemoveAll(s.Dir)
}
