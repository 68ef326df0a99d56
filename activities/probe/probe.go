// Package probe asks one instance whether it lives, and says what it saw.
//
// A probe never decides: it reports a finding, and package runbooks judges.
// The implementations are httpprobe (a health check over HTTP with an expression
// on its answer), tcpprobe (connects only) and witness (another machine looks).
package probe

import (
	"context"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// Request is one question to one instance.
type Request struct {
	// URL is the instance's base URL, without the path of the health check.
	URL string `json:"url"`
	// Health says how to ask.
	Health runbooks.Health `json:"health"`
	// Once asks for one try, of one timeout: whoever looked a moment ago, and found it mute, needs no second one.
	Once bool `json:"once,omitempty"`
}

// Result is what was seen.
type Result struct {
	Finding runbooks.Finding `json:"finding"`
	// Detail explains the finding to a person, such as "HTTP 503" or "no answer in 400ms". It quotes at most
	// 200 characters of what the instance sent, without control characters.
	Detail string `json:"detail"`
	// At is when the look began.
	At time.Time `json:"at"`
	// Took is how long the look lasted.
	Took runbooks.Duration `json:"took"`
}

// Observation is the result under the name of the one who looked.
func (r Result) Observation(domain string) runbooks.Observation {
	return runbooks.Observation{Domain: domain, Finding: r.Finding, Detail: r.Detail, At: r.At}
}

// Prober looks at an instance.
//
// Probe blocks for at most twice the health check's timeout (a witness adds the
// way to it): where the first try is mute, a second one follows, so that one
// lost packet is no outage, unless the request is for one try. An answer after the timeout but within the second
// try's time is Slow. It follows no redirects, reads at most 64 KiB of the
// answer, opens a new connection each time (a pooled one would prove nothing),
// and changes nothing. It never fails: what went wrong is the finding, and a
// cancelled context is Blind.
type Prober interface {
	Probe(ctx context.Context, r Request) Result
}
