// Package tcpprobe asks whether an instance accepts connections, and nothing
// more: a process that hangs, and a listener that closes what it accepts, answer
// well here. It is for services whose health check is not HTTP.
package tcpprobe

import (
	"context"
	"errors"
	"net"
	"net/url"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// Prober connects. It is safe for concurrent use.
type Prober struct{}

var _ probe.Prober = Prober{}

// New makes a prober.
func New() Prober { return Prober{} }

// Probe connects to the host and port of the URL, whose scheme is http, https or
// tcp; the first two have their usual ports. It sends nothing.
func (Prober) Probe(ctx context.Context, r probe.Request) probe.Result {
	address, err := hostPort(r.URL)
	if err != nil {
		return probe.CouldNot(err.Error())
	}
	return probe.Look(ctx, r, func(ctx context.Context) probe.Attempt {
		return try(ctx, address)
	})
}

func try(ctx context.Context, address string) probe.Attempt {
	dialer := net.Dialer{KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return probe.Attempt{Finding: probe.FindingOf(err, false), Detail: probe.Printable(err.Error(), probe.QuoteLimit)}
	}
	conn.Close()
	return probe.Attempt{Finding: runbooks.Answers, Detail: "accepts connections"}
}

func hostPort(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return "", errors.New("the URL of the instance is not usable; write it as http://host:port or tcp://host:port")
	}
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "http":
		port = "80"
	case u.Scheme == "https":
		port = "443"
	default:
		return "", errors.New("the URL of the instance names no port")
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}
