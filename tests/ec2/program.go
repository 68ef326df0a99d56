package ec2

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
)

// offPatience is how long a program has to end by itself when its instance is turned off.
const offPatience = 5 * time.Second

// console is how much of a program's output is kept for its console, in bytes: as much as EC2 keeps.
const console = 64 << 10

// Program is a launch hook that starts a real program for each instance. In its
// arguments {address} stands for the instance's address, {id} for its id. Its
// output is the console, and is kept in dir.
func Program(dir, path string, args ...string) func(Boot) (Machine, error) {
	return func(b Boot) (Machine, error) {
		marks := strings.NewReplacer("{address}", b.Address, "{id}", b.ID)
		spec := harness.Spec{Name: b.ID, Path: path, Dir: dir, Env: []string{"EC2_INSTANCE=" + b.ID, "EC2_ADDRESS=" + b.Address}}
		for _, arg := range args {
			spec.Args = append(spec.Args, marks.Replace(arg))
		}
		p, err := harness.Start(context.Background(), spec)
		if err != nil {
			return Machine{}, fmt.Errorf("launch %s: %w", filepath.Base(path), err)
		}
		return Machine{Stop: func() { p.Stop(offPatience) }, Console: func() string { return p.Tail(console) }, Ended: p.Done()}, nil
	}
}
