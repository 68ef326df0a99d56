// Bench measures what a recovery takes and what an outage costs, on real
// parts, and prints one table. In each row stand side by side: Understudy, the
// bare loop that does the same without its promises, and what people use today.
// All of a row are measured in one run, in turns or at the same moment, so that
// whatever else the machine does hits them alike. No figure is asserted.
//
//	bench [-rounds N] [-repeats N] [-items N] [NAME...]
//
// A benchmark is one file and one line of the list below.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// benchmarks in the order of the table's groups.
var benchmarks = []benchmark{
	{"hot", "webhook in, traffic on the hot standby, verified", hotSwitch},
	{"posts", "webhooks accepted", posts},
	{"cold", "webhook in, a cold standby made, verified", coldStandby},
	{"vm", "webhook in, a real machine made, verified", vmStandby},
	{"kill-get", "primary killed under GETs", killedUnderGETs},
	{"kill-post", "primary killed under POSTs", killedUnderPOSTs},
	{"hang", "primary hangs", hung},
	{"batch", "a batch of real audio beside a bare loop", batchThroughput},
	{"far-batch", "a batch on another machine's recognizer", farThroughput},
	{"batch-killed", "killed in the middle of a batch", batchKilled},
	{"many", "a batch of many items", manyItems},
}

// errMissing means that a benchmark needs programs that are not there.
var errMissing = errors.New("missing")

// benchmark is one group of the table.
type benchmark struct {
	// name is what the command line calls it.
	name string
	// what is told while it runs.
	what string
	run  func(ctx context.Context, b *bench) (group, error)
}

// bench is what benchmarks run with.
type bench struct {
	// dir is where all parts have their files, on the disk that is measured beside them.
	dir  string
	disk *disk
	// rounds are recoveries of the hot switch, repeats those of each fault.
	rounds, repeats int
	// items are those of the large batch.
	items int
	// telling shows how far it is, where somebody looks on.
	telling bool
	title   string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == speechCommand {
		fail(serveSpeech(os.Args[2:]))
		return
	}
	if len(os.Args) > 1 && os.Args[1] == storeCommand {
		fail(serveStore(os.Args[2:]))
		return
	}
	b := &bench{telling: term.IsTerminal(int(os.Stderr.Fd()))}
	flag.IntVar(&b.rounds, "rounds", 40, "recoveries of the hot switch")
	flag.IntVar(&b.repeats, "repeats", 3, "repeats of each fault")
	flag.IntVar(&b.items, "items", 100_000, "items of the large batch")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	fail(b.main(ctx, flag.Args()))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// main runs the benchmarks and prints the table of those that came to an end.
func (b *bench) main(ctx context.Context, names []string) (err error) {
	if b.rounds < 1 || b.repeats < 1 || b.items < 9 {
		return errors.New("rounds and repeats are at least 1, items at least 9")
	}
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "understudy-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.disk, err = openDisk(b.dir); err != nil {
		return err
	}
	defer b.disk.close()
	m := lookAtMachine(ctx)
	var groups []group
	var failed []error
	for i, c := range chosen {
		b.title = fmt.Sprintf("%d/%d %s", i+1, len(chosen), c.what)
		b.tell("")
		g, err := c.run(ctx, b)
		b.wipe()
		if ctx.Err() != nil {
			return errors.New("interrupted; everything that was started is gone")
		}
		if errors.Is(err, errMissing) && len(names) == 0 {
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", c.name, err)
			continue
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", c.name, err))
			continue
		}
		groups = append(groups, g)
	}
	if len(groups) == 0 {
		return errors.Join(failed...)
	}
	m.lookAgain()
	fmt.Print(table(groups), m.facts(b.disk), legend(groups))
	return errors.Join(failed...)
}

// choose finds benchmarks by the beginnings of their names; without names it is all of them.
func choose(names []string) (chosen []benchmark, err error) {
	for _, name := range names {
		if !slices.ContainsFunc(benchmarks, func(b benchmark) bool { return strings.HasPrefix(b.name, name) }) {
			return nil, fmt.Errorf("there is no benchmark %q", name)
		}
	}
	for _, b := range benchmarks {
		if len(names) == 0 || slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(b.name, name) }) {
			chosen = append(chosen, b)
		}
	}
	return chosen, nil
}

// tell shows how far the running benchmark is: on a terminal in one line, elsewhere only its beginning.
func (b *bench) tell(format string, args ...any) {
	switch {
	case b.telling:
		fmt.Fprintf(os.Stderr, "\r\x1b[2K%.100s", strings.TrimRight(b.title+"  "+fmt.Sprintf(format, args...), " "))
	case format == "":
		fmt.Fprintln(os.Stderr, b.title)
	}
}

func (b *bench) wipe() {
	if b.telling {
		fmt.Fprint(os.Stderr, "\r\x1b[2K")
	}
}
