package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/understudy-dr/understudy/tests/harness"
)

// machine is where the figures were measured: without it they mean little.
type machine struct {
	before, after string
	programs      []string
}

// lookAtMachine notes how busy the machine is before anything runs, and which programs are compared.
func lookAtMachine(ctx context.Context) *machine {
	m := &machine{before: load()}
	for _, p := range []struct{ program, debianPackage, flag string }{
		{"haproxy", "haproxy", "-v"}, {"nginx", "nginx-light", "-v"}, {"prometheus", "prometheus", "--version"},
	} {
		path, err := harness.Find(p.program, p.debianPackage)
		if err != nil {
			continue // the benchmark that needs it says so
		}
		out, _ := exec.CommandContext(ctx, path, p.flag).CombinedOutput()
		line, _, _ := strings.Cut(string(out), "\n")
		m.programs = append(m.programs, firstVersion(p.program, line))
	}
	return m
}

func (m *machine) lookAgain() { m.after = load() }

// facts are printed below the table.
func (m *machine) facts(d *disk) string {
	if len(d.syncs) == 0 {
		_ = d.measure(100) // no benchmark did; where the disk fails there is no figure
	}
	text := fmt.Sprintf("machine   %d cores (%s), load %s before and %s after\n", runtime.NumCPU(), processor(), m.before, m.after)
	text += fmt.Sprintf("disk      fsync of %d bytes in %s: p50 %s, p99 %s (%d of them)\n", page, os.TempDir(), d.syncs.p50(), d.syncs.p99(), len(d.syncs))
	if d.syncs.median() < inMemory {
		text += "          That is no disk's figure: what is durable here is not. Set TMPDIR to a directory on a disk.\n"
	}
	return text + fmt.Sprintf("programs  %s, %s\n", strings.Join(m.programs, ", "), runtime.Version())
}

// load is the average number of busy processes of the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	minute, _, _ := strings.Cut(string(text), " ")
	return minute
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}

// firstVersion finds the version in what a program says of itself.
func firstVersion(program, said string) string {
	for word := range strings.FieldsFuncSeq(said, func(c rune) bool { return strings.ContainsRune(" /,(", c) }) {
		if word[0] >= '0' && word[0] <= '9' {
			return program + " " + word
		}
	}
	return program
}
