package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// warmUp is how many requests each front door answers before the fault.
const warmUp = 50

// fault is something that happens to the primary.
type fault struct {
	name, title string
	method      string
	strike      func(ctx context.Context, primary *harness.Process) error
	// window is how long users go on asking after it.
	window time.Duration
	// failedToBeat and againToBeat are the figures to beat.
	failedToBeat, againToBeat string
}

func killed(_ context.Context, primary *harness.Process) error {
	primary.Kill()
	return nil
}

func frozen(ctx context.Context, primary *harness.Process) error { return primary.Freeze(ctx) }

func killedUnderGETs(ctx context.Context, b *bench) (group, error) {
	return b.fault(ctx, fault{
		name: "kill-get", title: "primary killed (SIGKILL) under GETs", method: http.MethodGet, strike: killed, window: 4 * time.Second,
		failedToBeat: "HAProxy alone",
	})
}

func killedUnderPOSTs(ctx context.Context, b *bench) (group, error) {
	return b.fault(ctx, fault{
		name: "kill-post", title: "primary killed (SIGKILL) under POSTs", method: http.MethodPost, strike: killed, window: 4 * time.Second,
		failedToBeat: "HAProxy alone",
	})
}

func hung(ctx context.Context, b *bench) (group, error) {
	return b.fault(ctx, fault{
		name: "hang", title: "primary hangs (SIGSTOP) under GETs", method: http.MethodGet, strike: frozen, window: 8 * time.Second,
		againToBeat: "2.0 s",
	})
}

// suffered is what the users of one front door saw in all repeats.
type suffered struct {
	asked, failed, inside int
	again                 sample
	nevers                int
	problems              map[string]int
}

// recovered is what Understudy did in all repeats.
type recovered struct {
	// proven is from the fault to the canary's right answer.
	proven sample
	// told counts the ways in which it heard of the fault.
	told map[string]int
	// not says how recoveries ended that were not proven.
	not []string
}

// fault plays a fault several times, at all front doors at once.
func (b *bench) fault(ctx context.Context, f fault) (group, error) {
	var doors [doorCount]suffered
	for i := range doors {
		doors[i].problems = map[string]int{}
	}
	ours := recovered{told: map[string]int{}}
	for repeat := range b.repeats {
		b.tell("repeat %d of %d", repeat+1, b.repeats)
		if err := b.strike(ctx, f, filepath.Join(b.dir, fmt.Sprintf("%s-%d", f.name, repeat)), &doors, &ours); err != nil {
			return group{}, err
		}
	}
	return f.group(doors, ours), nil
}

// strike plays the fault once.
func (b *bench) strike(ctx context.Context, f fault, dir string, doors *[doorCount]suffered, ours *recovered) error {
	s, err := start(ctx, dir, setStage)
	if err != nil {
		return err
	}
	defer s.close()
	var streams [doorCount]*stream
	for i, front := range s.fronts {
		streams[i] = startStream(ctx, front, f.method)
		defer streams[i].close()
	}
	calm, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for _, st := range streams {
		if err := until(calm, func(context.Context) error { return st.healthy("primary", warmUp) }); err != nil {
			return err
		}
	}
	struck := time.Now()
	if err := f.strike(ctx, s.primary.Process); err != nil {
		return err
	}
	pause(ctx, f.window)
	for _, st := range streams {
		st.stop()
	}
	end := time.Now()
	for i, st := range streams {
		st.close()
		doors[i].add(st.tally(struck, end))
	}
	report, err := s.recovery(ctx)
	if err != nil {
		return err
	}
	ours.add(report, struck)
	return nil
}

func (o *recovered) add(r workflows.Report, struck time.Time) {
	switch {
	case r.Recovery == "":
		o.not = append(o.not, "it began no recovery")
		return
	case !r.Verified.IsZero():
		o.proven = append(o.proven, r.Verified.Sub(struck))
	case r.Outcome == "":
		o.not = append(o.not, "it was still at it")
	default:
		o.not = append(o.not, r.Outcome+": "+r.Reason)
	}
	o.told[r.Trigger.Kind]++
}

func (s *suffered) add(t tally) {
	s.asked, s.failed, s.inside = s.asked+t.asked, s.failed+t.failed, s.inside+t.inside
	s.again = append(s.again, t.again)
	if t.never {
		s.nevers++
	}
	for problem, count := range t.problems {
		s.problems[problem] += count
	}
}

func (f fault) group(doors [doorCount]suffered, ours recovered) group {
	g := group{title: f.title, columns: []string{"HAProxy+Understudy", "HAProxy alone", "nginx alone"}}
	each := func(what, beat string, cell func(s suffered) string) {
		r := row{what: what, beat: beat}
		for _, s := range doors {
			r.cells = append(r.cells, cell(s))
		}
		g.rows = append(g.rows, r)
	}
	each("requests that failed", f.failedToBeat, func(s suffered) string { return fmt.Sprintf("%d of %d", s.failed, s.asked) })
	each("of these inside the primary at that moment", "", func(s suffered) string { return fmt.Sprint(s.inside) })
	again := func(share float64) func(s suffered) string {
		return func(s suffered) string {
			if d := s.again.at(share); s.nevers == 0 || d <= f.window-2*slow {
				return figure(d)
			}
			return "not in " + f.window.String()
		}
	}
	each("all answers good and quick again, median", f.againToBeat, again(0.5))
	each("all answers good and quick again, worst", "", again(1))
	g.rows = append(g.rows, row{what: "and proven by a canary, median", cells: []string{ours.cell(0.5)}}, row{what: "and proven by a canary, worst", cells: []string{ours.cell(1)}})
	g.method = []string{
		"One primary and one standby, which are processes that answer at once, with three front doors: the fault hits all in one moment.",
		fmt.Sprintf("At each door a request every %s, whether those before are answered or not; clients wait %s, and call %s slow.", pace, clientPatience, slow),
		"HAProxy: deploy/haproxy/fun-asr.cfg with the checks for servers that always answer (" + quickChecks + "). nginx: the articles'",
		"upstream (max_fails=2 fail_timeout=5s, backup) in the server block of deploy/nginx/sambert.conf.",
		fmt.Sprintf("Understudy may hear of it from real parts: Prometheus looks every %s, Alertmanager sends at once; or by its own heartbeat (250ms, 2 failures).", scrapeEvery),
	}
	g.notes = []string{fmt.Sprintf("Repeats: %d. Understudy heard of it by: %s.", len(doors[lookedAfter].again), counted(ours.told))}
	for _, why := range ours.not {
		g.notes = append(g.notes, "Understudy proved nothing once: "+why+".")
	}
	for i, name := range g.columns {
		if len(doors[i].problems) > 0 {
			g.notes = append(g.notes, "What failed at "+name+" met with: "+counted(doors[i].problems)+".")
		}
	}
	return g
}

// cell is a share of the recoveries; those that were not proven count as the longest.
func (o recovered) cell(share float64) string {
	all := slices.Clone(o.proven)
	const never = time.Duration(math.MaxInt64)
	for range o.not {
		all = append(all, never)
	}
	if d := all.at(share); d != never {
		return figure(d)
	}
	return "never"
}

// counted words how often each of some things was seen.
func counted(things map[string]int) string {
	var all []string
	for _, thing := range slices.Sorted(maps.Keys(things)) {
		all = append(all, fmt.Sprintf("%d %s", things[thing], thing))
	}
	return strings.Join(all, ", ")
}
