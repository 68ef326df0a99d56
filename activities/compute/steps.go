package compute

import (
	"slices"
	"strings"
)

// BootStep is one line that a machine has written about its boot.
type BootStep struct {
	// Name is kernel, network, document, boot, mount, verify, restore, hash, start or cloud-init.
	Name string `json:"name"`
	// State is begin, done or failed.
	State string `json:"state"`
	// Detail is the volume, and why it failed.
	Detail string `json:"detail,omitempty"`
}

const stepMark = "understudy: step "

// The states of a boot's step.
const (
	BootBegin  = "begin"
	BootDone   = "done"
	BootFailed = "failed"
)

// BootSteps reads the steps from a console, in order. Consoles mix what many
// programs write, so a line counts from where the mark stands; a line that was
// cut at its beginning counts not at all.
func BootSteps(console string) []BootStep {
	var steps []BootStep
	for line := range strings.Lines(console) {
		_, told, found := strings.Cut(strings.TrimRight(line, "\r\n"), stepMark)
		name, rest, _ := strings.Cut(told, " ")
		state, detail, _ := strings.Cut(rest, " ")
		if !found || (state != BootBegin && state != BootDone && state != BootFailed) {
			continue
		}
		step := BootStep{Name: name, State: state, Detail: strings.TrimSpace(detail)}
		if n := len(steps); n == 0 || steps[n-1] != step { // what goes to journal and console may stand there twice
			steps = append(steps, step)
		}
	}
	return steps
}

// LatestBoot are the steps since the last beginning of a boot: the console of a
// machine that was stopped and started holds those of both.
func LatestBoot(steps []BootStep) []BootStep {
	for i := len(steps) - 1; i > 0; i-- {
		begins := steps[i].Name == "boot" && steps[i].State == BootBegin && !slices.Contains(beforeBoot, steps[i-1].Name)
		if begins || steps[i].Name == beforeBoot[0] {
			return steps[i:]
		}
	}
	return steps
}

// beforeBoot are the steps of a slim image before the document's own begin.
var beforeBoot = []string{"kernel", "network", "document"}

// FailedStep is the step that failed, where one did.
func FailedStep(steps []BootStep) (BootStep, bool) {
	for _, s := range steps {
		if s.State == BootFailed {
			return s, true
		}
	}
	return BootStep{}, false
}

// String is the step as a machine writes it.
func (s BootStep) String() string { return strings.TrimSpace(s.Name + " " + s.State + " " + s.Detail) }
