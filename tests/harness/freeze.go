package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Freeze stops the process and those that it started, as a hang does: the
// kernel goes on accepting connections for them, and nobody answers. It returns
// once all of their threads stand still, which a signal alone does not promise.
func (p *Process) Freeze(ctx context.Context) error {
	p.Signal(syscall.SIGSTOP)
	return p.await(ctx, func(context.Context) error {
		stats, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/stat")
		if err != nil {
			return err
		}
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
			if state := string(fields[0]); state != "T" && state != "Z" {
				return fmt.Errorf("%s still runs (state %s)", filepath.Dir(path), state)
			}
		}
		return nil
	})
}

// Thaw lets a frozen process go on.
func (p *Process) Thaw() { p.Signal(syscall.SIGCONT) }
