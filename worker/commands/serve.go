package commands

import (
	"github.com/understudy-dr/understudy/worker"
)

// runFlags are those of the commands that run.
type runFlags struct {
	Runbooks []string `help:"Runbook files or directories, besides those of the site file." type:"path" placeholder:"PATH"`
	DataDir  string   `help:"Where the engine's file, reports and last known values are kept." type:"path" placeholder:"DIR"`
}

func (f runFlags) config(g *Globals) (worker.Config, error) {
	site, err := g.site()
	if err != nil {
		return worker.Config{}, err
	}
	if f.DataDir != "" {
		site.DataDir = f.DataDir
	}
	return worker.Config{Site: site, Runbooks: f.Runbooks, Log: g.log(), Version: version()}, nil
}

type serveCommand struct {
	runFlags
}

func (serveCommand) Help() string {
	return `Understudy listens for Alertmanager's webhooks on http://127.0.0.1:8400/api/v1/alerts, and shows recoveries in the
Temporal UI on http://127.0.0.1:8233. Addresses are set in the site file (listen:).

Without more it runs its own Temporal server on a file in the data directory. To use a cluster, set Temporal's standard
variables: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_..., or TEMPORAL_PROFILE.

Runbooks are read again on SIGHUP. Ctrl-C stops it; recoveries that run go on with the next start.`
}

func (c *serveCommand) Run(g *Globals) error {
	config, err := c.config(g)
	if err != nil {
		return err
	}
	return worker.Serve(g.ctx, config)
}

type workerCommand struct {
	runFlags
}

func (workerCommand) Help() string {
	return `It needs a cluster, named by Temporal's standard variables (TEMPORAL_ADDRESS or TEMPORAL_PROFILE), the same site file and
runbooks as serve, and the same way to load balancers and standbys.`
}

func (c *workerCommand) Run(g *Globals) error {
	config, err := c.config(g)
	if err != nil {
		return err
	}
	return worker.Work(g.ctx, config)
}
