package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/probe"
)

const (
	// maxOutput is how much of an answer is read, in bytes: about 2,000 machines.
	maxOutput = 8 << 20
	// maxComplaint is how much of the end of what ssh or sh complains about is quoted, in bytes.
	maxComplaint = 300
	// linger is how long outputs are read after sh or ssh has ended.
	linger = time.Second
	// usualPath is where programs are looked for if we have no PATH ourselves.
	usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// sshOptions come after those of the configuration, which count before them:
// nothing may ask for a password, a host that is gone must be noticed, and no
// connection may stay open behind us (one that is open already is used).
var sshOptions = []string{"-T", "-x", "-a", "-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=2"}

// shells hands scripts to the shell of a host.
type shells struct {
	ssh []string
	// path is that of programs on this host; empty for our own.
	path string
}

// run lets sh read a script, here or, where host is not empty, by ssh, and
// returns what it printed, also with an error. When the context ends, the shell
// and its children are killed here; what a host does on, nobody knows.
func (s shells) run(ctx context.Context, host, script string) (string, error) {
	argv := []string{"/bin/sh", "-s"}
	if host != "" {
		argv = slices.Concat(s.ssh, sshOptions, []string{"--", host, "exec /bin/sh -s"})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdout, stderr := &head{limit: maxOutput, full: cancel}, &head{limit: maxOutput, full: cancel}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(script), stdout, stderr
	cmd.Env = s.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = linger
	err := cmd.Run()
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return stdout.text.String(), nil
	case stdout.over || stderr.over:
		err = fmt.Errorf("it prints more than %d bytes", maxOutput)
	case ctx.Err() != nil:
		return stdout.text.String(), fmt.Errorf("no answer in time: %w", ctx.Err())
	}
	said := stderr.text.String()
	complaint := probe.Printable(strings.ToValidUTF8(said[max(0, len(said)-maxComplaint):], "."), maxComplaint)
	if host == "" {
		return stdout.text.String(), fmt.Errorf("sh: %w: %s", err, complaint)
	}
	err = fmt.Errorf("ssh: %w: %s; try by hand: ssh %s true", err, complaint, host)
	if stdout.text.Len() == 0 && denied(said) {
		err = fmt.Errorf("%w: %w", compute.ErrCredentials, err)
	}
	return stdout.text.String(), err
}

// denied tells from ssh's words that it never got as far as a shell, for want of
// a key that the other side knows.
func denied(said string) bool {
	return strings.Contains(said, "Permission denied (") || strings.Contains(said, "Host key verification failed") || strings.Contains(said, "Too many authentication failures")
}

// environ is little: ours may hold secrets. ssh finds its configuration, and an agent, by it.
func (s shells) environ() []string {
	path := s.path
	if path == "" {
		path = os.Getenv("PATH")
	}
	if path == "" {
		path = usualPath
	}
	env := []string{"PATH=" + path, "LC_ALL=C"}
	for _, name := range []string{"HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// head keeps the beginning of an output and reports when there is more.
type head struct {
	text  strings.Builder
	limit int
	over  bool
	full  func()
}

func (h *head) Write(p []byte) (int, error) {
	if h.text.Len()+len(p) > h.limit {
		h.over = true
		h.full()
		return len(p), nil
	}
	h.text.Write(p)
	return len(p), nil
}
