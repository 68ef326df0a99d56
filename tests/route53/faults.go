package route53fake

import (
	"math"
	"net/http"
	"time"
)

// Fault is how calls go wrong. It is played from Inject until it has been played
// Times times, or until Heal.
type Fault struct {
	// Action is what it is for; empty for all.
	Action string
	// Times it is played; 0 for ever.
	Times int
	// Code answers with that error code of Route 53's; Message and Status may go with it.
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
	Action, Zone, Change string
	// Body is what was sent.
	Body string
	// Key is the access key id of the signature.
	Key string
	// Code is the error code of the answer; empty where all went well, dropped where there was no answer.
	Code string
}

// dropped stands for the code of a call whose answer nobody got.
const dropped = "dropped"

// statuses of errors; all others are 400.
var statuses = map[string]int{
	"AccessDenied": 403, "ExpiredToken": 403, "InvalidClientTokenId": 403, "SignatureDoesNotMatch": 403, "NoSuchHostedZone": 404, "NoSuchChange": 404,
	"InternalFailure": 500, "InternalError": 500, "ServiceUnavailable": 503,
}

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

// admit records a call; it returns the fault that it is to suffer, and a way to
// note how the call ended.
func (s *Server) admit(c Call) (Fault, func(code string)) {
	s.options.Seen(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	at := len(s.calls) - 1
	done := func(code string) {
		s.mu.Lock()
		s.calls[at].Code = code
		ended := s.calls[at]
		s.mu.Unlock()
		s.options.Ended(ended)
	}
	for i := range s.faults {
		f := &s.faults[i]
		if f.Times > 0 && (f.Action == "" || f.Action == c.Action) {
			f.Times--
			return *f, done
		}
	}
	return Fault{}, done
}

// pass waits as the fault says; false where the client has left meanwhile.
func (f Fault) pass(s *Server, r *http.Request) bool {
	if f.Hold != nil {
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

// bad reports whether the fault has an answer, or none, of its own.
func (f Fault) bad() bool { return f.Code != "" || f.Hang || f.Drop }

// fail plays the fault's end of a call.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, f Fault, done func(string)) {
	if f.Code == "" {
		done(dropped)
		if f.Hang {
			select {
			case <-r.Context().Done():
			case <-s.closed:
			}
		}
		panic(http.ErrAbortHandler) // the server's way to drop a connection
	}
	done(f.Code)
	why := &refusal{status: f.Status, code: f.Code, message: f.Message}
	if why.message == "" {
		why.message = "as the test wants it"
	}
	if why.status == 0 {
		why.status = statuses[f.Code]
	}
	if why.status == 0 {
		why.status = http.StatusBadRequest
	}
	writeError(w, why)
}
