package harness

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clearPatience is how long the end of what was killed is awaited: it takes milliseconds, unless the machine is busy.
const clearPatience = 10 * time.Second

// Clear ends what an Understudy that kept its data below a directory has made
// and left: its machines and mounts are meant to outlive it, but not a test or
// a demo. It returns when all of it is gone.
func Clear(dir string) {
	for _, mount := range mountsBelow(dir) {
		if syscall.Unmount(mount, syscall.MNT_DETACH) != nil { // a plain user may not
			_ = exec.Command("fusermount", "-u", "-z", mount).Run()
		}
	}
	for begun := time.Now(); time.Since(begun) < clearPatience; time.Sleep(20 * time.Millisecond) {
		left := madeBelow(dir)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(-pid, syscall.SIGKILL) // where it leads a group
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// mountsBelow lists what is mounted below a directory, the latest first.
func mountsBelow(dir string) (mounts []string) {
	table, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			mounts = append(mounts, fields[1])
		}
	}
	slices.Reverse(mounts)
	return mounts
}

// madeBelow lists the processes of machines and mounts below a directory. They
// carry it in their environment; the one that trims a machine's log is known by
// its arguments.
func madeBelow(dir string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range all {
		environ, _ := os.ReadFile(filepath.Join(process, "environ"))
		line, _ := os.ReadFile(filepath.Join(process, "cmdline"))
		args := strings.Split(string(line), "\x00")
		made := len(args) > 2 && args[2] == "trim" && strings.HasPrefix(args[1], dir+"/")
		for _, mark := range []string{"UNDERSTUDY_MACHINE=", "UNDERSTUDY_HOLD="} {
			made = made || bytes.Contains(environ, []byte(mark+dir+"/"))
		}
		if pid, err := strconv.Atoi(filepath.Base(process)); err == nil && made {
			pids = append(pids, pid)
		}
	}
	return pids
}
