package runbooks

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Library is a set of runbooks, one per service, that do not contradict each
// other. It does not change once loaded.
type Library struct {
	runbooks map[string]Runbook
	services []string
}

// NewLibrary makes a library of runbooks that were already checked.
func NewLibrary(books ...Runbook) *Library {
	lib := &Library{runbooks: map[string]Runbook{}}
	for _, r := range books {
		lib.runbooks[r.Service] = r
	}
	lib.services = slices.Sorted(maps.Keys(lib.runbooks))
	return lib
}

// LoadLibrary reads runbooks from files and directories (*.yaml and *.yml in
// them, not below). It returns every problem of every file, also those between
// files: two runbooks of one service, two that match one alert. The library
// holds the runbooks without errors.
func LoadLibrary(paths ...string) (*Library, Problems) {
	var problems Problems
	var books []Runbook
	var seen []*decoder
	for _, file := range expand(paths, &problems) {
		text, err := os.ReadFile(file)
		if err != nil {
			problems = append(problems, unreadable(file, err))
			continue
		}
		r, d := parseRunbook(file, text)
		for i, other := range books {
			d.conflicts(&r, &other, seen[i])
		}
		problems = append(problems, d.problems...)
		if d.problems.Err() == nil {
			books, seen = append(books, r), append(seen, d)
		}
	}
	return NewLibrary(books...), problems.sorted()
}

// Services lists the services in alphabetical order.
func (l *Library) Services() []string { return l.services }

// Lookup finds the runbook of a service.
func (l *Library) Lookup(service string) (Runbook, bool) {
	r, ok := l.runbooks[service]
	return r, ok
}

// Match finds the service that an alert with these labels is about: the one
// whose runbook has a match entry of which the alert carries every label.
func (l *Library) Match(labels map[string]string) (service string, ok bool) {
	for _, name := range l.services {
		for _, entry := range l.runbooks[name].Match {
			if carries(labels, entry) {
				return name, true
			}
		}
	}
	return "", false
}

func carries(labels, entry map[string]string) bool {
	for name, value := range entry {
		if got, ok := labels[name]; !ok || got != value {
			return false
		}
	}
	return len(entry) > 0
}

// conflicts adds what stands between this runbook and one read before.
func (d *decoder) conflicts(r, other *Runbook, read *decoder) {
	if r.Service == other.Service && r.Service != "" {
		d.wrong("service", "service %q already has a runbook: %s:%d", r.Service, read.file, read.pos("service").line)
		return
	}
	for i, mine := range r.Match {
		for j, theirs := range other.Match {
			if compatible(mine, theirs) {
				d.wrong(fmt.Sprintf("match[%d]", i), "one alert can match this entry and that of service %s at %s:%d; add a label that tells them apart",
					other.Service, read.file, read.pos(fmt.Sprintf("match[%d]", j)).line)
			}
		}
	}
}

// compatible reports whether one alert can carry all labels of both entries.
func compatible(a, b map[string]string) bool {
	for name, value := range a {
		if other, ok := b[name]; ok && other != value {
			return false
		}
	}
	return true
}

// expand replaces directories by the runbooks in them, in alphabetical order.
func expand(paths []string, problems *Problems) []string {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			files = append(files, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			*problems = append(*problems, unreadable(path, err))
		}
		for _, entry := range entries {
			name := entry.Name()
			if !entry.IsDir() && !strings.HasPrefix(name, ".") && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)) {
				files = append(files, filepath.Join(path, name))
			}
		}
	}
	return files
}

func unreadable(file string, err error) Problem {
	return Problem{File: file, Line: 1, Column: 1, Text: fmt.Sprintf("cannot be read: %v", err)}
}
