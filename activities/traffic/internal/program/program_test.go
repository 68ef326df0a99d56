package program

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func sh(script string) Program { return Program{Argv: []string{"/bin/sh", "-c", script}} }

func TestRun(t *testing.T) {
	t.Setenv("SECRET_OF_OURS", "hush")
	for _, c := range []struct {
		name    string
		program Program
		stdout  string
		exit    int
		err     string
	}{
		{"what it prints", sh("echo out; echo err >&2"), "out\n", 0, ""},
		{"its input", Program{Argv: []string{"/bin/cat"}, Stdin: []byte("in")}, "in", 0, ""},
		{"its environment", Program{Argv: []string{"/usr/bin/env"}, Env: []string{"A=1"}}, "", 0, ""},
		{"no secret of ours", sh("echo \"[$SECRET_OF_OURS]\""), "[]\n", 0, ""},
		{"its exit code and complaint", sh("echo out; echo no such VIP >&2; exit 3"), "out\n", 3, "sh: exit status 3, saying: no such VIP"},
		{"a complaint on standard output", sh("echo wrong; exit 1"), "wrong\n", 1, "saying: wrong"},
		{"an end by a signal", sh("kill -9 $$"), "", -1, "signal: killed"},
		{"a program that is not there", Program{Argv: []string{"/nowhere/prog"}}, "", -1, "no such file"},
		{"no program", Program{}, "", -1, "empty"},
		{"control characters", sh("printf 'a\\033[2J\\nb' >&2; exit 1"), "", 1, "saying: a.[2J b"},
		{"a child that stays behind", sh("echo out; sleep 60 & exit 0"), "out\n", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := c.program.Run(t.Context())
			if (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if out.Exit != c.exit || (c.stdout != "" && string(out.Stdout) != c.stdout) {
				t.Errorf("exit %d, printed %q; want %d, %q", out.Exit, out.Stdout, c.exit, c.stdout)
			}
		})
	}
}

func TestRunKillsAllThatWasStarted(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if text, _ := os.ReadFile(pid); strings.HasSuffix(string(text), "\n") {
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if _, err := sh("sleep 600 & echo $! >" + pid + "; wait").Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	// Whoever inherits the orphan may take a moment to bury it: a zombie is dead enough.
	for {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			break
		}
		if err := syscall.Kill(child, 0); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRunEndsAFlood(t *testing.T) {
	out, err := sh("yes").Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "prints more than") || len(out.Stdout) > maxOutput {
		t.Errorf("%d bytes, %v", len(out.Stdout), err)
	}
}

func TestRunKeepsTheEndOfALongComplaint(t *testing.T) {
	out, err := sh("i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1").Run(t.Context())
	if err == nil || !strings.HasSuffix(out.Tail, "line 1999") || len(out.Tail) > maxTail+10 {
		t.Errorf("%v, tail of %d bytes", err, len(out.Tail))
	}
}
