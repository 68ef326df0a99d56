package local

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"syscall"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/probe"
)

// maxLog is how much of the end of a log a detail quotes, in characters.
const maxLog = 1000

// answer is what machine.sh said.
type answer struct {
	err      error
	launched bool
	machines []compute.Machine
}

// classes are the errors that machine.sh knows by name. What is unknown is none
// of them: the call is to be repeated.
var classes = map[string]error{
	"refused": compute.ErrRefused, "capacity": compute.ErrCapacity, "used": compute.ErrUsed, "none": compute.ErrNone, "foreign": compute.ErrForeign,
}

var states = map[string]compute.State{
	"pending": compute.Pending, "running": compute.Running, "stopping": compute.Stopping, "stopped": compute.Stopped, "removed": compute.Gone, "ended": compute.Gone,
}

// certain reports whether an error claims something; what claims nothing is to be repeated.
func certain(err error) bool {
	for c := range maps.Values(classes) {
		if errors.Is(err, c) {
			return true
		}
	}
	return errors.Is(err, compute.ErrCredentials)
}

// seen is a machine as the script shows it.
type seen struct {
	state, exit, log string
}

// parse reads an answer; false where it is none, or only the beginning of one.
// What a login prints stands before it.
func parse(output string) (answer, bool) {
	var a answer
	var s seen
	begun := false
	for line := range strings.Lines(output) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !begun {
			begun = word == "understudy-machines" && rest == ""
			continue
		}
		switch word {
		case "error":
			name, reason, _ := strings.Cut(rest, " ")
			a.err = errors.New(probe.Printable(reason, maxLog))
			if c := classes[name]; c != nil {
				a.err = fmt.Errorf("%w: %w", c, a.err)
			}
		case "launched":
			a.launched = true
		case "machine":
			s = seen{state: rest}
		case "exit":
			s.exit = rest
		case "log":
			s.log = rest
		case "record":
			var m compute.Machine
			if json.Unmarshal([]byte(rest), &m) != nil || states[s.state] == "" {
				return answer{}, false
			}
			m.State, m.Detail = states[s.state], s.detail()
			a.machines = append(a.machines, m)
		case "end":
			return a, true
		default:
			return answer{}, false
		}
	}
	return answer{}, false
}

// detail explains a state: how the process ended, and the end of its log.
func (s seen) detail() string {
	var parts []string
	switch s.state {
	case "pending":
		parts = append(parts, "its process was not started yet; the call that makes it must be repeated")
	case "removed":
		parts = append(parts, "it was removed")
	case "ended":
		parts = append(parts, s.ended())
	}
	raw, _ := base64.StdEncoding.DecodeString(s.log)
	lines := strings.Split(strings.ToValidUTF8(strings.TrimSpace(string(raw)), "."), "\n")
	log, kept := "", 0
	for i := len(lines) - 1; i >= 0 && kept < maxLog; i-- {
		line := probe.Printable(lines[i], maxLog-kept)
		kept += len([]rune(line)) + 3
		if log != "" && line != "" {
			line += " | "
		}
		log = line + log
	}
	if log != "" {
		parts = append(parts, "its log ends: "+log)
	}
	return strings.Join(parts, "; ")
}

func (s seen) ended() string {
	code, err := strconv.Atoi(s.exit)
	switch {
	case err != nil:
		return "its process is gone and has left no exit code: it was killed with its supervisor, or the host was restarted"
	case code > 128 && code < 128+65:
		return fmt.Sprintf("its process was ended by signal %d (%v)", code-128, syscall.Signal(code-128))
	default:
		return fmt.Sprintf("its process ended with exit code %d", code)
	}
}
