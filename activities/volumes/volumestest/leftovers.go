package volumestest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities/secrets"
)

// oneMount checks that a path has one mount and one process, or none of either for a copy.
func (s *scene) oneMount(path string) {
	s.t.Helper()
	want := 1
	if s.Copies {
		want = 0
	}
	mounts := slices.DeleteFunc(s.mounts(), func(m string) bool { return m != path })
	if processes := s.processes(); len(mounts) != want || len(processes) != want {
		s.t.Errorf("mounts %q, processes %v; want %d of each", mounts, processes, want)
	}
}

// clean checks that nothing is left: no mount, no process, no file, no thread that cannot be killed.
func (s *scene) clean() {
	s.t.Helper()
	if mounts := s.mounts(); len(mounts) > 0 {
		s.t.Errorf("still mounted: %q", mounts)
	}
	if processes := s.processes(); len(processes) > 0 {
		s.t.Errorf("still running: %v", processes)
	}
	_ = filepath.WalkDir(s.dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() || strings.Contains(filepath.Base(path), "understudy") {
			s.t.Errorf("left: %s", path)
		}
		return nil
	})
	left, _ := os.ReadDir(s.state)
	for _, e := range left {
		if filepath.Ext(e.Name()) != ".lock" {
			s.t.Errorf("left in the state: %s", e.Name())
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		stuck := uninterruptible()
		if len(stuck) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("threads of this process sleep uninterruptibly in %q", stuck)
			return
		}
	}
}

// uninterruptible lists what threads of this process wait for in uninterruptible sleep on a file system of a program.
func uninterruptible() []string {
	var stuck []string
	stats, _ := filepath.Glob("/proc/self/task/*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		where, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "wchan"))
		if len(fields) > 0 && fields[0] == "D" && strings.Contains(string(where), "fuse") {
			stuck = append(stuck, string(where))
		}
	}
	return stuck
}

// mounts lists the mount points below the scene's directory.
func (s *scene) mounts() []string {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		s.t.Error(err)
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		if point := strings.ReplaceAll(strings.Fields(line)[4], `\040`, " "); strings.HasPrefix(point, s.dir+"/") {
			found = append(found, point)
		}
	}
	return found
}

// processes lists the processes that have the scene's state in their command line: s3fs gets its files there.
func (s *scene) processes() []int {
	var found []int
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, _ := os.ReadFile(path)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if strings.Contains(string(line), s.state+"/") && pid != os.Getpid() {
			found = append(found, pid)
		}
	}
	return found
}

// noSecrets checks that no command line has the store's secret key, and that
// only its owner may read a file that has it.
func (s *scene) noSecrets() {
	s.t.Helper()
	secret, err := secrets.Resolve(s.near.SecretKey)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, pid := range s.processes() {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(line), secret) {
			s.t.Errorf("process %d shows the secret key to every user: %q", pid, line)
		}
	}
	err = filepath.WalkDir(s.state, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if content, _ := os.ReadFile(path); strings.Contains(string(content), secret) && info.Mode().Perm() != 0o600 {
			s.t.Errorf("%s has the secret key and mode %v", path, info.Mode())
		}
		return nil
	})
	if info, serr := os.Stat(s.state); err != nil || serr != nil || info.Mode().Perm() != 0o700 {
		s.t.Errorf("the state: %v, %v, %v; want a private directory", info.Mode(), err, serr)
	}
}

// destroy takes away what is mounted or copied, as a person or a crash might.
func (s *scene) destroy(path string) {
	s.t.Helper()
	if s.Copies {
		if err := os.RemoveAll(path); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	for _, pid := range s.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for len(s.processes()) > 0 {
		time.Sleep(time.Millisecond)
	}
}
