package commands

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/triggers"
)

const (
	// batchLooks is the pause between two looks at a batch that is watched.
	batchLooks = time.Second
	// lineEvery is how often progress is told where nobody sits at a terminal.
	lineEvery = 10 * time.Second
	barWidth  = 24
)

type batchStatusCommand struct {
	Service string `arg:"" optional:"" help:"Only batches of this service." predictor:"service"`
	Job     string `arg:"" optional:"" help:"One batch, with more about it."`
	Wait    bool   `help:"Show its progress until it ends." short:"w"`
}

func (batchStatusCommand) Help() string {
	return `States: running; waiting (the reason says what for); finished; cancelled; unreadable. SPEED is seconds of audio a second, LEFT how long
the rest will take at that speed.
Exit status with --wait: 0 every item transcribed; 1 some failed, or the batch was cancelled or cannot go on.

  understudy batch status fun-asr calls --wait`
}

func (c *batchStatusCommand) Run(g *Globals) error {
	switch {
	case c.Job == "" && c.Wait:
		return exit{ExitUsage, errors.New("--wait is about one batch: name it")}
	case c.Wait:
		return g.watchBatch(c.Service, c.Job)
	case c.Job != "":
		var b triggers.BatchDetail
		if err := g.get(batchesPath(c.Service, c.Job), &b); err != nil {
			return err
		}
		return g.print(b, func(w io.Writer) { showBatch(w, b) })
	}
	all, err := c.list(g)
	if err != nil {
		return err
	}
	return g.print(all, func(w io.Writer) {
		row(w, "SERVICE", "BATCH", "STATE", "ITEMS", "FAILED", "QUARANTINED", "AUDIO", "SPEED", "LEFT", "ON", "WHY")
		for _, b := range all {
			row(w, b.Service, b.Job, b.State, fmt.Sprintf("%d of %d", settled(b), b.Items), b.Failed, b.Quarantined,
				length(b.AudioSeconds)+" of "+length(b.TotalSeconds), speed(b.Speed), left(b), b.On, b.Reason)
		}
	})
}

