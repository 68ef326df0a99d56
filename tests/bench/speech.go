package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
)

// speechCommand makes this program a speech server, so that there is a process to be killed.
const speechCommand = "speech-server"

const (
	models        = "/v1/models"
	transcription = "/v1/audio/transcriptions"
	// modelLoaded is the model that health checks want to see.
	modelLoaded = "fun-asr-nano"
)

// speech answers as a speech server does, with the text that every recording of
// the benchmarks is taken to say: what is measured is not the model.
type speech struct {
	// name is told in each answer.
	name string
	// think is how long a transcription takes.
	think time.Duration
	// asked is told of each request before it is answered; nil tells nobody.
	asked func(r *http.Request)
}

func (s speech) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.asked != nil {
		s.asked(r)
	}
	w.Header().Set(harness.ServerHeader, s.name)
	answer := func(content any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(content) // whoever asked may have gone
	}
	switch r.URL.Path {
	case "/health":
		answer(map[string]any{"status": "healthy", "models_loaded": []string{modelLoaded}})
	case "/version":
		answer(map[string]string{"version": harness.ModelVersion})
	case models:
		answer(map[string]any{"data": []map[string]string{{"id": modelLoaded}}})
	case transcription:
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		time.Sleep(s.think)
		answer(map[string]string{"text": audio.Digits})
	case "/metrics":
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	default:
		http.NotFound(w, r)
	}
}

// listen serves at an address of its own until the server is closed.
func (s speech) listen() (*http.Server, string, error) {
	l, err := net.Listen("tcp", harness.Address(harness.FreePort()))
	if err != nil {
		return nil, "", err
	}
	server := &http.Server{Handler: s}
	go func() { _ = server.Serve(l) }() // it ends with its closing
	return server, "http://" + l.Addr().String(), nil
}

// serveSpeech is the program as a speech server.
func serveSpeech(args []string) error {
	flags := flag.NewFlagSet(speechCommand, flag.ContinueOnError)
	address := flags.String("listen", "", "host:port to answer at")
	name := flags.String("name", "", "name to answer with")
	think := flags.Duration("think", 0, "how long a transcription takes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	err := http.ListenAndServe(*address, speech{name: *name, think: *think})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// speechProcess is a speech server in a process of its own.
type speechProcess struct {
	*harness.Process
	// address is host:port of its server.
	address string
}

// startSpeech starts this program once more, as a speech server.
func startSpeech(ctx context.Context, dir, name string, think time.Duration) (*speechProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	address := harness.Address(harness.FreePort())
	process, err := harness.Start(ctx, harness.Spec{
		Name: name, Path: self, Dir: dir,
		Args:  []string{speechCommand, "-listen", address, "-name", name, "-think", think.String()},
		Ready: harness.Responding("http://" + address + "/health"),
	})
	if err != nil {
		return nil, err
	}
	return &speechProcess{process, address}, nil
}
