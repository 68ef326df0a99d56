// Package commands is the command line: one file per command.
//
// Commands that ask a running Understudy use its API (--server); those that
// read files need nothing that runs.
package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/understudy-dr/understudy/runbooks"
)

// Exit codes, for scripts.
const (
	ExitOK      = 0
	ExitFailed  = 1 // the command did what it could, and the answer is bad
	ExitUsage   = 2 // the command was called wrongly
	ExitAway    = 3 // no Understudy answers
	ExitProblem = 4 // a file has mistakes
)

// Globals are the flags of every command.
type Globals struct {
	Config  string `help:"Site file (understudy.yaml). Without it the defaults hold." type:"path" env:"UNDERSTUDY_CONFIG" placeholder:"FILE"`
	Server  string `help:"Address of a running Understudy." default:"http://127.0.0.1:8400" env:"UNDERSTUDY_SERVER" placeholder:"URL"`
	Output  string `help:"How answers are printed: table or json." enum:"table,json" default:"table" short:"o"`
	LogJSON bool   `help:"Write the log as JSON lines." name:"log-json"`
	Debug   bool   `help:"Write more to the log."`

	out io.Writer
	ctx context.Context
}

// CLI is every command.
type CLI struct {
	Globals

	Serve    serveCommand    `cmd:"" help:"Run Understudy: triggers, API, worker and, unless a Temporal cluster is named, the engine."`
	Worker   workerCommand   `cmd:"" help:"Run only a worker, beside a Temporal cluster."`
	Validate validateCommand `cmd:"" help:"Check runbooks and site file: what is wrong, where, and what is allowed."`
	Schema   schemaCommand   `cmd:"" help:"Print the JSON Schema of runbooks, for editors."`
	Plan     planCommand     `cmd:"" help:"Show what a recovery of a service would do now, step by step."`
	Status   statusCommand   `cmd:"" help:"Show where each service runs and what its guard does."`
	History  historyCommand  `cmd:"" help:"Show past recoveries, or one of them in full."`
	Why      whyCommand      `cmd:"" help:"Show a guard's latest decisions with their reasons, also those to do nothing."`
	Version  versionCommand  `cmd:"" help:"Print the versions of this program and of its engine."`
}

// exit is an error with the exit code that it asks for.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string { return e.err.Error() }
func (e exit) Unwrap() error { return e.err }

// Run parses the arguments, runs the command, and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cli := &CLI{}
	cli.out, cli.ctx = stdout, ctx
	code := -1
	parser, err := kong.New(cli,
		kong.Name("understudy"),
		kong.Description("Brings self-hosted speech services back: event-driven disaster recovery on Temporal."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(c int) { code = c }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "understudy:", err)
		return ExitUsage
	}
	parsed, err := parser.Parse(args)
	if code >= 0 {
		return code // help was asked for and given
	}
	if err != nil {
		fmt.Fprintln(stderr, "understudy:", err, "(see understudy --help)")
		return ExitUsage
	}
	err = parsed.Run(&cli.Globals)
	var wanted exit
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &wanted):
		if wanted.err.Error() != "" {
			fmt.Fprintln(stderr, "understudy:", wanted.err)
		}
		return wanted.code
	default:
		fmt.Fprintln(stderr, "understudy:", err)
		return ExitFailed
	}
}

// site reads the site file.
func (g *Globals) site() (runbooks.Site, error) {
	site, problems := runbooks.LoadSite(g.Config)
	if err := problems.Err(); err != nil {
		return site, exit{ExitProblem, fmt.Errorf("the site file cannot be used:\n%w", err)}
	}
	return site, nil
}

// log writes for people on a terminal, and JSON where a program reads.
func (g *Globals) log() *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if g.Debug {
		options.Level = slog.LevelDebug
	}
	if g.LogJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// Version of this program, set by the build; else that of the module.
var Version = ""

func version() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
