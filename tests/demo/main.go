// Demo plays one story with real parts: a speech service is in use, a batch of
// audio is being transcribed, its primary is killed, and Understudy brings it back
// on the hot standby; then that one is killed too, and Understudy makes a cold
// one, while people watch. The batch goes on each time. In the end the primary
// is mended and takes the service home, with all that was written meanwhile.
// Only Slack is a fake.
//
// With DEMO=vm another one is played: both servers die, and a real machine is
// made from an image, boots, and takes over.
//
// On a terminal everything stays up for a look around until Ctrl-C; in a pipe,
// or with DEMO=once (DEMO_ONCE=1), it ends by itself. Exit status: 0 where the service was
// recovered and verified each time, 1 where not, 130 where it was interrupted
// before. Everything that it started is gone when it ends.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// Whoever reads along in a pipe may leave: then, too, everything is put away. The signal itself says nothing, because
	// a connection to a server that dies brings it as well; without a channel for it the program would end at once.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	s := newShow(os.Stdout)
	ctx, s.alone = context.WithCancel(ctx)
	os.Exit(run(ctx, s))
}

func run(ctx context.Context, s *show) int {
	h, err := takeHome(homeDir)
	if err == nil {
		err = play(ctx, s, h.dir)
	}
	s.progress("")
	switch {
	case err == nil:
		h.remove()
		return 0
	case ctx.Err() != nil && !errors.Is(err, errStory):
		if h != nil {
			h.remove()
		}
		s.blank()
		s.text(normal, "Interrupted. Everything that was started is gone.")
		return exitInterrupted
	default:
		s.blank()
		s.text(bad, "%v", err)
		if h != nil && h.leave() {
			s.text(normal, "What was started is gone; logs and reports are kept in %s until the next demo.", homeDir)
		}
		return exitFailed
	}
}

// play is the demo from its first part to its last.
func play(ctx context.Context, s *show, dir string) error {
	if os.Getenv("DEMO") == machineStory {
		return playMachine(ctx, s, dir)
	}
	sc, err := readScript()
	if err != nil {
		return err
	}
	s.section("Understudy's demo: a speech service dies twice, comes back twice, and goes home")
	s.text(normal, "All of it is real: speech recognition, HAProxy, Prometheus, Alertmanager, Temporal, MinIO, s3fs, Litestream. Only Slack is a fake.")

	s.section("The stage")
	t := newTimeline(s)
	st, err := setStage(ctx, s, sc, dir, t.slack)
	if err != nil {
		return err
	}
	defer st.close()
	s.text(normal, "The console, where people watch and press buttons: %s/", st.scene.Understudy.URL)

	s.section("Good times")
	c, err := openDoors(ctx, s, st)
	if err != nil {
		return err
	}
	defer c.close()

	b, err := beginBatch(ctx, s, st, c.all().median)
	if err != nil {
		return err
	}

	played, err := playActs(ctx, s, st, t, c, b)
	if err != nil {
		return err
	}
	var way homecoming
	var done transcribed
	if played[len(played)-1].recovered() && len(played) == len(acts) {
		if way, err = bringHome(ctx, s, st, t, c, b, played[len(played)-1]); err != nil {
			return err
		}
		c.close()
		if done, err = finishBatch(ctx, s, st, b); err != nil {
			return err
		}
	}
	c.close()

	keeps := s.live && os.Getenv("DEMO") != "once" && os.Getenv("DEMO_ONCE") == ""
	end := showResults(ctx, s, st, results{played, way, c.all(), done}, keeps)
	if keeps {
		s.blank()
		s.text(normal, "Everything stays up for a look around. In the console, More → Drill makes a standby and removes it again before your eyes.")
		s.text(normal, "Or kill the primary yourself, and watch: kill -9 $(cat %s/at-home.primary)", homeDir)
		s.text(dim, "Ctrl-C ends it.")
		<-ctx.Done()
		s.blank()
		s.progress("putting everything away ...")
		st.close()
		s.progress("")
		s.text(dim, "Everything that was started is gone.")
	}
	return end
}
