// Package house checks the rules of the house that the compiler does not: which
// room may import which, and what must never reach the deterministic ones.
package house

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/understudy-dr/understudy/"

// imports lists the packages of a pattern with what each imports itself.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		all[strings.TrimPrefix(fields[0], module)] = fields[1:]
	}
	return all
}

// rooms from the bottom to the top: each may import what stands before it.
var rooms = []string{"runbooks", "activities/", "activities", "workflows", "triggers", "worker", "github.com"}

func room(pkg string) int {
	first, _, below := strings.Cut(pkg, "/")
	switch {
	case pkg == strings.TrimSuffix(module, "/"):
		return len(rooms) - 1
	case first == "activities" && below:
		return slices.Index(rooms, "activities/")
	default:
		return slices.Index(rooms, first)
	}
}

func TestImportsRunOneWay(t *testing.T) {
	for pkg, imported := range imports(t) {
		from := room(pkg)
		if from < 0 || strings.HasSuffix(pkg, "test") {
			continue // tests, and the conformance suites among them, may use every room
		}
		for _, path := range imported {
			target, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			if to := room(target); to > from || to < 0 {
				t.Errorf("%s imports %s, which stands above it", pkg, target)
			}
		}
	}
}

// An implementation is a directory below a capability; only the assembly knows
// which there are.
func TestImplementationsAreReachedOnlyFromTheAssembly(t *testing.T) {
	for pkg, imported := range imports(t) {
		if strings.HasPrefix(pkg, "worker") || strings.HasPrefix(pkg, "tests") || strings.HasSuffix(pkg, "test") {
			continue // packages that end in test are only for tests
		}
		for _, path := range imported {
			parts := strings.Split(strings.TrimPrefix(path, module), "/")
			sibling := len(parts) > 2 && strings.HasPrefix(pkg, parts[0]+"/"+parts[1]+"/") // what implementations of one capability share
			if strings.HasPrefix(path, module) && len(parts) > 2 && parts[0] == "activities" && parts[2] != "internal" && !sibling {
				t.Errorf("%s imports the implementation %s", pkg, strings.Join(parts, "/"))
			}
		}
	}
}

func TestWorkflowsAndRunbooksStayPure(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"workflows", module+"runbooks").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for _, banned := range []string{"aws", "slack-go", "alertmanager", "etcd", "temporal.io/server", "libvirt", module + "worker", module + "triggers"} {
			if strings.Contains(dep, banned) {
				t.Errorf("%s reaches the workflows", dep)
			}
		}
	}
}

func TestCapabilitiesKnowNoEngine(t *testing.T) {
	for pkg, imported := range imports(t) {
		if !strings.HasPrefix(pkg, "activities/") {
			continue
		}
		for _, path := range imported {
			if strings.HasPrefix(path, "go.temporal.io/") {
				t.Errorf("%s imports %s", pkg, path)
			}
		}
	}
}
