package stage

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mode is a way to fail.
type Mode string

// The modes.
const (
	// None is good health.
	None Mode = "none"
	// Crash ends the process at once, with exit code 1.
	Crash Mode = "crash"
	// CrashMid kills the process in the middle of the next inference, as the kernel
	// does when memory is short; a shell reports 137.
	CrashMid Mode = "crash-mid"
	// Hang accepts requests and never answers.
	Hang Mode = "hang"
	// Wrong answers with a wrong text, or with silence.
	Wrong Mode = "wrong"
	// Slow answers after the delay; an inference holds the engine meanwhile.
	Slow Mode = "slow"
	// Hold lets an inference wait, and hold the engine, until there is another fault or none: somebody's recording that
	// is as long as a test needs it to be, on a machine however busy.
	Hold Mode = "hold"
	// Error answers 503.
	Error Mode = "error"
	// NotReady has the health check show that not the right model is loaded.
	NotReady Mode = "not-ready"
)

var modes = []Mode{None, Crash, CrashMid, Hang, Wrong, Slow, Hold, Error, NotReady}

// Fault is what a server shall suffer.
type Fault struct {
	Mode Mode `json:"mode"`
	// After lets this many more inferences pass before the fault begins.
	After int `json:"after,omitempty"`
	// Delay is for Slow, as a Go duration.
	Delay string `json:"delay,omitempty"`
	// File limits the fault to inferences on files with this in their name: a poisoned item.
	File string `json:"file,omitempty"`
}

// ParseFault reads a fault as JSON, or as the bare name of a mode.
func ParseFault(text string) (Fault, error) {
	fault := Fault{Mode: Mode(text)}
	if strings.HasPrefix(text, "{") {
		fault = Fault{}
		if err := json.Unmarshal([]byte(text), &fault); err != nil {
			return Fault{}, fmt.Errorf("fault: %w", err)
		}
	}
	if !slices.Contains(modes, fault.Mode) {
		return Fault{}, fmt.Errorf("fault: there is no mode %q; there are %q", fault.Mode, modes)
	}
	if fault.After < 0 {
		return Fault{}, fmt.Errorf("fault: after is %d", fault.After)
	}
	if _, err := time.ParseDuration(fault.Delay); (err != nil) == (fault.Mode == Slow) {
		return Fault{}, fmt.Errorf("fault: slow needs a delay such as 2s, and no other mode has one")
	}
	return fault, nil
}

func (f Fault) delay() time.Duration {
	d, _ := time.ParseDuration(f.Delay)
	return d
}

// begun says whether the fault is on for every request.
func (f Fault) begun() bool { return f.After == 0 && f.File == "" }

// faults holds the fault of the moment.
type faults struct {
	mu    sync.Mutex
	fault Fault
	// changed is closed when the fault is another one; nil while nobody waits.
	changed chan struct{}
}

func (f *faults) set(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// awaitEnd waits until no fault of the mode is on.
func (f *faults) awaitEnd(mode Mode) {
	for {
		f.mu.Lock()
		if f.fault.Mode != mode {
			f.mu.Unlock()
			return
		}
		if f.changed == nil {
			f.changed = make(chan struct{})
		}
		changed := f.changed
		f.mu.Unlock()
		<-changed
	}
}

func (f *faults) get() Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault
}

// now is the fault for a request without an inference.
func (f *faults) now() Fault {
	if fault := f.get(); fault.begun() {
		return fault
	}
	return Fault{Mode: None}
}

// next is the fault for the next inference, which counts as one that passed where the fault has not begun.
func (f *faults) next(file string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !strings.Contains(file, f.fault.File) {
		return Fault{Mode: None}
	}
	if f.fault.After > 0 {
		f.fault.After--
		return Fault{Mode: None}
	}
	return f.fault
}
