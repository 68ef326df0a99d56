package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/computetest"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	patience = 30 * time.Second
	// owner is a variable by which processes are found behind the provider's back.
	owner = "OWNED_BY_TEST"
)

// program is what machines of these tests run: it does nothing, for long.
var program = []string{"/bin/sleep", "1000000"}

// world is a directory of machines, with all processes that were made from it.
type world struct {
	t    *testing.T
	root string
	// tools is a directory of programs that go before the host's.
	tools string
	host  string
	ssh   []string
	// systemd stands in for systemdDir.
	systemd string
	// grace is the time between SIGTERM and SIGKILL: long, since SIGTERM has to do where a test does not say otherwise.
	grace time.Duration
	mu    sync.Mutex
	// between stands between the provider and the host, for one call to create.
	between func(ctx context.Context, call func(context.Context) (string, error)) (string, error)
}

// newWorld makes a world on this host; its processes end with the test.
func newWorld(t *testing.T) *world {
	w := &world{t: t, root: filepath.Join(t.TempDir(), "it's a 'root' $(x)"), tools: t.TempDir(), systemd: systemdDir, grace: time.Hour}
	w.tool("nvidia-smi", "echo 2000; echo 9000; echo 500")
	t.Cleanup(func() {
		unseen := 0
		w.eventually("all processes of the test are gone", func() error {
			left := w.processes()
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			// A process that becomes another program has no environment for a moment.
			if unseen++; len(left) > 0 {
				unseen = 0
			}
			if unseen < 3 {
				return fmt.Errorf("left: %v", left)
			}
			return nil
		})
	})
	return w
}

// tool puts a shell script before the host's programs.
func (w *world) tool(name, script string) {
	if err := os.WriteFile(filepath.Join(w.tools, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) provider() *Provider {
	p, err := New(Config{Dir: w.root, RemoteDir: w.root, SSH: w.ssh, Grace: w.grace})
	if err != nil {
		w.t.Fatal(err)
	}
	p.systemd = w.systemd
	run := shells{ssh: p.config.SSH, path: w.tools + ":" + os.Getenv("PATH")}.run
	p.run = func(ctx context.Context, host, script string) (string, error) {
		call := func(ctx context.Context) (string, error) { return run(ctx, host, script) }
		w.mu.Lock()
		between := w.between
		if between != nil && strings.Contains(script, "VERB='create'") {
			w.between = nil
			w.mu.Unlock()
			return between(ctx, call)
		}
		w.mu.Unlock()
		return call(ctx)
	}
	return p
}

// order is one for a process that the world knows.
func (w *world) order(key string, command ...string) compute.Order {
	if len(command) == 0 {
		command = program
	}
	return compute.Order{
		Key: key, Service: "asr", Epoch: 7, Mode: "live", Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Second),
		Provision: runbooks.Provision{Kind: "local", Host: w.host, Command: slices.Clone(command), Dir: "/", Env: map[string]string{owner: w.root}},
	}
}

// processes are those whose environment or arguments name the root.
func (w *world) processes() []int {
	var found []int
	entries, err := os.ReadDir("/proc")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && bytes.Contains(append(environ, cmdline...), []byte(w.root)) && pid != os.Getpid() {
			found = append(found, pid)
		}
	}
	return found
}

// running are the processes that run a program of the world.
func (w *world) running(command ...string) []int {
	if len(command) == 0 {
		command = program
	}
	want := strings.Join(command, "\x00") + "\x00"
	return slices.DeleteFunc(w.processes(), func(pid int) bool {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return string(line) != want || !bytes.Contains(environ, []byte(owner+"="+w.root))
	})
}

