// Suites runs every test of the project in two lanes side by side, and prints how
// long each suite took and what was skipped, with the reason.
//
// With UNDERSTUDY_NO_SKIP set, a skipped test is a failure: that is how CI runs.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

const module = "github.com/understudy-dr/understudy/"

// suite is a group of tests that is run with one command.
type suite struct {
	name string
	// packages are patterns; those of not are left out.
	packages, not []string
	args          []string
}

// lanes run side by side, the suites of each one after the other, what is quick
// and tells most first. Whole stories mostly wait for processes and timeouts, so
// three of them at once leave a core of two to the other lane.
var lanes = [][]suite{
	{
		{name: "end to end", packages: []string{"./tests/e2e"}, args: []string{"-timeout", "30m", "-parallel", "3"}},
	},
	{
		{name: "unit and conformance", packages: []string{"./..."}, not: []string{"tests/e2e", "tests/replay", "tests/demo", "worker/embedded"}, args: []string{"-p", "2"}},
		{name: "embedded engine", packages: []string{"./worker/embedded"}},
		{name: "replay of histories", packages: []string{"./tests/replay"}},
		{name: "fuzz the runbook loader", packages: []string{"./runbooks"}, args: fuzz("FuzzParseRunbook")},
		{name: "fuzz the webhook", packages: []string{"./triggers"}, args: fuzz("FuzzWebhook")},
		{name: "the demo", packages: []string{"./tests/demo"}, args: []string{"-timeout", "10m"}},
	},
}

// fuzz searches for as long as it always does, and leaves a core to the other lane.
func fuzz(target string) []string {
	return []string{"-run", "^$", "-fuzz", "^" + target + "$", "-fuzztime", "30s", "-parallel", "1", "-fuzzminimizetime", "10x"}
}

// event is a line of `go test -json`.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// result is what became of a suite.
type result struct {
	suite         suite
	took          time.Duration
	passed        int
	failed, skips []string
}

func main() {
	began := time.Now()
	results := make([][]result, len(lanes))
	var running sync.WaitGroup
	for i, lane := range lanes {
		running.Go(func() {
			for _, s := range lane {
				if wanted(s.name, os.Args[1:]) {
					results[i] = append(results[i], run(s))
				}
			}
		})
	}
	running.Wait()
	if !summary(slices.Concat(results...), time.Since(began)) {
		os.Exit(1)
	}
}

// wanted says whether a suite is among those asked for by parts of their names; all are where nobody asks.
func wanted(name string, asked []string) bool {
	return len(asked) == 0 || slices.ContainsFunc(asked, func(part string) bool { return strings.Contains(name, part) })
}

// run runs one suite and prints a line for each package, and all of what fails.
func run(s suite) result {
	fmt.Printf("== %s begins\n", s.name)
	r := result{suite: s}
	began := time.Now()
	if err := r.listen(); err != nil && len(r.failed) == 0 {
		r.failed = append(r.failed, fmt.Sprintf("%s (%v)", s.name, err))
	}
	r.took = time.Since(began)
	fmt.Printf("== %s took %s\n", s.name, r.took.Round(100*time.Millisecond))
	return r
}

// listen runs the tests of the suite and takes in what they say.
func (r *result) listen() error {
	packages, err := expand(r.suite)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", slices.Concat([]string{"test", "-json", "-count=1"}, r.suite.args, packages)...)
	cmd.Stderr = os.Stderr
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	output := map[string]string{} // of tests that have not ended
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		var e event
		if json.Unmarshal(scanner.Bytes(), &e) == nil {
			r.take(e, output)
		}
	}
	return cmd.Wait()
}

func (r *result) take(e event, output map[string]string) {
	name := strings.TrimPrefix(e.Package, module)
	if e.Test != "" {
		name += " " + e.Test
	}
	switch e.Action {
	case "output":
		output[name] += e.Output
		return
	case "pass":
		if e.Test == "" {
			fmt.Printf("   ok   %-45s %6.1f s\n", name, e.Elapsed)
		} else {
			r.passed++
		}
	case "skip":
		if e.Test != "" {
			r.skips = append(r.skips, name+": "+reason(output[name]))
		}
	case "fail":
		said := output[name]
		for test, unended := range output { // a package whose time is over has told why in the name of a test
			if e.Test == "" && strings.HasPrefix(test, name+" ") {
				said += unended
			}
		}
		fmt.Printf("   FAIL %-45s %6.1f s\n%s", name, e.Elapsed, said)
		r.failed = append(r.failed, name)
	default:
		return
	}
	delete(output, name)
}

// reason is why a test says it was skipped.
func reason(output string) string {
	for line := range strings.Lines(output) {
		if _, why, ok := strings.Cut(line, ".go:"); ok {
			_, why, _ = strings.Cut(why, ": ")
			return strings.TrimSpace(why)
		}
	}
	return "without a reason"
}

func expand(s suite) ([]string, error) {
	out, err := exec.Command("go", append([]string{"list"}, s.packages...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages of %s: %w", s.name, err)
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(pkg string) bool {
		return slices.ContainsFunc(s.not, func(not string) bool { return strings.HasPrefix(strings.TrimPrefix(pkg, module), not) })
	}), nil
}

// summary prints the table at the end and reports whether all is well.
func summary(results []result, took time.Duration) bool {
	var failed, skips []string
	fmt.Printf("\n%-28s %8s %8s %8s %10s\n", "SUITE", "passed", "failed", "skipped", "took")
	for _, r := range results {
		fmt.Printf("%-28s %8d %8d %8d %10s\n", r.suite.name, r.passed, len(r.failed), len(r.skips), r.took.Round(100*time.Millisecond))
		failed, skips = append(failed, r.failed...), append(skips, r.skips...)
	}
	fmt.Printf("%-28s %8s %8s %8s %10s\n", "all, side by side", "", "", "", took.Round(100*time.Millisecond))
	for _, s := range skips {
		fmt.Println("skipped:", s)
	}
	for _, f := range failed {
		fmt.Println("failed:", f)
	}
	return len(failed) == 0 && (len(skips) == 0 || os.Getenv("UNDERSTUDY_NO_SKIP") == "")
}
