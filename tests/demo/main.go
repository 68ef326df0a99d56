// Demo plays one story with real parts: a speech service is in use, its primary
// is killed, and Understudy brings it back on the hot standby while people
// watch. Only Slack is a fake.
//
// On a terminal everything stays up for a look around until Ctrl-C; in a pipe,
// or with DEMO=once, it ends by itself. Exit status: 0 where the service was
// recovered and verified, 1 where not, 130 where it was interrupted before.
// Everything that it started is gone when it ends.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/understudy-dr/understudy/workflows"
)

const (
	exitFailed      = 1
	exitInterrupted = 130
)

var (
	// errStory means that the story did not end as it should.
	errStory = errors.New("this is not how the story should end")
	// errQuiet means that nothing has happened for too long.
	errQuiet = errors.New("nothing more has happened")
)

func main() {
	// Whoever reads along in a pipe may leave (SIGPIPE): then, too, everything is put away.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	os.Exit(run(ctx, newShow(os.Stdout)))
}

func run(ctx context.Context, s *show) int {
	dir, err := makeDir()
	if err == nil {
		err = play(ctx, s, dir)
	}
	s.progress("")
	switch {
	case err == nil:
		_ = os.RemoveAll(dir)
		return 0
	case ctx.Err() != nil && !errors.Is(err, errStory):
		_ = os.RemoveAll(dir)
		s.blank()
		s.text(normal, "Interrupted. Everything that was started is gone.")
		return exitInterrupted
	default:
		s.blank()
		s.text(bad, "%v", err)
		if dir != "" && os.Remove(dir) != nil { // an empty one is of no use
			s.text(normal, "What was started is gone; logs and reports are kept in %s", dir)
		}
		return exitFailed
	}
}

// play is the story.
func play(ctx context.Context, s *show, dir string) error {
	sc, err := readScript()
	if err != nil {
		return err
	}
	s.section("Understudy's demo: a speech service dies, and comes back")
	s.text(normal, "All of it is real: speech recognition, HAProxy, Prometheus, Alertmanager, Temporal. Only Slack is a fake.")

	s.section("The stage")
	t := newTimeline(s)
	st, err := setStage(ctx, s, sc, dir, t.slack)
	if err != nil {
		return err
	}
	defer st.close()

	s.section("Good times")
	c, err := openDoors(ctx, s, st)
	if err != nil {
		return err
	}
	defer c.close()

	s.section("The primary dies")
	recovery, err := tragedy(ctx, s, st, t, c)
	if err != nil {
		return err
	}
	c.close()

	s.section("What people saw in Slack")
	if err := showSlack(ctx, s, st, recovery.Report); err != nil {
		return err
	}
	keeps := s.live && os.Getenv("DEMO") != "once"
	showLinks(s, st, recovery, keeps)
	showClients(s, c.tally(), t.zero)
	showTimes(s, recovery.Report, t.zero)
	showOutcome(s, recovery, c.tally())
	end := verdict(ctx, st, recovery.Report)
	if keeps {
		s.blank()
		s.text(dim, "Everything stays up for a look around. Ctrl-C ends it.")
		<-ctx.Done()
		s.blank()
		s.progress("putting everything away ...")
		st.close()
		s.progress("")
		s.text(dim, "Everything that was started is gone.")
	}
	return end
}

// verdict is nil where the story ended as it should.
func verdict(ctx context.Context, st *stage, r workflows.Report) error {
	all, err := recoveries(ctx, st.scene.Understudy)
	switch {
	case err != nil:
		return err
	case r.Outcome != workflows.OutcomeRecovered || r.Verified.IsZero():
		return fmt.Errorf("%w: the service was not recovered: %s", errStory, r.Reason)
	case len(all) != 1:
		return fmt.Errorf("%w: one outage led to %d recoveries", errStory, len(all))
	default:
		return nil
	}
}
