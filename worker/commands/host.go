package commands

import (
	"errors"
	"fmt"
	"strings"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/worker"
)

type hostCommand struct {
	Runbook   string   `arg:"" help:"The runbook of the service that runs on this host." type:"existingfile"`
	Stop      string   `help:"Command that stops the service and its Litestream, and returns when both are gone. No shell is involved." placeholder:"COMMAND"`
	Start     string   `help:"Command that starts both again." placeholder:"COMMAND"`
	InPlace   bool     `help:"The data here follows the active by itself, as that of a hot standby does: a take-over only replicates it below the new epoch. --stop and --start may then be missing."`
	State     string   `help:"Directory that remembers what was taken over." default:"/var/lib/understudy-host" type:"path" placeholder:"DIR"`
	Path      []string `help:"Where the data is on this host, where it is not where the runbook says; once for each piece." type:"path" placeholder:"PATH"`
	Tier      string   `help:"Whose host it is: primary, or a tier that runs already." default:"primary" placeholder:"NAME"`
	Listen    string   `help:"Where it answers, as host:port. Understudy must reach it, nobody else has to." default:"127.0.0.1:8403" placeholder:"ADDRESS"`
	TokenFile string   `help:"File with the token that orders must bear." type:"existingfile" placeholder:"FILE" xor:"token"`
	TokenEnv  string   `help:"Environment variable with that token." placeholder:"NAME" xor:"token"`
	CertFile  string   `help:"Certificate, to speak TLS." type:"existingfile" placeholder:"FILE"`
	KeyFile   string   `help:"Its key." type:"existingfile" placeholder:"FILE"`
}

func (hostCommand) Help() string {
	return `After a recovery the newest data is on the standby. A failback brings it home: it asks this program, which runs beside the service
on the primary's host. It restores the data beside the old and proves it, stops the service, keeps the old data aside with a list of
what was never replicated, and starts the service on the new data, below the prefix of the new epoch. What fails is taken back.

  understudy host fun-asr.yaml --stop "systemctl stop fun-asr litestream" --start "systemctl start litestream fun-asr" --token-file host.token

The runbook tells Understudy to ask it:

  primary:
    activate:
      url: http://192.168.1.10:8403/take-over?from={from}&epoch={epoch}
      undo: http://192.168.1.10:8403/give-back?epoch={epoch}
      token: {file: /etc/understudy/host.token}

The units find where to replicate to in STATE/SERVICE.env (EnvironmentFile=): UNDERSTUDY_REPLICA_0 and so on. Data of kind files this
program replicates itself. S3 is that of the site file (--config).`
}

func (c *hostCommand) Run(g *Globals) error {
	site, err := g.site()
	if err != nil {
		return err
	}
	library, problems := runbooks.LoadLibrary(c.Runbook)
	if err := problems.Err(); err != nil {
		return exit{ExitProblem, err}
	}
	services := library.Services()
	if len(services) != 1 {
		return exit{ExitUsage, fmt.Errorf("%s holds %d runbooks; name the file of one service", c.Runbook, len(services))}
	}
	runbook, _ := library.Lookup(services[0])
	if (c.CertFile == "") != (c.KeyFile == "") {
		return exit{ExitUsage, errors.New("TLS needs both: --cert-file and --key-file")}
	}
	stop, start := strings.Fields(c.Stop), strings.Fields(c.Start)
	if !c.InPlace && (len(stop) == 0 || len(start) == 0) {
		return exit{ExitUsage, errors.New("name the commands that stop and start the service (--stop, --start): its data is replaced; or say --in-place where it follows by itself")}
	}
	return worker.Host(g.ctx, worker.HostConfig{
		Listen: c.Listen, Token: runbooks.Secret{File: c.TokenFile, Env: c.TokenEnv}, CertFile: c.CertFile, KeyFile: c.KeyFile,
		Runbook: runbook, Tier: c.Tier, Paths: c.Path, S3: site.S3, InPlace: c.InPlace, Stop: stop, Start: start, State: c.State, Log: g.log(),
		Ready: func(address string) { fmt.Fprintln(g.out, "the host answers on", address) },
	})
}
