// Package httpprobe asks an instance's health check over HTTP.
//
// One try is one GET on a connection of its own, by no proxy and no redirect: a
// pooled connection or a helpful middleman would answer for somebody else. An
// answer counts once it is complete, so a body that drips is as mute as none.
package httpprobe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// maxBody is how much of an answer is read.
	maxBody = 64 << 10
	// maxHeader bounds the headers of an answer, in bytes.
	maxHeader = 64 << 10
	// defaultPath is asked where the health check names no path.
	defaultPath = "/health"
)

// Prober asks over HTTP. It is safe for concurrent use.
type Prober struct {
	expressions expressions
}

var _ probe.Prober = (*Prober)(nil)

// New makes a prober.
func New() *Prober { return &Prober{} }

// Probe gets the health check's path. What is no 2xx (a redirect too), what is
// not HTTP, and an answer of which the ready expression does not hold are
// Errors; so is a connection that breaks off, for the reason that
// probe.FindingOf gives.
func (p *Prober) Probe(ctx context.Context, r probe.Request) probe.Result {
	address, err := join(r.URL, r.Health.Path)
	if err != nil {
		return probe.CouldNot(err.Error())
	}
	ready, err := p.expressions.compiled(r.Health.Ready)
	if err != nil {
		return probe.CouldNot(err.Error())
	}
	return probe.Look(ctx, r, func(ctx context.Context) probe.Attempt {
		return try(ctx, address, ready)
	})
}

// join puts the health check's path, which may carry a query, behind the base URL.
func join(base, path string) (string, error) {
	if path == "" {
		path = defaultPath
	}
	if !strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("health.path %q is no path; it begins with a slash", path)
	}
	u, err := url.Parse(strings.TrimRight(base, "/") + path)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("the URL of the health check is not usable; it begins with http:// or https://")
	}
	return u.String(), nil
}

func try(ctx context.Context, address string, ready *expression) probe.Attempt {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return probe.Attempt{Finding: runbooks.Blind, Detail: "the URL of the health check is not usable"}
	}
	r.Header.Set("User-Agent", "understudy-probe")
	var connected atomic.Bool
	transport := newTransport(&connected)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return failed(err, connected.Load())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if resp.StatusCode/100 != 2 {
		return probe.Attempt{Finding: runbooks.Errors, Detail: status(resp, body)}
	}
	if err != nil {
		a := failed(err, true)
		a.Detail = fmt.Sprintf("HTTP %d, but %s", resp.StatusCode, a.Detail)
		return a
	}
	why := ready.refuses(ctx, body)
	if ctx.Err() != nil {
		return failed(ctx.Err(), true)
	}
	if why != "" {
		return probe.Attempt{Finding: runbooks.Errors, Detail: "not ready: " + why}
	}
	return probe.Attempt{Finding: runbooks.Answers, Detail: fmt.Sprintf("HTTP %d", resp.StatusCode)}
}

// newTransport makes a transport for one request. It is never shared, so it can
// tell whether this very request reached the instance.
func newTransport(connected *atomic.Bool) *http.Transport {
	dialer := net.Dialer{KeepAlive: -1}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err == nil {
				connected.Store(true)
			}
			return conn, err
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// failed explains a request that got no whole answer.
func failed(err error, connected bool) probe.Attempt {
	a := probe.Attempt{Finding: probe.FindingOf(err, connected)}
	switch {
	case a.Finding == runbooks.Silent:
		a.Detail = "no whole answer in time"
	case a.Finding == runbooks.Unreachable && isDeadline(err):
		a.Detail = "no connection in time"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		a.Detail = "the connection was closed before the answer was whole"
	default:
		a.Detail = probe.Printable(err.Error(), probe.QuoteLimit)
	}
	return a
}

func isDeadline(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// status tells a bad status with the beginning of what the instance says to it.
func status(resp *http.Response, body []byte) string {
	text := fmt.Sprintf("HTTP %d", resp.StatusCode)
	if resp.StatusCode/100 == 3 {
		return text + ", a redirect, which is not followed"
	}
	if said := probe.Printable(string(body), probe.QuoteLimit); said != "" {
		text += ": " + said
	}
	return text
}
