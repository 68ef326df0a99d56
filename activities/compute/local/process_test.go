package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

// is reports whether an error is of a class; nil stands for an error that claims nothing.
func is(err, want error) bool {
	if want == nil {
		return !certain(err)
	}
	return errors.Is(err, want)
}

func (w *world) create(o compute.Order) compute.Machine {
	w.t.Helper()
	m, err := w.provider().Create(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) terminate(o compute.Order) {
	w.t.Helper()
	if err := w.provider().Terminate(w.t.Context(), ref(o)); err != nil {
		w.t.Fatal(err)
	}
}

// runs waits until that many programs run: a supervisor runs before its program does.
func (w *world) runs(want int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d programs run", want), func() error {
		got := len(w.running())
		if got > want {
			w.t.Fatalf("%d programs run, not %d", got, want)
		}
		if got < want {
			return fmt.Errorf("%d run", got)
		}
		return nil
	})
}

// empties waits until nothing runs: a shell that nobody waits for any more may still be about to find that out.
func (w *world) empties() {
	w.t.Helper()
	w.eventually("nothing runs", func() error {
		if got := w.processes(); len(got) != 0 {
			return fmt.Errorf("processes %v", got)
		}
		return nil
	})
}

// asUnderstudy is set where the test program is to make a machine, as another Understudy would.
const asUnderstudy = "TEST_AS_UNDERSTUDY"

func TestMain(m *testing.M) {
	if root := os.Getenv(asUnderstudy); root != "" {
		p, err := New(Config{Dir: root})
		if err == nil {
			fmt.Println("begins")
			_, err = p.Create(context.Background(), (&world{root: root}).order("killed"))
		}
		fmt.Println("made", err)
		select {}
	}
	os.Exit(m.Run())
}

// understudy starts a process that makes the machine "killed" and then waits.
func (w *world) understudy() *exec.Cmd {
	w.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asUnderstudy+"="+w.root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	output, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "begins\n" {
		w.t.Fatalf("it says %q, %v", line, err)
	}
	w.t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	return cmd
}

// A machine lives on when Understudy and all that it started are killed.
func TestTheMachineOutlivesUnderstudy(t *testing.T) {
	w := newWorld(t)
	o := w.order("killed")
	cmd := w.understudy()
	var m compute.Machine
	w.eventually("the machine is there", func() (err error) {
		m, err = w.provider().Describe(t.Context(), ref(o))
		return err
	})
	killAll(cmd)
	if got := w.await(o, compute.Running); got.ID != m.ID {
		t.Errorf("it is %+v now, was %+v", got, m)
	}
	if again := w.create(o); again.State != compute.Running {
		t.Errorf("its key finds %+v", again)
	}
	w.runs(1)
	w.terminate(o)
	if got := w.processes(); len(got) != 0 {
		t.Errorf("processes %v are left", got)
	}
}

func killAll(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
}

// Wherever in a launch Understudy dies: the same call again, and one process runs.
func TestAKillInTheMiddleOfALaunch(t *testing.T) {
	t.Parallel()
	for range 8 {
		w := newWorld(t)
		o := w.order("killed")
		cmd := w.understudy()
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond) // the moment of the kill is the point of this test
		killAll(cmd)
		w.create(o)
		w.await(o, compute.Running)
		w.runs(1)
		w.terminate(o)
		w.empties()
	}
}

// A removal counts for calls that arrive after it, also where there was nothing yet.
func TestACreateAfterTheRemoval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.order("removed-first")
	w.terminate(o)
	if _, err := w.provider().Create(t.Context(), o); !errors.Is(err, compute.ErrUsed) {
		t.Errorf("create: %v", err)
	}
	if _, err := w.provider().Describe(t.Context(), ref(o)); !errors.Is(err, compute.ErrNone) {
		t.Errorf("describe: %v", err)
	}
	if all, err := w.provider().List(t.Context(), o.Provision, ""); err != nil || len(all) != 0 {
		t.Errorf("list: %+v, %v", all, err)
	}
}

// Whatever the order in which a removal and a launch meet, nothing runs in the end.
func TestARemovalMeetsALaunch(t *testing.T) {
	t.Parallel()
	for range 8 {
		w := newWorld(t)
		o := w.order("meeting")
		made := make(chan error, 1)
		go func() {
			_, err := w.provider().Create(t.Context(), o)
			made <- err
		}()
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // the moment is the point of this test
		w.terminate(o)
		<-made
		w.empties()
	}
}

// A machine that was published and never launched is launched by the next call, or removed.
func TestALaunchThatNeverCame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken := w.provider()
	broken.supervisor = "exit 0 # as if the host had lost it"
	for _, key := range []string{"again", "removed", "stopped"} {
		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan error, 1)
		go func() {
			_, err := broken.Create(ctx, w.order(key))
			given <- err
		}()
		w.eventually("the machine is published", func() error {
			_, err := os.Stat(filepath.Join(w.root, "m-"+key))
			return err
		})
		cancel()
		if err := <-given; err == nil {
			t.Error("create has an answer")
		}
		if m := w.await(w.order(key), compute.Pending); !strings.Contains(m.Detail, "not started yet") {
			t.Errorf("detail: %s", m.Detail)
		}
		if err := os.WriteFile(filepath.Join(w.root, "m-"+key, "run"), []byte(runScript), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.create(w.order("again"))
	w.await(w.order("again"), compute.Running)
	w.terminate(w.order("removed"))
	w.await(w.order("removed"), compute.Gone)
	if err := w.provider().Stop(t.Context(), ref(w.order("stopped"))); err != nil {
		t.Fatal(err)
	}
	w.await(w.order("stopped"), compute.Stopped)
	if m := w.create(w.order("stopped")); m.State != compute.Stopped {
		t.Errorf("a stopped machine's key makes %+v", m)
	}
	if _, err := w.provider().Start(t.Context(), ref(w.order("stopped"))); err != nil {
		t.Fatal(err)
	}
	w.await(w.order("stopped"), compute.Running)
	w.runs(2)
}

// A start asks again what Create asked: ports and memory may be taken meanwhile.
func TestAStartThatFindsNoRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.order("room")
	o.Provision.GPUMemory = 8000
	w.create(o)
	if err := w.provider().Stop(t.Context(), ref(o)); err != nil {
		t.Fatal(err)
	}
	w.tool("nvidia-smi", "echo 10")
	if _, err := w.provider().Start(t.Context(), ref(o)); !errors.Is(err, compute.ErrCapacity) {
		t.Errorf("start: %v", err)
	}
	w.await(o, compute.Stopped)
	w.tool("nvidia-smi", "echo 9000")
	if _, err := w.provider().Start(t.Context(), ref(o)); err != nil {
		t.Error(err)
	}
	w.await(o, compute.Running)
}
