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
	"github.com/understudy-dr/understudy/workflows"
)

// marker is in the environment of the demo under test, and so of everything that it starts.
const marker = "UNDERSTUDY_DEMO_UNDER_TEST="

// endings are the last lines of a demo that ended well.
var endings = []*regexp.Regexp{
	regexp.MustCompile(`^  Batch=\d+/\d+ failed=0 quarantined=0 resumed=[23] redone=\d+\.\ds output=identical$`),
	regexp.MustCompile(`^  Outcome=recovered Tier=hot RTO=\d+\.\d\ds own=\d+\.\d\ds failed=\d+/\d+ recovery=demo-\d+$`),
	regexp.MustCompile(`^  Outcome=recovered Tier=cold RTO=\d+\.\d\ds RPO=\d+\.\d\ds own=\d+\.\d\ds failed=\d+/\d+ recovery=demo-\d+$`),
	regexp.MustCompile(`^  Outcome=home Tier=primary pause=\d+\.\d\ds rows=(\d+)/(\d+) failed=\d+/\d+ recovery=demo-\d+$`),
}

// demo prepares a run of the program in a pipe.
func demo(t *testing.T) *exec.Cmd {
	t.Helper()
	if err := harness.FindEngines(); err != nil {
		t.Skipf("missing: %v", err)
	}
	for _, program := range []string{"haproxy", "prometheus", "prometheus-alertmanager", "s3fs"} {
		if _, err := harness.Find(program, program); err != nil {
			t.Skipf("missing: %v", err)
		}
	}
	for _, find := range []func() (string, error){harness.FindMinIO, harness.FindLitestream} {
		if _, err := find(); err != nil {
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

// nothingLeft fails where a process of the demo, a mount, or its directory is still there.
func nothingLeft(t *testing.T) {
	t.Helper()
	for _, process := range processes(t) {
		t.Errorf("still there: %s", process)
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || bytes.Contains(mounts, []byte(homeDir+"/")) {
		t.Errorf("%v, mounted:\n%s", err, mounts)
	}
	if _, err := os.Stat(homeDir); err == nil {
		t.Errorf("%s is still there", homeDir)
	}
}

// processes are the commands of processes that the demo has started, or that live on what it has made.
func processes(t *testing.T) (commands []string) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range all {
		environ, _ := os.ReadFile(filepath.Join(process, "environ"))
		command, _ := os.ReadFile(filepath.Join(process, "cmdline"))
		if bytes.Contains(environ, []byte(marker+t.Name()+"\x00")) || bytes.Contains(environ, []byte("="+homeDir+"/")) || bytes.Contains(command, []byte(homeDir+"/")) {
			commands = append(commands, string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		}
	}
	return commands
}

// upTo starts a demo and returns when it prints a text; what it has printed goes on in the background.
func upTo(t *testing.T, cmd *exec.Cmd, text string) (wait func() string) {
	t.Helper()
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { write.CloseWithError(cmd.Wait()) }()
	var out strings.Builder
	reached, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		seen := false
		for lines := bufio.NewScanner(read); lines.Scan(); {
			out.WriteString(lines.Text() + "\n")
			if !seen && strings.Contains(lines.Text(), text) {
				seen = true
				close(reached)
			}
		}
	}()
	select {
	case <-reached:
	case <-ended:
		t.Fatalf("it never printed %q:\n%s", text, out.String())
	}
	return func() string {
		<-ended
		return out.String()
	}
}

func TestInAPipeItEndsByItself(t *testing.T) {
	cmd := demo(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	for i, ending := range endings {
		if line := lines[len(lines)-len(endings)+i]; !ending.MatchString(line) {
			t.Errorf("at the end stands %q", line)
		}
	}
	for _, part := range []string{
		workflows.PartDetect, workflows.PartDecide, workflows.PartMount, workflows.PartRestore, workflows.PartProvision, workflows.PartBoot,
		workflows.PartLoad, workflows.PartVerify, workflows.PartFence, workflows.PartSwitch, "RTO", "own", "RPO",
	} {
		if !regexp.MustCompile(`(?m)^  ` + part + ` +\d+\.\d{3} s`).Match(out) {
			t.Errorf("the table has no line %s", part)
		}
	}
	if bytes.ContainsAny(out, "\x1b\r") {
		t.Error("a pipe got escape codes or carriage returns")
	}
	for _, line := range lines {
		if len([]rune(line)) > widest {
			t.Errorf("too wide: %s", line)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
	nothingLeft(t)
}

func TestAnInterruptLeavesNothing(t *testing.T) {
	cmd := demo(t)
	wait := upTo(t, cmd, "provision (cold)") // the machine is there, and loads the model that is mounted
	_ = cmd.Process.Signal(os.Interrupt)
	out := wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit status %d\n%s", code, out)
	}
	nothingLeft(t)
}

// A demo that is killed cannot put anything away, and a made machine outlives it: the next one does.
func TestTheNextDemoClearsAwayOneThatWasKilled(t *testing.T) {
	cmd := demo(t)
	wait := upTo(t, cmd, "provision (cold)")
	_ = cmd.Process.Kill()
	wait()
	if len(processes(t)) == 0 {
		t.Error("nothing was left, so there was nothing to clear away")
	}
	if code := readUpTo(t, demo(t), "The stage"); code != exitInterrupted { // until then it has found the ports free
		t.Errorf("exit status %d", code)
	}
	nothingLeft(t)
}

// readUpTo is a reader who leaves at a text. It returns the demo's exit status.
func readUpTo(t *testing.T, cmd *exec.Cmd, text string) int {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var read strings.Builder
	for lines := bufio.NewScanner(out); !strings.Contains(read.String(), text) && lines.Scan(); {
		read.WriteString(lines.Text() + "\n")
	}
	out.Close()
	_ = cmd.Wait()
	if !strings.Contains(read.String(), text) {
		t.Errorf("it never printed %q:\n%s", text, read.String())
	}
	return cmd.ProcessState.ExitCode()
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
	nothingLeft(t)
}
