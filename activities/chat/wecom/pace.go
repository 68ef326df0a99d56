package wecom

import (
	"slices"
	"time"
)

const (
	minute = time.Minute
	// perMinute messages are taken from one robot.
	perMinute = 20
	// burst of them may go without a pause; after that they are spread over the minute, so that the last state of a
	// story never finds the minute spent, and what comes meanwhile is put together.
	burst = 8
	gap   = minute / (perMinute - burst)
)

// pace says when the next message may be sent.
type pace struct {
	// sent are the times of the latest requests, failed ones too: nobody knows whether WeCom counts them.
	sent []time.Time
	// until is when a pause ends that WeCom has asked for.
	until time.Time
}

// wait is how long the next message must wait.
func (p *pace) wait(now time.Time) time.Duration {
	p.sent = slices.DeleteFunc(p.sent, func(at time.Time) bool { return now.Sub(at) >= minute })
	wait := p.until.Sub(now)
	if n := len(p.sent); n >= perMinute {
		wait = max(wait, p.sent[n-perMinute].Add(minute).Sub(now))
	} else if n >= burst {
		wait = max(wait, p.sent[n-1].Add(gap).Sub(now))
	}
	return max(wait, 0)
}

// took takes note of a request.
func (p *pace) took(now time.Time) { p.sent = append(p.sent, now) }

// rest takes note of a pause that WeCom has asked for.
func (p *pace) rest(now time.Time, pause time.Duration) { p.until = now.Add(pause) }
