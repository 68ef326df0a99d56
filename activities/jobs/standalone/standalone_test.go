package standalone_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/standalone"
	"github.com/understudy-dr/understudy/tests/harness"
)

// Real audio, a real recognizer, real processes that are killed and stopped: the
// output is that of an undisturbed run, and only what was in flight is done again.
func TestWhatHappensToRunners(t *testing.T) {
	s := newScene(t, harness.SiteOptions{})
	start(t, s.order("undisturbed")).ends(standalone.Done)
	want, report := s.output("undisturbed")
	if !report.Clean() || report.Succeeded != int64(s.items) || report.RedoneSeconds != 0 || report.AudioSeconds != report.Manifest.Seconds {
		t.Fatalf("%+v", report)
	}
	for i, text := range []string{"one two three", "four five six"} {
		if line := fmt.Sprintf(`"speaker": "rms", "pred_text": "%s"}`, text); !strings.Contains(want, line) {
			t.Errorf("line %d: %s is not in\n%s", i, line, want)
		}
	}
	if long := `"pred_text": "one two three four five six seven eight nine one two three four five six seven eight nine one two three four five six seven eight nine"`; !strings.Contains(want, long) {
		t.Errorf("%s is not in\n%s", long, want)
	}
	requests := s.inferences()
	same := func(t *testing.T, id string) jobs.Report {
		t.Helper()
		got, report := s.output(id)
		if got != want {
			t.Errorf("the output is\n%s\nwant\n%s", got, want)
		}
		if most := 2 * s.length; report.RedoneSeconds > most {
			t.Errorf("%v s were redone, with 2 lanes of %v s", report.RedoneSeconds, s.length)
		}
		return report
	}

	t.Run("the runner is killed", func(t *testing.T) {
		p := start(t, s.order("killed"))
		p.until(3)
		p.signal(syscall.SIGKILL)
		p.cmd.Wait()
		before := s.inferences()
		again := s.order("killed")
		again.Text = "" // the manifest is where the job is
		start(t, again).ends(standalone.Done)
		report := same(t, "killed")
		// Three were done; those in flight are done again, and may end at the server after they were counted.
		if redone := s.inferences() - before; redone >= requests || report.RedoneSeconds == 0 {
			t.Errorf("%d of %d requests after the kill, %v s redone", redone, requests, report.RedoneSeconds)
		}
	})
	t.Run("it is interrupted", func(t *testing.T) {
		before := s.inferences()
		p := start(t, s.order("interrupted"))
		p.until(2)
		p.signal(syscall.SIGINT)
		if said := p.ends(standalone.Interrupted); !strings.Contains(said, "goes on where it was") {
			t.Error(said)
		}
		start(t, s.order("interrupted")).ends(standalone.Done)
		if report := same(t, "interrupted"); report.RedoneSeconds != 0 || s.inferences()-before != requests {
			t.Errorf("%d requests, %v s redone", s.inferences()-before, report.RedoneSeconds)
		}
		start(t, s.order("interrupted")).ends(standalone.Done) // it is finished, and stays so
	})
	t.Run("it is stopped, and wakes when another one has gone on", func(t *testing.T) {
		p := start(t, s.order("stopped"))
		p.until(3)
		p.signal(syscall.SIGSTOP)
		other := s.order("stopped")
		other.Holder = "gpu-b"
		start(t, other).ends(standalone.Held) // of the same epoch it must wait
		other.Claim.Epoch = 2
		start(t, other).ends(standalone.Done)
		before, _ := s.output("stopped")
		p.signal(syscall.SIGCONT)
		if said := p.ends(standalone.Held); !strings.Contains(said, "run by gpu-b at epoch 2") || !strings.Contains(said, "changes nothing more") {
			t.Error(said)
		}
		if after, _ := s.output("stopped"); after != before {
			t.Error("the output changed")
		}
		same(t, "stopped")
	})
	t.Run("the server is killed", func(t *testing.T) {
		p := start(t, s.order("server-killed"))
		p.until(3)
		s.site.Kill()
		s.restartSite()
		p.ends(standalone.Done)
		same(t, "server-killed")
	})
	t.Run("the server stays away", func(t *testing.T) {
		o := s.order("server-away")
		o.Seconds = 0.2
		p := start(t, o)
		p.until(3)
		s.site.Kill()
		if said := p.ends(standalone.Away); !strings.Contains(said, "away") {
			t.Error(said)
		}
		s.restartSite()
		start(t, s.order("server-away")).ends(standalone.Done)
		same(t, "server-away")
	})
	t.Run("the store is killed", func(t *testing.T) {
		p := start(t, s.order("store-killed"))
		p.until(3)
		s.store.Kill()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := s.store.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		p.ends(standalone.Done)
		same(t, "store-killed")
	})
	t.Run("another model", func(t *testing.T) {
		p := start(t, s.order("model"))
		p.until(3)
		p.signal(syscall.SIGINT)
		p.ends(standalone.Interrupted)
		other := newSite(t, harness.SiteOptions{Version: "2511.0"})
		o := s.order("model")
		o.URL = other.URL
		if said := start(t, o).ends(standalone.Mismatch); !strings.Contains(said, "began with 2512.1, the active runs 2511.0") {
			t.Error(said)
		}
		start(t, s.order("model")).ends(standalone.Done)
		same(t, "model")
	})
	t.Run("orders that are none", func(t *testing.T) {
		o := s.order("bad")
		o.Text = `{"audio_filepath": "../a.wav"}` + "\n" + `{"audio_filepath": "b.wav", "duration": 0}`
		said := start(t, o).ends(standalone.Invalid)
		for _, want := range []string{"line 1: audio_filepath: it climbs", "line 1: duration: missing", "line 2: duration: 0 s"} {
			if !strings.Contains(said, want) {
				t.Errorf("%q is not in %s", want, said)
			}
		}
		o = s.order("absent")
		o.Text = ""
		start(t, o).ends(standalone.Invalid)
		o = s.order("undisturbed")
		o.Text = strings.Replace(o.Text, "rms", "slt", 1)
		start(t, o).ends(standalone.Invalid)
		if err := s.ledger().Cancel(t.Context(), "bad", "nobody wants it"); err == nil {
			t.Error("it was created")
		}
	})
}

// An item that kills the server each time is quarantined; the rest is done.
func TestPoisonedItem(t *testing.T) {
	s := newScene(t, harness.SiteOptions{Args: []string{"--fault", `{"mode":"crash-mid","file":"4-"}`}})
	over := make(chan struct{})
	restarted := make(chan int)
	go func() { // the supervisor of the server
		n := 0
		for {
			select {
			case <-s.site.Done():
				n++
				s.restartSite()
			case <-over:
				restarted <- n
				return
			}
		}
	}()
	p := start(t, s.order("poisoned"))
	p.ends(standalone.Flawed)
	close(over)
	deaths := <-restarted
	output, report := s.output("poisoned")
	if report.Quarantined != 1 || report.Failed != 0 || report.Succeeded != int64(s.items-1) || deaths != 3 {
		t.Errorf("%d deaths, %+v", deaths, report)
	}
	if strings.Contains(output, "4-语音") || strings.Count(output, "\n") != s.items-1 {
		t.Errorf("output\n%s", output)
	}
}
