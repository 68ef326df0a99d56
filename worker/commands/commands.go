// Package commands is the command line: one file per command.
//
// Commands that ask a running Understudy use its API (--server); those that
// read files need nothing that runs.
package commands

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
	"golang.org/x/term"

	"github.com/understudy-dr/understudy/runbooks"
)

// Exit codes, for scripts.
const (
	ExitOK      = 0
	ExitFailed  = 1 // the command did what it could, and the answer is bad
	ExitUsage   = 2 // the command was called wrongly
	ExitAway    = 3 // no Understudy answers
	ExitProblem = 4 // a file has mistakes
	ExitDenied  = 5 // the login is wrong, or its role is not enough
	ExitRefused = 6 // it does not fit what goes on now; nothing was changed
	ExitWaiting = 7 // the recovery still runs
)

const description = `Brings self-hosted speech services back: event-driven disaster recovery on Temporal.

At three in the morning: "understudy status" shows what runs where, "understudy plan SERVICE" what a recovery would do, and "understudy recover SERVICE --wait" does it and shows how far it is.

Exit status: 0 done; 1 done, and the answer is bad; 2 called wrongly; 3 no Understudy answers; 4 a file has mistakes; 5 login or role not enough; 6 it does not fit what goes on now, nothing was changed; 7 the recovery still runs.`

// Globals are the flags of every command.
type Globals struct {
	Config       string `help:"Site file (understudy.yaml). Without it the defaults hold." type:"path" env:"UNDERSTUDY_CONFIG" placeholder:"FILE"`
	Server       string `help:"Address of a running Understudy." default:"http://127.0.0.1:8400" env:"UNDERSTUDY_SERVER" placeholder:"URL"`
	User         string `help:"Who you are: the user name to log in with. Where nobody logs in, the name under which your decisions are kept (default: your user name here)." env:"UNDERSTUDY_USER" placeholder:"NAME"`
	PasswordFile string `help:"File with the password to log in with. Without it a terminal is asked." type:"path" env:"UNDERSTUDY_PASSWORD_FILE" placeholder:"FILE"`
	CAFile       string `help:"Certificates to trust, where the server's is not signed by a public authority." name:"ca-file" type:"path" env:"UNDERSTUDY_CA_FILE" placeholder:"FILE"`
	Output       string `help:"How answers are printed: table or json." enum:"table,json" default:"table" short:"o"`
	LogJSON      bool   `help:"Write the log as JSON lines." name:"log-json"`
	Debug        bool   `help:"Write more to the log."`

	out, err io.Writer
	in       *bufio.Reader
	ctx      context.Context
	// terminal is true where a person sits before it and can be asked.
	terminal bool
	// asked is true once the password is known, or that there is none.
	asked    bool
	password string
	client   *http.Client
}

