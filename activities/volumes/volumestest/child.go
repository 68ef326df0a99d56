package volumestest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

// childVariable holds the task of a process that the suite starts in order to kill it.
const childVariable = "UNDERSTUDY_VOLUMESTEST_CHILD"

type task struct {
	Sites  map[string]runbooks.S3
	State  string
	Key    string
	Volume runbooks.Volume
	Middle bool
}

// Main runs the tests of a package, or, in a process that the suite started,
// mounts and dies.
func Main(m *testing.M, traits Traits) {
	text := os.Getenv(childVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var do task
	if err := json.Unmarshal([]byte(text), &do); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	die := func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	mounter := traits.New(Config{Clients: s3client.New(do.Sites), State: do.State})
	_, err := mounter.Mount(context.Background(), do.Key, do.Volume, func(volumes.Progress) {
		if do.Middle {
			die()
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	die()
}

func (s *scene) dieAfter(key string, v runbooks.Volume) { s.die(task{Key: key, Volume: v}) }

func (s *scene) dieInTheMiddle(key string, v runbooks.Volume) {
	s.die(task{Key: key, Volume: v, Middle: true})
}

// die starts a process with a task, and makes sure that it was killed in it.
func (s *scene) die(do task) {
	s.t.Helper()
	do.Sites, do.State = s.sites(s.site), s.state
	text, err := json.Marshal(do)
	if err != nil {
		s.t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+string(text))
	out, err := child.CombinedOutput()
	if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		s.t.Fatalf("the process that was to die ended with %v: %s", err, out)
	}
}
