package heartbeat

import (
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// enough hosts must be watched before their common silence says something about
// us: the one in question, and two others.
const enough = 3

// view is what Understudy sees of all hosts together: whether its own network
// works. It keeps the two hosts that were reached last, which is all that one
// service needs to know about the others.
type view struct {
	latest, before reached
	// told is when people were told that nothing answers; since when that is so.
	told, since time.Time
}

// reached is a host from which something came back.
type reached struct {
	host string
	at   time.Time
}

// saw takes note of a probe that began at a time. Whatever came back, a refusal
// too, has passed the network.
func (v *view) saw(host string, f runbooks.Finding, began time.Time) {
	if f == runbooks.Unreachable || f == runbooks.Blind {
		return
	}
	switch {
	case host == v.latest.host:
		v.latest.at = later(v.latest.at, began)
	case began.After(v.latest.at):
		v.before, v.latest = v.latest, reached{host, began}
	case host == v.before.host || began.After(v.before.at):
		v.before = reached{host, later(v.before.at, began)}
	}
	v.since, v.told = time.Time{}, time.Time{}
}

// reaches reports whether another host than this one was reached since a time.
func (v *view) reaches(host string, since time.Time) bool {
	other := v.latest
	if other.host == host {
		other = v.before
	}
	return !other.at.Before(since)
}
