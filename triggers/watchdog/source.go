package watchdog

import (
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// message is what the engine must be told.
type message string

const (
	nothing message = ""
	hello   message = "hello" // what the site file says, before anything was heard
	alive   message = "alive"
	quiet   message = "quiet"
)

// source is one site's sign of life. It is pure: it is told the time.
type source struct {
	site    string
	match   map[string]string
	silence time.Duration
	action  string
	wake    chan struct{}

	// listening is since when, heard the last sign, zero where none came.
	listening, heard time.Time
	// handed is the sign that the engine knows, greeted whether it knows of the site at all.
	handed  time.Time
	greeted bool
	// silent is the state; quietTold says that the engine knows of it.
	silent, quietTold bool
}

func newSource(site string, w runbooks.Watchdog, now time.Time) *source {
	return &source{site: site, match: w.Match, silence: w.Silence.D(), action: w.Action, listening: now, wake: make(chan struct{}, 1)}
}

// matches reports whether an alert with these labels is the site's sign of life.
func (s *source) matches(labels map[string]string) bool {
	for name, value := range s.match {
		if got, ok := labels[name]; !ok || got != value {
			return false
		}
	}
	return len(s.match) > 0
}

func (s *source) hear(now time.Time) { s.heard = now }

// since is the last sign of life, or when it was begun to listen for one.
func (s *source) since() time.Time {
	if s.heard.IsZero() {
		return s.listening
	}
	return s.heard
}

// due moves the state on, and says what the engine must be told now.
func (s *source) due(now time.Time) message {
	s.silent = now.Sub(s.since()) >= s.silence
	if !s.silent {
		s.quietTold = false
	}
	switch {
	case !s.greeted && s.heard.IsZero():
		return hello
	case s.silent && !s.quietTold:
		return quiet
	case s.silent || !s.heard.After(s.handed):
		return nothing
	case s.handed.IsZero(), s.heard.Sub(s.handed) >= s.silence/workflows.SignShare:
		return alive // the first after a silence as well: the one before it is long past
	default:
		return nothing
	}
}

// told takes note that the engine knows what was due at a time.
func (s *source) told(m message, at time.Time) {
	s.greeted = true
	switch m {
	case quiet:
		s.quietTold = true
	case alive:
		s.handed = at
	}
}

// rouse lets the engine hear of a sign without waiting for the clock.
func (s *source) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
