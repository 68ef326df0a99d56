package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

// What ended by itself tells why, whether it did so at once or later.
func TestTheLogSaysWhyItEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("x", 3000)
	o := w.order("oom", "/bin/sh", "-c", "echo "+long+`; echo 'loading model'; printf 'CUDA \033[31mout\007 of memory\n' >&2; exit 3`)
	w.create(o)
	m := w.await(o, compute.Gone)
	if !strings.HasPrefix(m.Detail, "its process ended with exit code 3; its log ends: ") || !strings.HasSuffix(m.Detail, "| loading model | CUDA .[31mout. of memory") || len(m.Detail) > 1200 {
		t.Errorf("detail: %s", m.Detail)
	}
	_, err := w.provider().Create(t.Context(), o)
	if !errors.Is(err, compute.ErrUsed) || !strings.Contains(err.Error(), "out. of memory") {
		t.Errorf("its key again: %v", err)
	}
	w.terminate(o)
	if m := w.await(o, compute.Gone); !strings.HasPrefix(m.Detail, "it was removed") || !strings.HasSuffix(m.Detail, "of memory") {
		t.Errorf("once it was removed: %s", m.Detail)
	}
	for code, want := range map[string]string{"kill -9 $$": "was ended by signal 9 (killed)", "exit 0": "exit code 0", "exec /no/such": "exit code 127"} {
		o := w.order(fmt.Sprintf("code-%d", len(code)), "/bin/sh", "-c", code)
		_, _ = w.provider().Create(t.Context(), o)
		if m := w.await(o, compute.Gone); !strings.Contains(m.Detail, want) {
			t.Errorf("%s: %s", code, m.Detail)
		}
	}
	// The supervisor is gone with all the rest, as after a restart of the host.
	o = w.order("all-killed")
	w.create(o)
	w.await(o, compute.Running)
	pid, err := os.ReadFile(filepath.Join(w.root, "m-all-killed", "started-1", "pid"))
	if err != nil {
		t.Fatal(err)
	}
	leader, err := strconv.Atoi(strings.Fields(string(pid))[0])
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(leader, syscall.SIGKILL)
	if m := w.await(o, compute.Running); m.ID == "" {
		t.Error("without its supervisor the machine is not found")
	}
	w.eventually("the rest is killed", func() error {
		for _, pid := range w.processes() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return errors.New("not yet")
		}
		return nil
	})
	if m := w.await(o, compute.Gone); !strings.Contains(m.Detail, "left no exit code") {
		t.Errorf("detail: %s", m.Detail)
	}
}

func TestWaysToEnd(t *testing.T) {
	for name, c := range map[string]struct {
		script  string
		killed  bool
		orderly bool
	}{
		"in order":                              {script: `trap 'echo bye >%s; exit 0' TERM; echo ready; while :; do sleep 0.05; done`, orderly: true},
		"only by force":                         {script: `trap '' TERM; echo ready; while :; do sleep 0.05; done`, killed: true},
		"a child that outlives its parent":      {script: `sleep 1000000 & echo ready; exit 0`},
		"a child in a session of its own":       {script: `setsid sleep 1000000 & echo ready; exit 0`},
		"a stubborn child in one of its own":    {script: `setsid sh -c 'trap "" TERM; while :; do sleep 0.05; done' & sleep 0.1; echo ready; wait`, killed: true},
		"a child that forgets where it is from": {script: `env -i sh -c 'exec sleep 1000000' & echo ready; exit 0`},
		"a process that is stopped":             {script: `echo ready; kill -STOP $$`, killed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.killed {
				w.grace = time.Second
			}
			bye := filepath.Join(w.tools, "bye")
			script := strings.ReplaceAll(c.script, "%s", bye)
			for _, end := range []string{"stop", "terminate"} {
				o := w.order(end, "/bin/sh", "-c", script)
				w.create(o)
				w.eventually("the program is ready", func() error {
					if m, err := w.provider().Describe(t.Context(), ref(o)); err != nil || m.State != compute.Running || !strings.HasSuffix(m.Detail, "ready") {
						return fmt.Errorf("%+v, %v", m, err)
					}
					return nil
				})
				session := w.session(o)
				act := w.provider().Terminate
				if end == "stop" {
					act = w.provider().Stop
				}
				if err := act(t.Context(), ref(o)); err != nil {
					t.Fatal(err)
				}
				if left := w.processes(); len(left) != 0 {
					t.Errorf("%s leaves %v", end, left)
				}
				w.eventually("the session of the machine is empty", func() error {
					for _, pid := range session {
						if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); len(line) > 0 {
							return fmt.Errorf("%s leaves process %d, %q", end, pid, line)
						}
					}
					return nil
				})
				if _, err := os.Stat(bye); (err == nil) != c.orderly {
					t.Errorf("%s lets it end in order: %v", end, err == nil)
				}
				_ = os.Remove(bye)
			}
		})
	}
}

