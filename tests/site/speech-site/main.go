// Speech-site is the site that Understudy's tests and demo protect: a speech
// recognizer and a speech synthesizer with real, small engines, and the model
// directories that they load.
//
//	speech-site model --kind asr --version 2512.1 --out /models/asr
//	speech-site asr   --model /models/asr --listen 127.0.0.1:7860
//	speech-site tts   --model /models/tts --listen 127.0.0.1:5000
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/tests/site/model"
	"github.com/understudy-dr/understudy/tests/site/stage"
)

// The exit codes beside 0 and 1.
const (
	exitUsage   = 2
	exitRefused = 3 // the model is not whole, or not there
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	commands := map[string]func(context.Context, []string) error{"asr": runASR, "tts": runTTS, "model": buildModel}
	var run func(context.Context, []string) error
	if len(os.Args) > 1 {
		run = commands[os.Args[1]]
	}
	if run == nil {
		fmt.Fprintln(os.Stderr, "usage: speech-site asr|tts|model [flags]; -h after one of them shows its flags")
		os.Exit(exitUsage)
	}
	err := run(ctx, os.Args[2:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "speech-site:", err)
	if errors.Is(err, model.ErrRefused) {
		os.Exit(exitRefused)
	}
	os.Exit(1)
}

// server has the flags that asr and tts share.
type server struct {
	listen, admin, model, name, fault string
	blocking                          bool
	loadDelay                         time.Duration
}

func (s *server) flags(command, listen, name string) *flag.FlagSet {
	f := flag.NewFlagSet(command, flag.ExitOnError)
	f.StringVar(&s.listen, "listen", listen, "where to answer")
	f.StringVar(&s.admin, "admin", "", "where to take faults and show counts; empty: nowhere")
	f.StringVar(&s.model, "model", "", "directory of the model")
	f.StringVar(&s.name, "name", name, "what the model is called")
	f.StringVar(&s.fault, "fault", string(stage.None), "fault to start with: a mode, or JSON as POST /fault takes it")
	f.BoolVar(&s.blocking, "blocking", false, "answer nothing while an inference runs")
	f.DurationVar(&s.loadDelay, "load-delay", 0, "load this much longer, as larger models do")
	return f
}

// prepare opens the stage's side door and the model, and takes the time to load it.
func (s *server) prepare(ctx context.Context, options stage.Options, needed []string) (*stage.Stage, model.Model, error) {
	options.Blocking = s.blocking
	st := stage.New(options)
	fault, err := stage.ParseFault(s.fault)
	if err != nil {
		return nil, model.Model{}, err
	}
	st.Suffer(fault)
	if s.admin != "" {
		if err := st.RunAdmin(s.admin); err != nil {
			return nil, model.Model{}, err
		}
	}
	m, err := model.Open(s.model, needed...)
	if err != nil {
		return nil, model.Model{}, err
	}
	fmt.Fprintf(os.Stderr, "model %s, version %s, is whole\n", m.Dir, m.Version)
	for _, name := range m.Extra {
		fmt.Fprintf(os.Stderr, "note: %s is not in the manifest and is ignored\n", name)
	}
	select {
	case <-time.After(s.loadDelay):
		return st, m, nil
	case <-ctx.Done():
		return nil, model.Model{}, context.Cause(ctx)
	}
}
