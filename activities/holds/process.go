package holds

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// Process identifies a process of this host, for ever: its id may pass to
// another one, but not together with its start.
type Process struct {
	ID int `json:"id,omitzero"`
	// Started is when it started, in clock ticks since the machine's start, and Boot that start.
	Started string `json:"started,omitempty"`
	Boot    string `json:"boot,omitempty"`
}

// ProcessOf identifies a process that lives.
func ProcessOf(id int) (Process, error) {
	started, err := started(id)
	return Process{ID: id, Started: started, Boot: Boot()}, err
}

// Alive reports whether the process lives. One that is dead and waits to be buried does not.
func (p Process) Alive() bool {
	if p.ID == 0 || p.Boot != Boot() {
		return false
	}
	now, err := started(p.ID)
	return err == nil && now == p.Started
}

// Kill asks the kernel to end the process; nothing else is ever hit. It does not wait.
func (p Process) Kill() {
	if !p.Alive() {
		return
	}
	process, err := os.FindProcess(p.ID)
	if err != nil {
		return
	}
	defer process.Release()
	if p.Alive() { // asked again, now that the id cannot pass to another process unseen
		_ = process.Signal(syscall.SIGKILL)
	}
}

// Fields of a process's line in the kernel's table, after the name in brackets.
const (
	fieldState   = 0
	fieldStarted = 19
)

// started reads when a process started; an error where it does not live. Of all
// that the kernel tells about a process this is what can be read while the
// process hangs in a page that its disk does not deliver; its command line and
// its environment cannot.
func started(id int) (string, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(id) + "/stat")
	if err != nil {
		return "", err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= fieldStarted {
		return "", fmt.Errorf("process %d: %q", id, stat)
	}
	if state := string(fields[fieldState]); state == "Z" || state == "X" {
		return "", fmt.Errorf("process %d has ended", id)
	}
	return string(fields[fieldStarted]), nil
}
