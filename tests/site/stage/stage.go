// Package stage is what the speech servers of the sample site have in common:
// the rule of one inference at a time, the counts, the faults that tests and
// the demo play, and the way to start and to end.
//
// Real speech servers in Python often run the model on the thread that also
// answers HTTP. While somebody's long recording is transcribed such a server
// accepts connections and answers nobody, not even a health check. With
// Options.Blocking the stage does the same.
package stage

import (
	"errors"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// ErrAnswered means that a fault has answered the request, or that nobody ever will.
var ErrAnswered = errors.New("answered by a fault")

// crashMidAfter lets the engine get to work before the process dies of it.
const crashMidAfter = 30 * time.Millisecond

// Options describe a server.
type Options struct {
	// Blocking makes everything wait while an inference runs.
	Blocking bool
	// Fail writes an error in the shape of the server's framework.
	Fail func(w http.ResponseWriter, status int, message string)
}

// Stage is an HTTP server without its routes.
type Stage struct {
	options Options
	mux     *http.ServeMux
	faults  faults
	counts  counts
	// engine is held by the inference that runs.
	engine sync.Mutex
}

// New returns a stage with the routes that each server has: metrics, and an answer to a wrong path.
func New(options Options) *Stage {
	s := &Stage{options: options, mux: http.NewServeMux(), counts: newCounts()}
	s.Look("GET /metrics", s.counts.writeMetrics)
	s.Look("/", func(w http.ResponseWriter, _ *http.Request) {
		options.Fail(w, http.StatusNotFound, "Not Found")
	})
	return s
}

// Look adds a route that runs no inference.
func (s *Stage) Look(pattern string, answer http.HandlerFunc) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if s.options.Blocking {
			s.engine.Lock()
			defer s.engine.Unlock()
		}
		if !s.suffer(s.faults.now(), w, r) {
			answer(w, r)
		}
	})
}

// Handle adds a route that reads its request and then calls Infer.
func (s *Stage) Handle(pattern string, answer http.HandlerFunc) {
	s.mux.HandleFunc(pattern, answer)
}

// Infer runs one inference when no other runs, and returns its error. The fault
// is for the caller to play where it is Wrong; with ErrAnswered there is nothing
// left to do. An inference goes on when its client has gone, as a model's does.
func (s *Stage) Infer(w http.ResponseWriter, r *http.Request, file string, inference func() error) (Fault, error) {
	s.engine.Lock()
	defer s.engine.Unlock()
	fault := s.faults.next(file)
	if s.suffer(fault, w, r) {
		return fault, ErrAnswered
	}
	switch fault.Mode {
	case Hold:
		s.faults.awaitEnd(Hold)
	case Crash:
		os.Exit(1)
	case CrashMid:
		go func() { _ = inference() }()
		time.Sleep(crashMidAfter)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	start := time.Now()
	err := inference()
	s.counts.inferred(time.Since(start))
	return fault, err
}

// Suffers says whether a fault of this mode is on.
func (s *Stage) Suffers(mode Mode) bool { return s.faults.now().Mode == mode }

// suffer plays the faults that are the same for every request, and reports whether the request is over.
func (s *Stage) suffer(fault Fault, w http.ResponseWriter, r *http.Request) bool {
	switch fault.Mode {
	case Hang:
		<-r.Context().Done()
	case Error:
		s.options.Fail(w, http.StatusServiceUnavailable, "CUDA error: out of memory")
	case Slow:
		time.Sleep(fault.delay())
		return false
	default:
		return false
	}
	return true
}

// ServeHTTP counts the request and hands it to its route.
func (s *Stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, route := s.mux.Handler(r)
	answer := &answer{ResponseWriter: w, status: http.StatusOK}
	done := s.counts.arrived(route)
	defer func() { done(answer.status) }()
	s.mux.ServeHTTP(answer, r)
}

// answer remembers the status of an answer.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the writer below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
