package activities

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/probe"
)

const (
	// consoleEvery is the pause between two looks at a console that says something new, consoleRarely the longest one
	// while it says nothing: clouds show it late, and count every look. A pause is a share of the silence before it.
	consoleEvery  = 500 * time.Millisecond
	consoleRarely = 5 * time.Second
	consoleShare  = 8
	// consoleWithin bounds one look.
	consoleWithin = 10 * time.Second
	// bootSteps is how many steps of one boot are kept, and how many times at most its recovery is told.
	bootSteps = 32
	// stepLimit, tailLimit and detailLimit are the longest texts that leave here, in characters: of a step, of a
	// console's end, of a provider's reason.
	stepLimit   = 200
	tailLimit   = 400
	detailLimit = 1000
)

// SeenStep is a step of a boot, and when it was first seen.
type SeenStep struct {
	compute.BootStep
	At time.Time `json:"at"`
}

// BootNews says where the boot of a machine is.
type BootNews struct {
	// Recovery is the workflow that waits for the machine, Run its run.
	Recovery string `json:"recovery"`
	Run      string `json:"run"`
	// Key is that of the machine's order.
	Key string `json:"key"`
	// Step is the latest one.
	Step compute.BootStep `json:"step"`
}

// bootWatch reads the console of a machine beside the wait for it. A console
// that is slow, or that cannot be read, delays nothing.
type bootWatch struct {
	console compute.Console
	ref     compute.Ref
	tell    func(context.Context, compute.BootStep)
	stop    context.CancelFunc
	done    chan struct{}

	mu    sync.Mutex
	steps []SeenStep
	// tail is the end of the console.
	tail string
}

// watchBoot begins to read a machine's console, where there is one. Its recovery
// is told of each step; what it misses it finds in the result. The watch must be stopped.
func (a *Activities) watchBoot(ctx context.Context, provider compute.Provider, ref compute.Ref) *bootWatch {
	w := &bootWatch{ref: ref, stop: func() {}}
	console, ok := provider.(compute.Console)
	if !ok {
		return w
	}
	w.console, w.tell = console, a.tellBoot(ctx, ref)
	ctx, w.stop = context.WithCancel(ctx)
	w.done = make(chan struct{})
	go w.follow(ctx)
	return w
}

// tellBoot is how the recovery that waits for a machine hears of a step.
func (a *Activities) tellBoot(ctx context.Context, ref compute.Ref) func(context.Context, compute.BootStep) {
	if !activity.IsActivity(ctx) || a.Guards == nil || ref.Key == "" {
		return func(context.Context, compute.BootStep) {}
	}
	waits, told := activity.GetInfo(ctx).WorkflowExecution, 0
	return func(ctx context.Context, s compute.BootStep) {
		if told++; told > bootSteps {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, consoleWithin)
		defer cancel()
		// One that does not arrive is in the result as well.
		_ = a.Guards.Booting(ctx, BootNews{Recovery: waits.ID, Run: waits.RunID, Key: ref.Key, Step: s})
	}
}

// follow reads the console again and again.
func (w *bootWatch) follow(ctx context.Context) {
	defer close(w.done)
	heard := time.Now()
	for {
		if step, news := w.read(ctx); news {
			heard = time.Now()
			w.tell(ctx, step)
		}
		select {
		case <-time.After(min(max(time.Since(heard)/consoleShare, consoleEvery), consoleRarely)):
		case <-ctx.Done():
			return
		}
	}
}

// read reads the console once, and returns the latest step where that is a new one.
func (w *bootWatch) read(ctx context.Context) (compute.BootStep, bool) {
	ctx, cancel := context.WithTimeout(ctx, consoleWithin)
	defer cancel()
	text, err := w.console.Console(ctx, w.ref)
	if err != nil || strings.TrimSpace(text) == "" {
		return compute.BootStep{}, false
	}
	steps := compute.LatestBoot(compute.BootSteps(text))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tail = endOf(text)
	return w.keep(steps)
}

// keep adds what was not seen before. A console is a window on the end of what
// was written, so its first steps may be missing now.
func (w *bootWatch) keep(steps []compute.BootStep) (latest compute.BootStep, news bool) {
	for i := range steps {
		steps[i] = compute.BootStep{Name: probe.Printable(steps[i].Name, 32), State: steps[i].State, Detail: discreet(steps[i].Detail, stepLimit)}
	}
	from := len(steps)
	for from > 0 && !w.knows(steps[from-1]) {
		from--
	}
	for _, s := range steps[from:] {
		if len(w.steps) < bootSteps {
			w.steps = append(w.steps, SeenStep{BootStep: s, At: time.Now()})
			latest, news = s, true
		}
	}
	return latest, news
}

func (w *bootWatch) knows(s compute.BootStep) bool {
	return slices.ContainsFunc(w.steps, func(known SeenStep) bool { return known.BootStep == s })
}

// all are the steps that were seen.
func (w *bootWatch) all() []SeenStep {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.steps)
}

// failed is the step that failed. A prepared machine may show an earlier boot
// for a while, so that only one that was made for this says anything.
func (w *bootWatch) failed() (compute.BootStep, bool) {
	if w.ref.Placement.Instance != "" {
		return compute.BootStep{}, false
	}
	for _, s := range w.all() {
		if s.State == compute.BootFailed {
			return s.BootStep, true
		}
	}
	return compute.BootStep{}, false
}

// ended says why a machine is off.
func (w *bootWatch) ended(ctx context.Context, m compute.Machine) string {
	return w.so(ctx, fmt.Sprintf("it is %s: %s", m.State, discreet(m.Detail, detailLimit)))
}

// so adds to a reason what the console says last, unless the reason has that already.
func (w *bootWatch) so(ctx context.Context, why string) string {
	if w.console == nil {
		return why
	}
	w.stop()
	<-w.done
	if ctx.Err() == nil {
		w.read(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.steps) > 0 {
		last := w.steps[len(w.steps)-1].BootStep
		for _, s := range w.steps {
			if s.State == compute.BootFailed {
				last = s.BootStep
			}
		}
		switch {
		case last.State == compute.BootFailed && strings.Contains(why, last.Detail):
			return why
		case last.State == compute.BootFailed:
			return fmt.Sprintf("%s; step %s failed: %s", why, last.Name, last.Detail)
		default:
			return fmt.Sprintf("%s; its boot came as far as: %s", why, last)
		}
	}
	if w.tail == "" || strings.Contains(why, "console ends") {
		return why
	}
	return why + "; its console ends: " + w.tail
}

// endOf is the last lines of a console, fit for people.
func endOf(console string) string {
	lines := strings.Split(strings.TrimSpace(console), "\n")
	return discreet(strings.Join(lines[max(0, len(lines)-3):], " | "), tailLimit)
}

// secretive finds what looks like a credential: programs print them, and what
// reaches a timeline is kept for years.
var secretive = regexp.MustCompile(`(?i)((?:secret|passw(?:or)?d|token|api[-_]?key|access[-_]?key(?:[-_]?id)?|authorization)[\w-]*["']?\s*[:=]\s*)(?:bearer\s+|basic\s+)?[^\s,;|]+|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`)

// discreet is text of a machine's in one printable line, without what looks like a credential.
func discreet(text string, limit int) string {
	return probe.Printable(secretive.ReplaceAllString(text, "${1}(hidden)"), limit)
}
