package boot

import "strings"

// Step is one line that a machine has written about its boot.
type Step struct {
	// Name is boot, mount, verify, hash, start or cloud-init.
	Name string
	// State is begin, done or failed.
	State string
	// Detail is the volume, and why it failed.
	Detail string
}

const stepMark = "understudy: step "

// Steps reads the steps from a console, in order. Consoles mix what many
// programs write, so a line counts from where the mark stands; a line that was
// cut at its beginning counts not at all.
func Steps(console string) []Step {
	var steps []Step
	for line := range strings.Lines(console) {
		_, told, found := strings.Cut(strings.TrimRight(line, "\r\n"), stepMark)
		name, rest, _ := strings.Cut(told, " ")
		state, detail, _ := strings.Cut(rest, " ")
		if !found || (state != "begin" && state != "done" && state != "failed") {
			continue
		}
		step := Step{Name: name, State: state, Detail: strings.TrimSpace(detail)}
		if n := len(steps); n == 0 || steps[n-1] != step { // what goes to journal and console may stand there twice
			steps = append(steps, step)
		}
	}
	return steps
}

// Failed is the step that failed, where one did.
func Failed(steps []Step) (Step, bool) {
	for _, s := range steps {
		if s.State == "failed" {
			return s, true
		}
	}
	return Step{}, false
}
