package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Freeze stops the process and those that it started, as a hang does: the
// kernel goes on accepting connections for them, and nobody answers. It returns
// once all of them stand still, which a signal alone does not promise.
func (p *Process) Freeze(ctx context.Context) error {
	p.Signal(syscall.SIGSTOP)
	return p.await(ctx, func(context.Context) error {
		for pid, state := range p.group() {
			if state != "T" {
				return fmt.Errorf("process %d still runs (state %s)", pid, state)
			}
		}
		return nil
	})
}

// Thaw lets a frozen process go on.
func (p *Process) Thaw() { p.Signal(syscall.SIGCONT) }

// vanish waits, after Kill or Stop, for the end of those that the process
// started: until then they hold its sockets.
func (p *Process) vanish(ctx context.Context) error {
	for {
		left := p.group()
		if len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s left %d processes behind: %w", p.Spec.Name, len(left), ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// group lists the states of the process and of those that it started, without
// those that are dead and only wait to be buried.
func (p *Process) group() map[int]string {
	states := map[int]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// "pid (name) state parent group ...", and a name may hold spaces and brackets.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 3 || string(fields[2]) != strconv.Itoa(p.PID()) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if state := string(fields[0]); state != "Z" && state != "X" {
			states[pid] = state
		}
	}
	return states
}
