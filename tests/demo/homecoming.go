package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// mend starts the primary's host again: primary and hot standby with the history
// as it was when they died, and beside them the program that takes the newer one home.
func (st *stage) mend(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	st.killed = append(st.killed, st.scene.Litestream.Spec.Name) // that of before went with its host
	return st.scene.Mend(ctx, "")
}

// homecoming is the way home as it went.
type homecoming struct {
	played
	// away is what became of the history when the standby took over, home when it came back.
	away, home moved
}

// home reports whether the service came back to its primary, with everything that was written.
func (h homecoming) well() bool {
	return h.recovery.Report.Outcome == workflows.OutcomeHome && h.home.lost == 0
}

// bringHome mends the primary and takes the planned way home.
func bringHome(ctx context.Context, s *show, st *stage, t *timeline, c *clients, b *batch, away played) (h homecoming, err error) {
	if err := interlude(ctx, s, st, c, b, away.tier); err != nil {
		return h, err
	}
	if h.away, err = compareHistories(ctx, st.scene.History, st.coldHistory(), away.kill); err != nil {
		return h, err
	}
	s.section("The way home")
	s.progress("mending the primary's host ...")
	if err := st.mend(ctx); err != nil {
		return h, err
	}
	s.progress("")
	s.text(normal, "The primary's host is mended: it and the hot standby run again, with the history as it was when they died.")
	s.text(normal, "Beside them runs `understudy host`, which takes the newer history home. Somebody asks for it:")
	s.text(dim, "understudy failback %s --reason \"the host is mended\"", service)
	earlier, err := recoveries(ctx, st.scene.Understudy)
	if err != nil {
		return h, err
	}
	asked := time.Now()
	t.begin(asked)
	if out, err := st.scene.Understudy.Command(ctx, "failback", service, "--user", "ann", "--reason", "the host is mended"); err != nil {
		return h, fmt.Errorf("%w: %s", err, strings.TrimSpace(out))
	}
	h.played, err = follow(ctx, s, st, t, c, b, act{title: "The way home", victim: away.tier, tier: runbooks.PrimaryName}, asked, earlier)
	if err != nil || h.recovery.Report.Outcome != workflows.OutcomeHome {
		return h, err
	}
	kept, err := filepath.Glob(st.coldHistory() + ".kept-*Z")
	if err != nil || len(kept) != 1 {
		return h, fmt.Errorf("%w: the cold standby's history should be kept once, and is kept as %q (%v)", errStory, kept, err)
	}
	h.home, err = compareHistories(ctx, kept[0], st.scene.History, asked)
	return h, err
}

// coldHistory is where the cold standby has its history.
func (st *stage) coldHistory() string { return st.runbook.DataOf(runbooks.TierCold)[0].Path }

func compareHistories(ctx context.Context, from, to string, at time.Time) (moved, error) {
	before, err := readRows(ctx, from)
	if err != nil {
		return moved{}, err
	}
	after, err := readRows(ctx, to)
	return compare(before, after, at), err
}

// showHistory shows that what was written is there again, each time that it moved.
func (h homecoming) showHistory(s *show, st *stage, away played) error {
	s.section("What became of the history")
	count := func(style style, n int, text string) { s.row(cell{fmt.Sprintf("%6d", n), 8, style}, cell{text: text}) }
	m := h.away
	count(bold, m.written, "transcriptions were written before "+away.name()+" was killed")
	count(normal, m.written-m.lost, "of them were on the "+away.tier+" standby, restored by Litestream")
	if m.lost == 0 {
		count(good, 0, "lost")
	} else {
		count(bad, m.lost, fmt.Sprintf("had not been replicated yet; the oldest was written %.2f s before the kill. They are kept beside the history", m.oldest.Seconds()))
	}
	if objective := objectivesOf(st.runbook, away.tier).RPO.D(); m.lost > 0 && m.oldest > objective {
		return fmt.Errorf("%w: a transcription that was written %s before the kill is lost, and the objective is %s", errStory, m.oldest, objective)
	}
	if h.recovery.Report.Outcome != workflows.OutcomeHome {
		return nil
	}
	m = h.home
	count(bold, m.written, "were on the "+away.tier+" standby in the end, written below the prefix of its own epoch")
	count(normal, m.written-m.lost, "of them came home")
	if m.lost > 0 {
		count(bad, m.lost, "lost")
		return fmt.Errorf("%w: %d transcriptions did not come home", errStory, m.lost)
	}
	count(good, 0, "lost")
	return nil
}

// outcome is the way home in one line, also for programs that read it.
func (h homecoming) outcome(s *show, t tally) {
	style := good
	if !h.well() {
		style = bad
	}
	r := h.recovery.Report
	s.line(style, "Outcome=%s Tier=%s pause=%.2fs rows=%d/%d failed=%d/%d recovery=%s",
		strings.ReplaceAll(r.Outcome, " ", "-"), r.Active, pause(r).Seconds(), h.home.written-h.home.lost, h.home.written, len(t.failed), t.asked, h.recovery.ID)
}

// pause is how long nobody had the traffic on the way home, as it announces itself.
func pause(r workflows.Report) time.Duration {
	var off, on time.Time
	for _, rec := range r.Timeline {
		switch {
		case rec.Step == runbooks.StepQuiesce && rec.State == workflows.Done:
			off = rec.Ended
		case rec.Step == runbooks.StepCutOver && rec.State == workflows.Done:
			on = rec.Ended
		}
	}
	if off.IsZero() || on.IsZero() {
		return 0
	}
	return on.Sub(off)
}
