package keyed

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/volumes"
)

// A process that Understudy could not write down must never become the program.
func TestWithoutTheWordNothingBegins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "begun")
	for word, begins := range map[string]bool{"": false, "g": false, "go\n": true} {
		command := exec.Command(shell, "-c", wait, "touch", file)
		in, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		in.Close() // as the kernel does for a process that is killed
		_ = command.Wait()
		if _, err := os.Stat(file); (err == nil) != begins {
			t.Errorf("after the word %q: %v", word, err)
		}
		os.Remove(file)
	}
}

func TestAStartedProgramIsFoundAgainAndFreed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "path")
	l, err := holds.New(filepath.Join(dir, "state")).Take(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Keep(holds.Hold{Path: path, Key: "key"}); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	command := exec.Command("sleep", "600")
	ended, err := Start(l, command, log)
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	if l, err = holds.New(filepath.Join(dir, "state")).Take(t.Context(), path); err != nil || !l.Hold.Process.Alive() {
		t.Fatalf("%+v, %v", l.Hold, err)
	}
	for range 2 {
		if err := Free(t.Context(), l); err != nil || l.Hold.Process.Alive() {
			t.Errorf("%v; it lives: %v", err, l.Hold.Process.Alive())
		}
	}
	<-ended
}

func TestProgressEndsWithItsCaller(t *testing.T) {
	if told, quiet := until(nil); told != nil {
		t.Error("nobody is told something")
	} else {
		quiet()
	}
	count := 0
	told, quiet := until(func(volumes.Progress) { count++ })
	told(volumes.Progress{})
	quiet()
	told(volumes.Progress{})
	if count != 1 {
		t.Errorf("told %d times, want once", count)
	}
}

func TestExplainKeepsWhatItKnows(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if err := Explain(ctx, "x", nil); err != nil {
		t.Error(err)
	}
	for _, known := range []error{volumes.ErrWrong, volumes.ErrRefused, volumes.ErrUnavailable} {
		if err := Explain(ctx, "x", known); err != known {
			t.Errorf("%v became %v", known, err)
		}
	}
}
