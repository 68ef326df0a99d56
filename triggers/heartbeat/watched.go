package heartbeat

import (
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// recoveringEvery is how often a running recovery is looked after.
	recoveringEvery = 2 * time.Second
	// lateAfter is by how much a look may outlast its timeout before this machine is taken for the slow one.
	lateAfter = 150 * time.Millisecond
	// leastPace keeps a mute service from being asked too often, whatever its timeout.
	leastPace = 20 * time.Millisecond
	// jitter shortens an interval by at most this part of it, so that services do not march in step.
	jitter = 20
	// askAgain is the first pause after a request that was decided, where the service has not answered since; askMost is
	// the longest. retryAsk and retryMost are for requests that no guard has decided.
	askAgain, askMost   = 30 * time.Second, 5 * time.Minute
	retryAsk, retryMost = time.Second, 30 * time.Second
	// A service that answers between its failures may be asked for at once, but for no more than so many times within
	// so long: what flaps needs a person, not a recovery a minute.
	flaps, flapping = 3, 10 * time.Minute
	// busyAgain is how soon a service that is held up by an inference is looked at again.
	busyAgain = time.Second
)

// watched is one service. It knows no clock and asks nobody: what came of a
// probe is told, and it says what is to be done.
type watched struct {
	service string
	// place is where it stands in the schedule, next when its turn comes.
	place int
	next  time.Time

	interval time.Duration
	failures int
	health   runbooks.Health
	runbook  runbooks.Runbook

	active Active
	// refresh is when it is asked again where the service runs.
	refresh    time.Time
	recovering bool

	// flying probes are under way; failed ones in a row, since the first began; last is the latest of them; good is when
	// the latest good one began.
	flying, failed int
	since, good    time.Time
	last           probe.Result
	// inquiring is true while it is found out whether to ask; then not before quiet, which pause has led to.
	inquiring bool
	quiet     time.Time
	pause     time.Duration
	// asked are the latest requests that a guard has decided, decisions is how many there ever were.
	asked     []time.Time
	decisions int
	// held says why nothing is asked for; empty where nothing holds.
	held string
}

// set takes over what the runbook says.
func (w *watched) set(r runbooks.Runbook) {
	w.interval, w.failures, w.health, w.runbook = r.Heartbeat.Interval.D(), max(r.Heartbeat.Failures, 1), r.Health, r
	if w.health.Timeout == 0 {
		w.health.Timeout = runbooks.Duration(probe.DefaultTimeout)
	}
}

// follow takes over where the service runs.
func (w *watched) follow(a Active) {
	if a.Target.URL != w.active.Target.URL {
		w.calm()
		w.quiet, w.pause, w.asked, w.good = time.Time{}, 0, nil, time.Time{}
	}
	if a.Recovering || w.recovering {
		w.calm() // what it was before the recovery says nothing about after
	}
	w.active, w.recovering = a, a.Recovering
}

// calm forgets failures: they are over, or were another place's.
func (w *watched) calm() { w.failed, w.since, w.held = 0, time.Time{}, "" }

// nextProbe is when the next probe begins, unless this one is answered before:
// while it is mute the next does not wait for its end. What is known to fail, or
// is held, is asked at its interval.
func (w *watched) nextProbe(now time.Time) time.Time {
	pace := w.every()
	if w.failed < w.failures && w.flying < w.failures {
		pace = min(pace, max(w.health.Timeout.D()/2, leastPace))
	}
	return now.Add(pace)
}

// every is the interval, a little shorter.
func (w *watched) every() time.Duration { return w.interval - rand.N(w.interval/jitter+1) }

func (w *watched) pauseAfterFind() time.Duration {
	if w.recovering {
		return recoveringEvery
	}
	return 0
}

// saw takes in what a probe found; true asks for an inquiry.
func (w *watched) saw(r probe.Result, began, now time.Time) bool {
	switch r.Finding {
	case runbooks.Answers, runbooks.Slow:
		if began.After(w.good) {
			w.good = began
		}
		w.calm()
		if !w.flaps(now) {
			w.quiet, w.pause = time.Time{}, 0
		}
		w.next = later(began.Add(w.every()), now)
		return false
	case runbooks.Blind:
		w.next = later(began.Add(w.every()), now)
		return false // our own trouble says nothing about the service
	}
	if began.Before(w.good) {
		return false // it has answered a later probe
	}
	if !mute(r.Finding) {
		w.next = later(began.Add(w.every()), now) // it failed at once, and has its interval to come back
	}
	if w.failed == 0 || began.Before(w.since) {
		w.since = began
	}
	w.failed, w.last = w.failed+1, r
	return w.failed >= w.failures && !w.inquiring && !w.recovering && !now.Before(w.quiet)
}

// decided takes note of a request that a guard has decided. While the service
// does not answer, the next one waits longer each time.
func (w *watched) decided(now time.Time) {
	w.decisions++
	w.asked = append(w.asked, now)
	w.asked = w.asked[max(len(w.asked)-flaps, 0):]
	w.wait(now, askAgain, askMost)
}

// flaps reports whether the service was asked for too often lately.
func (w *watched) flaps(now time.Time) bool {
	return len(w.asked) == flaps && now.Sub(w.asked[0]) < flapping
}

// wait lets the next inquiry wait, longer each time.
func (w *watched) wait(now time.Time, first, most time.Duration) {
	w.pause = min(max(2*w.pause, first), most)
	w.quiet = now.Add(w.pause)
}

// host is what a target stands on: instances on one host fail together.
func (w *watched) host(target string) string {
	if u, err := url.Parse(target); err == nil {
		return u.Hostname()
	}
	return target
}

// mute reports whether a finding may stem from a deadline alone.
func mute(f runbooks.Finding) bool { return f == runbooks.Silent || f == runbooks.Unreachable }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
