package commands

import (
	"fmt"
	"runtime"

	"github.com/understudy-dr/understudy/worker/embedded"
)

type versionCommand struct{}

func (versionCommand) Run(g *Globals) error {
	_, err := fmt.Fprintf(g.out, "understudy %s, Temporal server %s, %s\n", version(), embedded.ServerVersion, runtime.Version())
	return err
}
