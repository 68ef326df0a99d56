// Package program runs the programs that a load balancer of a kind without an
// interface of its own is driven by: nginx's own commands, and those of users.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
)

const (
	// maxOutput is how much a program may print on its standard output; one that prints more is killed.
	maxOutput = 1 << 20
	// maxTail is how much of what it complained about is kept, in bytes.
	maxTail = 2000
	// linger is how long outputs are read after the program ended; what it left in the background may hold them open.
	linger = 500 * time.Millisecond
	// usualPath is where programs are looked for by those that are run here, if we have no PATH ourselves.
	usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Program is one call of a program, without a shell.
type Program struct {
	Argv  []string
	Stdin []byte
	// Env is all of the program's environment but PATH, HOME and LC_ALL: ours may hold secrets.
	Env []string
}

// Output is what a program left behind.
type Output struct {
	Stdout []byte
	// Exit is the exit code; -1 where a signal ended it or it never started.
	Exit int
	// Tail is the end of what it wrote on standard error, or, where that is empty, on standard output, fit for one line.
	Tail string
}

// Run runs a program to its end. At the end of the context, and when it prints
// too much, it is killed together with all that it started. The error says why
// it did not end well, and quotes Tail.
func (p Program) Run(ctx context.Context) (Output, error) {
	if len(p.Argv) == 0 {
		return Output{Exit: -1}, errors.New("the command is empty")
	}
	name := filepath.Base(p.Argv[0])
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdout, stderr := &head{limit: maxOutput, full: cancel}, &tail{}
	cmd := exec.CommandContext(ctx, p.Argv[0], p.Argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(p.Stdin), stdout, stderr
	cmd.Env = append([]string{"PATH=" + path(), "HOME=" + os.Getenv("HOME"), "LC_ALL=C"}, p.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = linger
	err := cmd.Run()
	out := Output{Stdout: stdout.text, Exit: -1, Tail: stderr.line()}
	if cmd.ProcessState != nil {
		out.Exit = cmd.ProcessState.ExitCode()
	}
	if out.Tail == "" {
		out.Tail = (&tail{text: stdout.text}).line()
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well and left something behind
	}
	switch {
	case stdout.over:
		return out, fmt.Errorf("%s prints more than %d bytes", name, maxOutput)
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		err = fmt.Errorf("%s does not end in time: %w", name, ctx.Err())
	default:
		err = fmt.Errorf("%s: %w", name, err)
	}
	if out.Tail != "" {
		err = fmt.Errorf("%w, saying: %s", err, out.Tail)
	}
	return out, err
}

func path() string {
	if p := os.Getenv("PATH"); p != "" {
		return p
	}
	return usualPath
}

// head keeps the beginning of an output and reports when there is more. It is
// no bytes.Buffer itself: that one would be filled past Write, without a limit.
type head struct {
	text  []byte
	limit int
	over  bool
	full  func()
}

func (h *head) Write(p []byte) (int, error) {
	if len(h.text)+len(p) > h.limit {
		h.over = true
		h.full()
		return len(p), nil
	}
	h.text = append(h.text, p...)
	return len(p), nil
}

// tail keeps the end of an output.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if len(t.text) > 2*maxTail {
		t.text = append(t.text[:0], t.text[len(t.text)-maxTail:]...)
	}
	return len(p), nil
}

func (t *tail) line() string {
	text := t.text[max(0, len(t.text)-maxTail):]
	return probe.Printable(strings.ToValidUTF8(string(text), ""), maxTail)
}
