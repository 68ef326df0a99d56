package fakeslack

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Fault is how calls go wrong. It is played from Inject until it has been played
// Times times, or until Heal.
type Fault struct {
	// Method it is for, such as chat.postMessage; empty for all.
	Method string
	// Times it is played; 0 for ever.
	Times int
	// Arrives lets the call take effect before its answer goes wrong, as when the network fails on the way back.
	Arrives bool
	// Hang is how long the server stays mute first, or until the client leaves. Without anything below, the call then goes on well.
	Hang time.Duration
	// RetryAfter answers 429 with that header, in whole seconds.
	RetryAfter time.Duration
	// Status answers with that HTTP status.
	Status int
	// Error answers ok: false with that word of Slack's.
	Error string
	// Body answers HTTP 200 with that text, whatever it is.
	Body string
	// Drop closes the connection without an answer.
	Drop bool
}

// Call is one request that the server received.
type Call struct {
	Method string
	// Form holds the parameters, without the token.
	Form url.Values
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

// Heal ends all faults and limits.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	clear(s.limits)
}

// Limit lets a method be called at most once in so long for each channel, as
// Slack does; what comes sooner is answered 429.
func (s *Server) Limit(method string, every time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits[method] = every
}

// Calls returns the requests for a method so far, faulty ones too; empty for all.
func (s *Server) Calls(method string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var calls []Call
	for _, c := range s.calls {
		if method == "" || c.Method == method {
			calls = append(calls, c)
		}
	}
	return calls
}

// admit records a call; it returns the fault that it is to suffer, or how long a
// limit keeps it away.
func (s *Server) admit(method string, r *http.Request) (*Fault, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	form := url.Values{}
	for name, values := range r.Form {
		if name != "token" {
			form[name] = slices.Clone(values)
		}
	}
	s.calls = append(s.calls, Call{Method: method, Form: form})
	for i := range s.faults {
		f := &s.faults[i]
		if (f.Method == "" || f.Method == method) && f.Times > 0 {
			f.Times--
			played := *f
			return &played, 0
		}
	}
	key, now := method+" "+form.Get("channel"), s.options.Now()
	if wait := s.limits[method] - now.Sub(s.called[key]); s.limits[method] > 0 && wait > 0 {
		return nil, wait
	}
	s.called[key] = now
	return nil, 0
}

// answers reports whether the fault has an answer of its own.
func (f *Fault) answers() bool {
	return f.RetryAfter > 0 || f.Status > 0 || f.Error != "" || f.Body != "" || f.Drop
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
		tooMany(w, f.RetryAfter)
	case f.Status > 0:
		http.Error(w, "<html>something went wrong</html>", f.Status)
	case f.Error != "":
		write(w, nil, refusal(f.Error))
	case f.Body != "":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(f.Body))
	default:
		panic(http.ErrAbortHandler) // the server's way to drop a connection
	}
}

func tooMany(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", fmt.Sprint(max(1, int(math.Ceil(wait.Seconds())))))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = w.Write([]byte(`{"ok":false,"error":"ratelimited"}`))
}
