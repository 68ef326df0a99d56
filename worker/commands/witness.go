package commands

import (
	"errors"
	"fmt"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/worker"
)

type witnessCommand struct {
	Listen   string   `help:"Where it answers, as host:port. Understudy must reach it, nobody else has to." default:"127.0.0.1:8401" placeholder:"ADDRESS"`
	KeyFile  string   `help:"File with the key that it shares with Understudy." type:"existingfile" placeholder:"FILE" xor:"key"`
	KeyEnv   string   `help:"Environment variable with that key." placeholder:"NAME" xor:"key"`
	Runbooks []string `help:"Runbook files or directories: what they name may be looked at." type:"path" placeholder:"PATH"`
	Allow    []string `help:"Base URLs that may be looked at, where there are no runbooks here." placeholder:"URL"`
}

func (witnessCommand) Help() string {
	return `From one place a dead service and a dead network look the same. A witness is this program on another machine: asked by
Understudy, it looks at a service from there and says what it sees. It holds no state and changes nothing.

Make a key with "openssl rand -hex 32", give it to both sides, and name the witness in Understudy's site file:

  witnesses:
    - {name: office, url: http://10.0.0.7:8401, key: {file: /etc/understudy/office.key}, site: office}`
}

func (c *witnessCommand) Run(g *Globals) error {
	key := runbooks.Secret{File: c.KeyFile, Env: c.KeyEnv}
	if key.IsZero() {
		return exit{ExitUsage, errors.New("a witness needs its key: --key-file or --key-env")}
	}
	return worker.Witness(g.ctx, worker.WitnessConfig{
		Listen: c.Listen, Key: key, Runbooks: c.Runbooks, URLs: c.Allow, Log: g.log(),
		Ready: func(address string) { fmt.Fprintln(g.out, "the witness answers on", address) },
	})
}
