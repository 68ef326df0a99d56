package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	// grace is how long requests may go on after the order to end.
	grace       = 3 * time.Second
	headersIn   = 10 * time.Second
	largestForm = 64 << 10
)

// ErrEngine means that the engine ended by itself. The server ends with it, as
// a process does whose native library crashes.
var ErrEngine = errors.New("the engine ended")

// Run answers requests at the address until the context ends, then ends in
// order, or until the engine does. It is called when the model is loaded: before
// that, connections are refused.
func (s *Stage) Run(ctx context.Context, address string, engineEnded <-chan struct{}) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "listening on", listener.Addr())
	server := &http.Server{Handler: s, ReadHeaderTimeout: headersIn}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if fault := s.faults.get(); fault.Mode == Crash && fault.begun() {
		os.Exit(1)
	}
	select {
	case err := <-failed:
		return err
	case <-engineEnded:
		server.Close()
		return ErrEngine
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if server.Shutdown(patience) != nil {
		server.Close()
	}
	return nil
}

// Suffer begins a fault.
func (s *Stage) Suffer(fault Fault) { s.faults.set(fault) }

// RunAdmin lets tests and the demo play faults and read counts at an address of
// its own, which answers from the start on, whatever the server suffers:
//
//	POST /fault  {"mode":"slow","after":3,"delay":"2s"}
//	GET  /fault
//	GET  /stats
func (s *Stage) RunAdmin(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.counts.stats()) })
	mux.HandleFunc("GET /fault", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.faults.get()) })
	mux.HandleFunc("POST /fault", s.setFault)
	go func() { _ = (&http.Server{Handler: mux, ReadHeaderTimeout: headersIn}).Serve(listener) }()
	return nil
}

func (s *Stage) setFault(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(io.LimitReader(r.Body, largestForm))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fault, err := ParseFault(string(text))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.faults.set(fault)
	writeJSON(w, fault)
	if fault.Mode == Crash && fault.begun() {
		_ = http.NewResponseController(w).Flush()
		os.Exit(1)
	}
}

// writeJSON says its length beforehand, so that an answer is whole even when the process ends after it.
func writeJSON(w http.ResponseWriter, value any) {
	body, _ := json.Marshal(value)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}