// CLI is every command.
type CLI struct {
	Globals `embed:"" group:"every"`

	Status    statusCommand    `cmd:"" group:"look" help:"Show where each service runs and what its guard does."`
	Plan      planCommand      `cmd:"" group:"look" help:"Show what a recovery of a service would do now, step by step."`
	Why       whyCommand       `cmd:"" group:"look" help:"Show a guard's latest decisions with their reasons, also those to do nothing."`
	Readiness readinessCommand `cmd:"" group:"look" help:"Show whether each tier of a service would work right now."`
	Watch     watchCommand     `cmd:"" group:"look" help:"Show a running recovery until it ends."`
	History   historyCommand   `cmd:"" group:"look" help:"Show past recoveries, or one of them in full."`
	Report    reportCommand    `cmd:"" group:"look" help:"Print the report of a recovery, to keep or to send."`

	Recover  recoverCommand  `cmd:"" group:"act" help:"Bring a service back: start a recovery."`
	Approve  approveCommand  `cmd:"" group:"act" help:"Agree to the plan that a recovery asks about."`
	Reject   rejectCommand   `cmd:"" group:"act" help:"Refuse the plan that a recovery asks about."`
	Answer   answerCommand   `cmd:"" group:"act" help:"Answer another question of a recovery."`
	Abort    abortCommand    `cmd:"" group:"act" help:"Stop a recovery."`
	Retry    retryCommand    `cmd:"" group:"act" help:"Undo what the tier that is being tried did, and try it again."`
	Skip     skipCommand     `cmd:"" group:"act" help:"Undo what the tier that is being tried did, and try the next one."`
	Commit   commitCommand   `cmd:"" group:"act" help:"Keep a provisional switch, before its confirm window is over."`
	Rollback rollbackCommand `cmd:"" group:"act" help:"Take a provisional switch back."`
	Drill    drillCommand    `cmd:"" group:"act" help:"Practise: make standbys, prove them, and remove them again, without any traffic."`
	Failback failbackCommand `cmd:"" group:"act" help:"Take the planned way home to the primary."`
	Pause    pauseCommand    `cmd:"" group:"act" help:"Let no recovery of a service, or of any, start by itself."`
	Resume   resumeCommand   `cmd:"" group:"act" help:"End a pause."`

	Batch    batchCommand    `cmd:"" group:"run" help:"Batches of audio: submit them, see how far they are, fetch the transcripts."`
	Volume   volumeCommand   `cmd:"" group:"run" help:"Model volumes in S3."`
	Image    imageCommand    `cmd:"" group:"run" help:"Machine images: built here, pushed to hypervisors, copied between regions of EC2."`
	Serve    serveCommand    `cmd:"" group:"run" help:"Run Understudy: triggers, API, worker and, unless a Temporal cluster is named, the engine."`
	Worker   workerCommand   `cmd:"" group:"run" help:"Run only a worker, beside a Temporal cluster."`
	Witness  witnessCommand  `cmd:"" group:"run" help:"Run a witness: look at services from another machine when Understudy asks."`
	Host     hostCommand     `cmd:"" group:"run" help:"Run beside a service: take its data home when a failback asks."`
	Validate validateCommand `cmd:"" group:"run" help:"Check runbooks and site file: what is wrong, where, and what is allowed."`
	Schema   schemaCommand   `cmd:"" group:"run" help:"Print the JSON Schema of runbooks, for editors."`
	Version  versionCommand  `cmd:"" group:"run" help:"Print the versions of this program and of its engine."`

	Completion kongcompletion.Completion `cmd:"" group:"run" help:"Print how to switch on completion in your shell."`
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
	return run(ctx, args, Globals{
		out: stdout, err: stderr, in: bufio.NewReader(os.Stdin),
		terminal: term.IsTerminal(int(os.Stdin.Fd())) && isTerminal(stdout),
	})
}

func run(ctx context.Context, args []string, g Globals) int {
	cli := &CLI{Globals: g}
	cli.ctx = ctx
	code := -1
	parser, err := kong.New(cli,
		kong.Name("understudy"),
		kong.Description(description),
		kong.Writers(g.out, g.err),
		kong.Exit(func(c int) { code = c }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.ExplicitGroups([]kong.Group{{Key: "look", Title: "Looking:"}, {Key: "act", Title: "Acting:"}, {Key: "run", Title: "Running and setting up:"}, {Key: "every", Title: "Flags of every command:"}}),
	)
	if err != nil {
		fmt.Fprintln(g.err, "understudy:", err)
		return ExitUsage
	}
	kongcompletion.Register(parser, kongcompletion.WithPredictors(predictors(ctx)))
	if code >= 0 {
		return code // a shell asked how a line goes on
	}
	parsed, err := parser.Parse(args)
	if code >= 0 {
		return code // help was asked for and given
	}
	if err != nil {
		fmt.Fprintln(g.err, "understudy:", err, "(see understudy --help)")
		return ExitUsage
	}
	err = parsed.Run(&cli.Globals)
	var wanted exit
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &wanted):
		if wanted.err.Error() != "" {
			fmt.Fprintln(g.err, "understudy:", wanted.err)
		}
		return wanted.code
	default:
		fmt.Fprintln(g.err, "understudy:", err)
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
