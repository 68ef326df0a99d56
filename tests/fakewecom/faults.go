package fakewecom

import (
	"fmt"
	"math"
	"net/http"
	"time"
)

// Fault is how messages go wrong. It is played from Inject until it has been
// played Times times, or until Heal.
type Fault struct {
	// Times it is played; 0 for ever.
	Times int
	// Arrives lets the message reach people before its answer goes wrong, as when the network fails on the way back.
	Arrives bool
	// Hang is how long the server stays mute first, or until the client leaves.
	Hang time.Duration
	// RetryAfter answers HTTP 429 with that header, as a proxy before WeCom may; in whole seconds.
	RetryAfter time.Duration
	// Status answers with that HTTP status.
	Status int
	// Code answers HTTP 200 with that errcode.
	Code int
	// Body answers HTTP 200 with that text, whatever it is.
	Body string
	// Drop closes the connection without an answer.
	Drop bool
}

// Inject makes messages go wrong; of several faults, the oldest is played.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = math.MaxInt
	}
	s.faults = append(s.faults, f)
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Calls is how many requests the server has received, faulty ones too.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// admit counts a call and returns the fault that it is to suffer.
func (s *Server) admit() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	for i := range s.faults {
		if f := &s.faults[i]; f.Times > 0 {
			f.Times--
			return *f
		}
	}
	return Fault{}
}

// answers reports whether the fault has an answer of its own.
func (f *Fault) answers() bool {
	return f.RetryAfter > 0 || f.Status > 0 || f.Code != 0 || f.Body != "" || f.Drop
}

// hang waits; false where the client has left meanwhile.
func (f *Fault) hang(r *http.Request) bool {
	if f.Hang <= 0 {
		return true
	}
	timer := time.NewTimer(f.Hang)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// answer is what the client gets instead of what it should.
func (f *Fault) answer(w http.ResponseWriter) {
	switch {
	case f.RetryAfter > 0:
		w.Header().Set("Retry-After", fmt.Sprint(math.Ceil(f.RetryAfter.Seconds())))
		w.WriteHeader(http.StatusTooManyRequests)
	case f.Status > 0:
		http.Error(w, "<html>something went wrong</html>", f.Status)
	case f.Code != 0:
		write(w, f.Code, "as the test says")
	case f.Body != "":
		_, _ = w.Write([]byte(f.Body))
	default:
		panic(http.ErrAbortHandler) // the server's way to drop a connection
	}
}
