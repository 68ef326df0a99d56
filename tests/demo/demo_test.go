package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-dr/understudy/tests/harness"
)

// marker is in the environment of the demo under test, and so of everything that it starts.
const marker = "UNDERSTUDY_DEMO_UNDER_TEST="

// ending is the last line of a demo that ended well.
var ending = regexp.MustCompile(`^  Outcome=recovered Tier=hot RTO=\d+\.\d\ds failed=\d+/\d+ recovery=demo-\d+$`)

// demo prepares a run of the program in a pipe.
func demo(t *testing.T) *exec.Cmd {
	t.Helper()
	if err := harness.FindEngines(); err != nil {
		t.Skipf("missing: %v", err)
	}
	for _, program := range []string{"haproxy", "prometheus", "prometheus-alertmanager"} {
		if _, err := harness.Find(program, program); err != nil {
			t.Skipf("missing: %v", err)
		}
	}
	understudy, err := harness.BuildUnderstudy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "UNDERSTUDY_BIN="+understudy, marker+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return cmd
}

// nothingLeft fails where a process of the demo, or its directory, is still there.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range environments {
		if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte(marker+t.Name()+"\x00")) {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			t.Errorf("still there: %s", bytes.ReplaceAll(command, []byte{0}, []byte{' '}))
		}
	}
	if _, err := os.Stat(dir); dir != "" && err == nil {
		t.Errorf("%s is still there", dir)
	}
}

func TestInAPipeItEndsByItself(t *testing.T) {
	cmd := demo(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if last := lines[len(lines)-1]; !ending.MatchString(last) {
		t.Errorf("the last line is %q", last)
	}
	if bytes.ContainsAny(out, "\x1b\r") {
		t.Error("a pipe got escape codes or carriage returns")
	}
	for _, line := range lines {
		if len([]rune(line)) > widest {
			t.Errorf("too wide: %s", line)
		}
	}
	report := regexp.MustCompile(`/\S+/understudy-demo-\d+`).FindString(string(out))
	if report == "" {
		t.Errorf("no path of a report in\n%s", out)
	}
	nothingLeft(t, report)
}

func TestAnInterruptLeavesNothing(t *testing.T) {
	cmd := demo(t)
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { write.CloseWithError(cmd.Wait()) }()
	var out strings.Builder
	lines := bufio.NewScanner(read)
	for lines.Scan() {
		out.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "kill -9") { // the recovery is about to begin
			_ = cmd.Process.Signal(os.Interrupt)
		}
	}
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit status %d\n%s", code, out.String())
	}
	nothingLeft(t, "")
}

func TestATakenPortIsNamedBeforeAnythingStarts(t *testing.T) {
	cmd := demo(t)
	l, err := net.Listen("tcp", harness.Address(alertmanagerPort))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "port 17872 is taken, and Alertmanager needs it") {
		t.Errorf("%v: %s", err, out)
	}
	nothingLeft(t, "")
}
