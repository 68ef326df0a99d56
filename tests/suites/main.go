// Suites runs every test of the project, suite after suite, and prints how long
// each took and what was skipped, with the reason.
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

// suites in the order in which they run: what is quick and tells most comes first.
var suites = []suite{
	{name: "unit and conformance", packages: []string{"./..."}, not: []string{"tests/e2e", "tests/replay", "tests/demo", "worker/embedded"}, args: []string{"-p", "2"}},
	{name: "embedded engine", packages: []string{"./worker/embedded"}},
	{name: "replay of histories", packages: []string{"./tests/replay"}},
	{name: "fuzz the runbook loader", packages: []string{"./runbooks"}, args: fuzz("FuzzParseRunbook")},
	{name: "fuzz the webhook", packages: []string{"./triggers"}, args: fuzz("FuzzWebhook")},
	{name: "the demo", packages: []string{"./tests/demo"}, args: []string{"-timeout", "10m"}},
	{name: "end to end", packages: []string{"./tests/e2e"}, args: []string{"-timeout", "30m"}},
}

func fuzz(target string) []string {
	return []string{"-run", "^$", "-fuzz", "^" + target + "$", "-fuzztime", "30s", "-fuzzminimizetime", "10x"}
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
	var results []result
	for _, s := range suites {
		if len(os.Args) > 1 && !slices.ContainsFunc(os.Args[1:], func(arg string) bool { return strings.Contains(s.name, arg) }) {
			continue
		}
		fmt.Printf("\n== %s\n", s.name)
		r, err := run(s)
		if err != nil {
			fmt.Fprintln(os.Stderr, "suites:", err)
			os.Exit(1)
		}
		results = append(results, r)
	}
	if !summary(results) {
		os.Exit(1)
	}
}

// run runs one suite and prints a line for each package, and all of what fails.
func run(s suite) (result, error) {
	r := result{suite: s}
	packages, err := expand(s)
	if err != nil {
		return r, err
	}
	began := time.Now()
	cmd := exec.Command("go", slices.Concat([]string{"test", "-json", "-count=1"}, s.args, packages)...)
	cmd.Stderr = os.Stderr
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := cmd.Start(); err != nil {
		return r, err
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
	if err := cmd.Wait(); err != nil && len(r.failed) == 0 {
		r.failed = append(r.failed, fmt.Sprintf("%s (%v)", s.name, err))
	}
	r.took = time.Since(began)
	return r, nil
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
		fmt.Printf("   FAIL %-45s %6.1f s\n%s", name, e.Elapsed, output[name])
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
func summary(results []result) bool {
	var failed, skips []string
	fmt.Printf("\n%-28s %8s %8s %8s %10s\n", "SUITE", "passed", "failed", "skipped", "took")
	var total time.Duration
	for _, r := range results {
		fmt.Printf("%-28s %8d %8d %8d %10s\n", r.suite.name, r.passed, len(r.failed), len(r.skips), r.took.Round(100*time.Millisecond))
		failed, skips, total = append(failed, r.failed...), append(skips, r.skips...), total+r.took
	}
	fmt.Printf("%-28s %8s %8s %8s %10s\n", "all", "", "", "", total.Round(100*time.Millisecond))
	for _, s := range skips {
		fmt.Println("skipped:", s)
	}
	for _, f := range failed {
		fmt.Println("failed:", f)
	}
	return len(failed) == 0 && (len(skips) == 0 || os.Getenv("UNDERSTUDY_NO_SKIP") == "")
}
