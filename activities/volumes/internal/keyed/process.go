package keyed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities/holds"
)

const (
	// killPoll is how often it is looked whether a process has ended.
	killPoll = 5 * time.Millisecond
	// shell waits for a word, and then becomes the program that it is given. Where the word does not come, because
	// Understudy was killed before it had written down the process, it ends.
	shell, wait = "/bin/sh", `read -r go && exec "$0" "$@"`
)

// Start starts a program for a hold. Its process is written down before the
// program begins, so that none is ever forgotten. It belongs to its own session
// and lives on when Understudy ends in whatever way; its output goes to a file.
// ended is closed when it has ended.
func Start(l *holds.Lease, command *exec.Cmd, output *os.File) (ended <-chan struct{}, err error) {
	read, word, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	defer word.Close()
	command.Args = append([]string{shell, "-c", wait}, scoped(command.Path, command.Args[1:])...)
	command.Path, command.Stdin, command.Stdout, command.Stderr = shell, read, output, output
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		_ = command.Wait() // how it ended shows in its output
		close(done)
	}()
	hold := *l.Hold
	if hold.Process, err = holds.ProcessOf(command.Process.Pid); err != nil {
		return nil, err
	}
	if err := l.Keep(hold); err != nil {
		return nil, err
	}
	_, err = word.WriteString("go\n")
	return done, err
}

// scoped puts a program into a scope of its own where systemd runs: a restart of
// Understudy's unit would else end whatever it started. The scope's program
// becomes the one that is given, in the same process.
func scoped(path string, args []string) []string {
	plain := append([]string{path}, args...)
	if _, err := os.Stat("/run/systemd/system"); err != nil || os.Geteuid() != 0 {
		return plain
	}
	run, err := exec.LookPath("systemd-run")
	if err != nil {
		return plain
	}
	return append([]string{run, "--scope", "--quiet", "--collect", "--"}, plain...)
}

// Free ends what serves a mount, and waits until it is gone. Whoever waits for
// the mount gets an error. What is served is only read, so nothing is lost.
func Free(ctx context.Context, l *holds.Lease) error {
	// First the mount, by force: that frees those who wait for it also where the program itself hangs, on its own disk say.
	if l.Hold.Temp == "" {
		abort(l.Hold.Path)
	}
	for l.Hold.Process.Alive() {
		l.Hold.Process.Kill()
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not end: %w", l.Hold.Process.ID, ctx.Err())
		case <-time.After(killPoll):
		}
	}
	return nil
}
