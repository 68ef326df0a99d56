package holds_test

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/holds"
)

func TestProcess(t *testing.T) {
	self, err := holds.ProcessOf(os.Getpid())
	if err != nil || !self.Alive() {
		t.Fatalf("%+v, %v: this process does not live", self, err)
	}
	var sleepers []holds.Process
	for range 2 {
		command := exec.Command("sleep", "600")
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = command.Process.Kill(); _ = command.Wait() }()
		p, err := holds.ProcessOf(command.Process.Pid)
		if err != nil || !p.Alive() {
			t.Fatalf("%+v, %v", p, err)
		}
		sleepers = append(sleepers, p)
	}
	for what, other := range map[string]holds.Process{
		"another start":                {ID: sleepers[0].ID, Started: self.Started + "0", Boot: self.Boot},
		"another start of the machine": {ID: sleepers[0].ID, Started: sleepers[0].Started, Boot: "another"},
		"none":                         {},
	} {
		if other.Kill(); other.Alive() {
			t.Errorf("%s lives", what)
		}
	}
	if !sleepers[0].Alive() {
		t.Fatal("somebody else's process was killed")
	}
	sleepers[0].Kill()
	for sleepers[0].Alive() { // until the kernel has ended it; it is not buried yet
		time.Sleep(time.Millisecond)
	}
	if !sleepers[1].Alive() {
		t.Error("the other process was killed too")
	}
	if p, err := holds.ProcessOf(sleepers[0].ID); err == nil {
		t.Errorf("a dead process is %+v", p)
	}
}
