package mountpoint_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/mountpoint"
	"github.com/understudy-dr/understudy/activities/volumes/volumestest"
)

var traits = volumestest.Traits{How: "mount-s3", New: func(c volumestest.Config) volumes.Provider {
	return mountpoint.New(mountpoint.Config{Clients: c.Clients, State: c.State, Program: program()})
}}

// program is mount-s3 where it is installed, else a stand-in that takes nothing but what its documentation describes.
func program() string {
	if path, err := exec.LookPath("mount-s3"); err == nil {
		return path
	}
	path, err := filepath.Abs("testdata/mount-s3")
	if err != nil {
		panic(err)
	}
	return path
}

func TestMain(m *testing.M) { volumestest.Main(m, traits) }

func TestMounter(t *testing.T) {
	if _, err := exec.LookPath("s3fs"); err != nil {
		t.Skip("missing: s3fs; apt-get install s3fs")
	}
	volumestest.Run(t, traits)
}
