package workflows

import (
	"slices"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// Names of a watchdog's messages.
const (
	SignSignalName    = "SignOfLife" // to a watchdog: SignOfLife
	SilenceSignalName = "Silence"    // to a watchdog: SilenceSignal
)

// What to do about services that are found dead at a silent site.
const (
	WatchdogPage    = "page"
	WatchdogRecover = "recover"
)

// SignShare is the part of a silence after which a sign of life is handed on. The
// watchdog's timer waits so much longer.
const SignShare = 3

const (
	// lookLeast and lookMost bound the pause between two looks at a site that stays silent.
	lookLeast, lookMost = 10 * time.Second, 5 * time.Minute
)

// WatchdogID is the workflow id of a site's watchdog.
func WatchdogID(site string) string { return "watchdog/" + site }

// SignOfLife tells a watchdog that its site lives, or, without a time, only what
// the site file says about it.
type SignOfLife struct {
	// At is when the sign came.
	At time.Time `json:"at,omitzero"`
	// Listening is since when the sender has listened.
	Listening time.Time         `json:"listening,omitzero"`
	Silence   runbooks.Duration `json:"silence"`
	Action    string            `json:"action"`
}

// SilenceSignal tells a watchdog that its sender has not heard of the site for as
// long as the site file allows.
type SilenceSignal struct {
	// Since is the last sign of life that it has heard, or when it began to listen.
	Since time.Time `json:"since"`
}

// WatchdogInput starts a watchdog, or carries it over to its next run.
type WatchdogInput struct {
	Site  string        `json:"site"`
	State WatchdogState `json:"state"`
}

// WatchdogState is what a watchdog knows.
type WatchdogState struct {
	Silence runbooks.Duration `json:"silence"`
	Action  string            `json:"action"`
	// Last is the last sign of life; zero where none ever came. Listening is since when signs can be heard.
	Last      time.Time `json:"last,omitzero"`
	Listening time.Time `json:"listening,omitzero"`
	// Word says that a sender has told that the time is up, which was not looked into yet.
	Word bool `json:"word,omitempty"`
	// Silent is set while the site is silent.
	Silent *Silent `json:"silent,omitempty"`
}

// Silent is one time of silence.
type Silent struct {
	Since time.Time `json:"since"`
	// Looked is when the site was looked at last, Looks how often.
	Looked time.Time `json:"looked"`
	Looks  int       `json:"looks"`
	// Look is what was found then, Asked what became of the requests for recoveries, by service.
	Look  activities.SiteLook                        `json:"look"`
	Asked map[string]activities.AskForRecoveryResult `json:"asked,omitempty"`
	// Seq numbers the news; Told is what people read last.
	Seq  int64  `json:"seq"`
	Told string `json:"told"`
}

// due is when the next look at the clock is called for. Signs are handed on
// once in a part of the silence, so the timer waits that much longer; the process
// that listens says when the time is up to the second.
func (s *WatchdogState) due(now time.Time) time.Time {
	switch {
	case s.Silence == 0:
		return time.Time{} // nobody has told yet what to watch for
	case s.Silent != nil:
		return s.Silent.Looked.Add(s.again())
	default:
		last := s.heardOf()
		if last.IsZero() {
			last = now
		}
		return last.Add(s.Silence.D() + s.Silence.D()/SignShare)
	}
}

// heardOf is up to when it is known that the site lived, or that nobody listened.
func (s *WatchdogState) heardOf() time.Time { return latest(s.Last, s.Listening) }

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// again is the pause between two looks at a site that stays silent.
func (s *WatchdogState) again() time.Duration {
	return min(max(s.Silence.D()/SignShare, lookLeast), lookMost)
}

// expired reports whether to look: at the time, or on the word of a sender,
// unless another sender has heard of the site.
func (s *WatchdogState) expired(now time.Time) bool {
	switch {
	case s.Silence == 0:
		return false
	case s.Word && s.Silent == nil:
		return now.Sub(s.heardOf()) >= s.Silence.D()
	default:
		return !now.Before(s.due(now))
	}
}

// toRecover are the services for which a recovery is to be asked for. It is pure.
func toRecover(found activities.SiteLook, action string) []activities.SiteService {
	if found.Blind != "" || action != WatchdogRecover {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(found.Services), func(s activities.SiteService) bool {
		return !s.Verdict.Failed() || s.Recovering
	})
}