func (w *world) eventually(what string, ask func() error) {
	w.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(25 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}

// await describes a machine until it is in the state.
func (w *world) await(o compute.Order, want compute.State) compute.Machine {
	w.t.Helper()
	var m compute.Machine
	w.eventually(fmt.Sprintf("machine %s is %s", o.Key, want), func() (err error) {
		m, err = w.provider().Describe(w.t.Context(), ref(o))
		if err == nil && m.State != want {
			err = fmt.Errorf("it is %s: %s", m.State, m.Detail)
		}
		return err
	})
	return m
}

func ref(o compute.Order) compute.Ref { return compute.Ref{Key: o.Key, Provision: o.Provision} }

// fixture is a world as the conformance suite wants it.
func (w *world) fixture() computetest.Fixture {
	again := func() compute.Provider { return w.provider() }
	impossible := func(change func(*runbooks.Provision)) compute.Order {
		o := w.order("impossible")
		o.Provision.Env = maps.Clone(o.Provision.Env)
		change(&o.Provision)
		return o
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { busy.Close() })
	return computetest.Fixture{
		Provider: w.provider(), Again: again,
		Order: func(key string) compute.Order { return w.order(key) },
		Other: func(o compute.Order) compute.Order {
			o.Provision.Command = []string{"/bin/sleep", "2000000"}
			return o
		},
		Count: func(*testing.T) int { return len(w.running()) + len(w.running("/bin/sleep", "2000000")) },
		NoID:  "never-made", Keeps: true,
		Impossible: map[string]computetest.Impossible{
			"no such program":            {Order: impossible(func(p *runbooks.Provision) { p.Command = []string{"/nowhere/start.sh"} }), Err: compute.ErrRefused},
			"a program that is a folder": {Order: impossible(func(p *runbooks.Provision) { p.Command = []string{"/bin"} }), Err: compute.ErrRefused},
			"a word of the shell":        {Order: impossible(func(p *runbooks.Provision) { p.Command = []string{"exit"} }), Err: compute.ErrRefused},
			"a program not in PATH":      {Order: impossible(func(p *runbooks.Provision) { p.Command[0], p.Env["PATH"] = "sleep", "/nowhere" }), Err: compute.ErrRefused},
			"no such directory":          {Order: impossible(func(p *runbooks.Provision) { p.Dir = "/nowhere/at/all" }), Err: compute.ErrRefused},
			"no command":                 {Order: impossible(func(p *runbooks.Provision) { p.Command = nil }), Err: compute.ErrRefused},
			"another kind":               {Order: impossible(func(p *runbooks.Provision) { p.Kind = "ec2" }), Err: compute.ErrRefused},
			"a host that is an option":   {Order: impossible(func(p *runbooks.Provision) { p.Host = "-oProxyCommand=id" }), Err: compute.ErrRefused},
			"a variable that is code":    {Order: impossible(func(p *runbooks.Provision) { p.Env["A=1;id"] = "x" }), Err: compute.ErrRefused},
			"a zero in an argument":      {Order: impossible(func(p *runbooks.Provision) { p.Command = []string{"/bin/sleep", "1\x00"} }), Err: compute.ErrRefused},
			"a port in use":              {Order: impossible(func(p *runbooks.Provision) { p.Ports = []int{1, busy.Addr().(*net.TCPAddr).Port} }), Err: compute.ErrCapacity},
			"more disk than there is":    {Order: impossible(func(p *runbooks.Provision) { p.Disk = 1 << 40 }), Err: compute.ErrCapacity},
			"more GPU than is free":      {Order: impossible(func(p *runbooks.Provision) { p.GPUMemory = 9001 }), Err: compute.ErrCapacity},
		},
		Exit: func(t *testing.T, m compute.Machine) {
			w.runs(1)
			for _, pid := range w.running() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		},
		Foreign: w.foreign,
		LoseReply: func(*testing.T) {
			w.interpose(func(ctx context.Context, call func(context.Context) (string, error)) (string, error) {
				output, _ := call(ctx)
				return output[:len(output)-1], errors.New("connection lost")
			})
		},
		Hold: func(t *testing.T) func() {
			arrive, arrived := make(chan struct{}), make(chan struct{})
			w.interpose(func(ctx context.Context, call func(context.Context) (string, error)) (string, error) {
				go func() {
					<-arrive
					_, _ = call(context.WithoutCancel(ctx))
					close(arrived)
				}()
				<-ctx.Done()
				return "", ctx.Err()
			})
			return func() { close(arrive); <-arrived }
		},
		Absent: map[string]string{"Delay": "a directory on a host is seen at once by all"},
	}
}

func (w *world) interpose(f func(ctx context.Context, call func(context.Context) (string, error)) (string, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.between = f
}

// foreign is a machine whose record was written by somebody else.
func (w *world) foreign(t *testing.T) (compute.Ref, func() bool) {
	o := w.order("foreign", "/bin/sleep", "3000000")
	if _, err := w.provider().Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.root, "m-foreign", "record")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(text, []byte(`"managed-by":"understudy"`), []byte(`"managed-by":"somebody","note":"\"managed-by\":\"understudy\""`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	w.eventually("the foreign machine runs", func() error {
		if len(w.running("/bin/sleep", "3000000")) != 1 {
			return errors.New("it does not")
		}
		return nil
	})
	return ref(o), func() bool { return len(w.running("/bin/sleep", "3000000")) == 1 }
}

func TestConformanceOnThisHost(t *testing.T) {
	computetest.Run(t, func(t *testing.T) computetest.Fixture { return newWorld(t).fixture() })
}
