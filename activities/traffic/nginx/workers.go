package nginx

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// errHidden means that nginx's processes cannot be seen from here: it runs in a
// container, or the kernel hides other users' processes.
var errHidden = errors.New("nginx's processes cannot be seen")

// accepting lists the workers that share a master with the worker pid and still
// accept connections. A worker that was told to end says so in its title before
// it looks at its connections again, so one with that title accepts no more.
func accepting(pid int) (map[int]bool, error) {
	if !strings.HasPrefix(title(pid), "nginx: worker process") {
		return nil, errHidden
	}
	master := parent(pid)
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || master <= 1 {
		return nil, errHidden
	}
	workers := map[int]bool{}
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err == nil && parent(pid) == master && isAccepting(pid) {
			workers[pid] = true
		}
	}
	return workers, nil
}

func isAccepting(pid int) bool {
	t := title(pid)
	return strings.HasPrefix(t, "nginx: worker process") && !strings.Contains(t, "shutting down")
}

// title is what a process calls itself; empty where it is gone.
func title(pid int) string {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return string(text)
}

// parent is the process that started another; 0 where that is gone.
func parent(pid int) int {
	stat, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	// "pid (name) state parent ...", and a name may hold spaces and brackets.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(string(fields[1]))
	return ppid
}
