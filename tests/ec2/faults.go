package ec2

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Fault is how calls go wrong. It is played from Inject until it has been played
// Times times, or until Heal.
type Fault struct {
	// Action, Region, Zone, Type are what it is for; empty for all.
	Action, Region, Zone, Type string
	// Times it is played; 0 for ever.
	Times int
	// Code answers with that error code of EC2's; Message and Status may go with it.
	Code, Message string
	Status        int
	// Arrives lets the call take effect before its answer goes wrong, as when the network fails on the way back.
	Arrives bool
	// Hang never answers; it ends when the client leaves.
	Hang bool
	// Drop closes the connection without an answer.
	Drop bool
	// Hold keeps the call until the channel is closed and carries it out then, whether the client still waits or not.
	Hold <-chan struct{}
	// Wait delays the call, which then goes on well.
	Wait time.Duration
}

// Call is one request that the server received.
type Call struct {
	Action, Region, Zone, Type string
	// Form holds the parameters.
	Form url.Values
	// Key is the access key id of the signature.
	Key string
	// Code is the error code of the answer; empty where all went well, dropped where there was no answer.
	Code string
}

// dropped stands for the code of a call whose answer nobody got.
const dropped = "dropped"

// Inject makes calls go wrong; of several faults that fit, the oldest is played.
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

// Calls returns the requests for an action so far, faulty ones too; empty for all.
func (s *Server) Calls(action string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var calls []Call
	for _, c := range s.calls {
		if action == "" || c.Action == action {
			calls = append(calls, c)
		}
	}
	return calls
}

// Actions are the names of all actions that were called, sorted.
func (s *Server) Actions() []string {
	var names []string
	for _, c := range s.Calls("") {
		names = append(names, c.Action)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// admit records a call; it returns the fault that it is to suffer, and a way to
// note how the call ended.
func (s *Server) admit(c Call) (Fault, func(code string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	at := len(s.calls) - 1
	done := func(code string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls[at].Code = code
	}
	fits := func(want, got string) bool { return want == "" || want == got }
	for i := range s.faults {
		f := &s.faults[i]
		if f.Times > 0 && fits(f.Action, c.Action) && fits(f.Region, c.Region) && fits(f.Zone, c.Zone) && fits(f.Type, c.Type) {
			f.Times--
			return *f, done
		}
	}
	return Fault{}, done
}

// pass waits as the fault says; false where the client has left meanwhile.
func (f Fault) pass(s *Server, r *http.Request) bool {
	if f.Hold != nil {
		s.holding(+1)
		defer s.holding(-1)
		select {
		case <-f.Hold:
		case <-s.closed:
			return false
		}
	}
	if f.Wait > 0 {
		timer := time.NewTimer(f.Wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return false
		}
	}
	return true
}

func (s *Server) holding(more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held += more
}

// Held is how many calls are held now, whether their clients still wait or not.
func (s *Server) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// mute hangs or drops the connection, where the fault says so.
func (f Fault) mute(s *Server, r *http.Request) {
	if f.Hang {
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
	}
	if f.Hang || f.Drop {
		panic(http.ErrAbortHandler) // the server's way to drop a connection
	}
}