// session are the processes in the session of a machine's supervisor.
func (w *world) session(o compute.Order) []int {
	text, _ := os.ReadFile(filepath.Join(w.root, "m-"+o.Key, "started-1", "pid"))
	leader, _, _ := strings.Cut(string(text), " ")
	var found []int
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		stat, _ := os.ReadFile(file)
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 3 && fields[3] == leader {
			var pid int
			_, _ = fmt.Sscan(string(stat), &pid)
			found = append(found, pid)
		}
	}
	return found
}

// The number in a file is not enough to be killed.
func TestAStrangerWithTheSameNumberIsSpared(t *testing.T) {
	for name, forge := range map[string]func(pid int, start, boot string) string{
		"another start": func(pid int, start, boot string) string { return fmt.Sprintf("%d %s1 %s", pid, start, boot) },
		"another boot":  func(pid int, start, boot string) string { return fmt.Sprintf("%d %s %sx", pid, start, boot) },
		"half a file":   func(pid int, start, boot string) string { return fmt.Sprint(pid) },
		"nothing":       func(int, string, string) string { return "" },
		"garbage":       func(pid int, start, boot string) string { return "-1 " + start + " " + boot },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.order("recycled")
			w.create(o)
			w.await(o, compute.Running)
			stranger := exec.Command("/bin/sleep", "1000000")
			stranger.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
			if err := stranger.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- stranger.Wait() }()
			defer func() { _ = stranger.Process.Kill() }()
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", stranger.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
			if err != nil {
				t.Fatal(err)
			}
			start := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[19]
			file := filepath.Join(w.root, "m-recycled", "started-1", "pid")
			if err := os.WriteFile(file, []byte(forge(stranger.Process.Pid, start, strings.TrimSpace(string(boot)))+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			// Its own processes are still found: by their environment.
			if m := w.await(o, compute.Running); m.ID == "" {
				t.Error("the machine is not found any more")
			}
			w.terminate(o)
			if got := w.processes(); len(got) != 0 {
				t.Errorf("processes %v are left", got)
			}
			select {
			case err := <-ended:
				t.Errorf("the stranger was killed: %v", err)
			default:
			}
		})
	}
}

// A log cannot fill a disk.
func TestTheLogIsKeptShort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.provider()
	p.supervisor = strings.NewReplacer("sleep 5", "sleep 0.05", "limit=67108864", "limit=10000").Replace(runScript)
	o := w.order("wordy", "/bin/sh", "-c", "while :; do echo "+strings.Repeat("x", 3000)+"; sleep 0.01; done")
	if _, err := p.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.root, "m-wordy", "log")
	w.eventually("the log has begun anew", func() error {
		_, err := os.Stat(file + ".old")
		return err
	})
	w.eventually("it goes on", func() error {
		text, err := os.ReadFile(file)
		if err == nil && !bytes.HasSuffix(text, []byte("\n")) {
			err = errors.New("nothing new")
		}
		return err
	})
	if text, err := os.ReadFile(file); err != nil || bytes.IndexByte(text, 0) >= 0 {
		t.Errorf("the log has holes: %v", err)
	}
	w.terminate(o)
	if left := slices.DeleteFunc(w.names("m-wordy"), func(name string) bool {
		return slices.Contains([]string{"digest", "gone", "log", "record", "started-1"}, name)
	}); len(left) > 0 {
		t.Errorf("a removal leaves %v", left)
	}
}

// names are those of the files in a directory of the world.
func (w *world) names(dir string) []string {
	entries, err := os.ReadDir(filepath.Join(w.root, dir))
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