// list is of one service, or of all that have a batch store.
func (c *batchStatusCommand) list(g *Globals) ([]triggers.Batch, error) {
	all := []triggers.Batch{}
	if c.Service != "" {
		return all, g.get(batchesPath(c.Service), &all)
	}
	var services []triggers.Service
	if err := g.get("/api/v1/services", &services); err != nil {
		return nil, err
	}
	for _, s := range services {
		var some []triggers.Batch
		if err := g.get(batchesPath(s.Service), &some); err != nil && !errors.Is(err, errNotFound) {
			return nil, fmt.Errorf("%s: %w", s.Service, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// watchBatch shows a batch until it ends, and makes how it ended the exit status.
func (g *Globals) watchBatch(service, job string) error {
	bar := newBar(g.err)
	defer bar.end()
	idle := 0
	for {
		var b triggers.BatchDetail
		err := g.get(batchesPath(service, job), &b)
		var wanted exit
		switch {
		case err == nil:
		case errors.As(err, &wanted) && wanted.code == ExitAway && g.ctx.Err() == nil:
			bar.note("Understudy does not answer; the batch is asked for again")
		default:
			return err
		}
		if err == nil {
			bar.show(b.Batch)
			if !b.Working {
				idle++ // between two looks it may be handed over
			} else {
				idle = 0
			}
			if over := b.State == string(jobs.Finished) || b.State == string(jobs.Cancelled); over || idle > 3 {
				bar.end()
				return g.ended(b)
			}
		}
		select {
		case <-g.ctx.Done():
			return exit{ExitWaiting, fmt.Errorf("it goes on; see understudy batch status %s %s", service, job)}
		case <-time.After(batchLooks):
		}
	}
}

// ended prints a batch that has ended.
func (g *Globals) ended(b triggers.BatchDetail) error {
	if err := g.print(b, func(w io.Writer) { showBatch(w, b) }); err != nil {
		return err
	}
	switch {
	case b.State == string(jobs.Finished) && b.Failed+b.Quarantined == 0:
		return nil
	case b.State == string(jobs.Finished):
		return exit{ExitFailed, fmt.Errorf("%d items failed, %d are quarantined; see understudy batch output %s %s --file failed", b.Failed, b.Quarantined, b.Service, b.Job)}
	default:
		return exit{ExitFailed, fmt.Errorf("it is %s: %s", b.State, b.Reason)}
	}
}

func showBatch(w io.Writer, b triggers.BatchDetail) {
	row(w, "batch", b.Job)
	row(w, "service", b.Service)
	row(w, "state", strings.TrimSuffix(b.State+": "+b.Reason, ": "))
	if b.Working {
		row(w, "worked on", fmt.Sprintf("%s, epoch %d, after %d moves", b.On, b.Epoch, b.Moves))
	} else if b.Holder != "" {
		row(w, "worked on last by", fmt.Sprintf("%s, epoch %d, at %s", b.Holder, b.Epoch, when(b.Moved)))
	}
	row(w, "items", fmt.Sprintf("%d of %d: %d succeeded, %d failed, %d quarantined", settled(b.Batch), b.Items, b.Succeeded, b.Failed, b.Quarantined))
	row(w, "audio", fmt.Sprintf("%s of %s; %s done again", length(b.AudioSeconds), length(b.TotalSeconds), length(b.RedoneSeconds)))
	if b.Speed > 0 {
		row(w, "speed", speed(b.Speed)+", "+left(b.Batch)+" left")
	}
	row(w, "made", strings.TrimSpace(when(b.Created)+" by "+b.CreatedBy))
	row(w, "lives in", b.Store)
	if b.Report != nil {
		for _, r := range b.Report.Revisions {
			row(w, "model "+r.Revision, fmt.Sprintf("%d items", r.Items))
		}
		for _, t := range b.Report.Torn {
			row(w, "torn", t)
		}
	}
	row(w, "in the Temporal UI", b.Link)
}

func settled(b triggers.Batch) int64 { return b.Succeeded + b.Failed + b.Quarantined }

// length is a length of audio, as people say it.
func length(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", seconds)
	}
	return d.Round(time.Second).String()
}

func speed(s float64) string {
	if s <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1fx", s)
}

func left(b triggers.Batch) string {
	if b.LeftSeconds <= 0 {
		return ""
	}
	return time.Duration(max(b.LeftSeconds, 1) * float64(time.Second)).Round(time.Second).String()
}

// bar tells how far a batch is: in one line that changes on a terminal, and else
// in a line now and then.
type bar struct {
	out  io.Writer
	live bool
	told time.Time
	last string
}

func newBar(out io.Writer) *bar { return &bar{out: out, live: isTerminal(out)} }

// show tells the state of a batch.
func (b *bar) show(s triggers.Batch) {
	share := 0.0
	if s.Items > 0 {
		share = float64(settled(s)) / float64(s.Items)
	}
	text := fmt.Sprintf("%d of %d items", settled(s), s.Items)
	if bad := s.Failed + s.Quarantined; bad > 0 {
		text += fmt.Sprintf(", %d failed, %d quarantined", s.Failed, s.Quarantined)
	}
	text += fmt.Sprintf(", %s of %s", length(s.AudioSeconds), length(s.TotalSeconds))
	if s.Speed > 0 && s.State == string(jobs.Running) {
		text += ", " + speed(s.Speed)
	}
	if l := left(s); l != "" {
		text += ", " + l + " left"
	}
	if s.State == string(jobs.Waiting) && s.Reason != "" {
		text += ", waits: " + oneLine(s.Reason)
	}
	if b.live {
		full := int(share*barWidth + 0.5)
		text = fmt.Sprintf("[%s%s] %3.0f %% %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*share, text)
	}
	b.note(text)
}

// note tells something else.
func (b *bar) note(text string) {
	switch {
	case b.live:
		fmt.Fprintf(b.out, "\r\033[K%.150s", text)
	case text != b.last && time.Since(b.told) >= lineEvery:
		b.told, b.last = time.Now(), text
		fmt.Fprintln(b.out, text)
	}
}

// end clears the line that changes.
func (b *bar) end() {
	if b.live {
		fmt.Fprint(b.out, "\r\033[K")
	}
}
