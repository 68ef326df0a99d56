package speech

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
)

const (
	// MaxAnswer bounds what a service may send back, transcripts and audio alike, in bytes.
	MaxAnswer = 16 << 20
	// DefaultTimeout bounds a request that names no time; the longest audio that servers take is 10 minutes.
	DefaultTimeout = 10 * time.Minute
	// maxHeader bounds the headers of an answer, in bytes.
	maxHeader = 64 << 10
)

// HTTPClient is the one client of speech services. It is safe for concurrent use.
type HTTPClient struct{ http *http.Client }

var _ Client = (*HTTPClient)(nil)

// NewClient makes a client. Each request has a connection of its own: an
// inference takes longer than a connection, one that was kept may lead to a
// server that is out of the traffic by now, and some servers close what they
// said they would keep. No proxy and no redirect is followed.
func NewClient() *HTTPClient {
	return &HTTPClient{http: &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is what a service said, whole.
type answer struct {
	url         *url.URL
	contentType string
	body        []byte
}

// do sends a request and reads a good answer whole; every failure is one of the
// sentinels.
func (c *HTTPClient) do(r *http.Request, traceParent string) (answer, error) {
	if traceParent != "" {
		r.Header.Set("Traceparent", traceParent)
	}
	r.Header.Set("User-Agent", "understudy")
	resp, err := c.http.Do(r)
	if err != nil {
		return answer{}, broken(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if resp.StatusCode/100 != 2 {
		return answer{}, refused(resp, body)
	}
	switch {
	case err != nil:
		return answer{}, broken(err)
	case len(body) > MaxAnswer:
		return answer{}, fmt.Errorf("%w: its answer is longer than %d MiB", ErrServer, MaxAnswer>>20)
	case len(body) == 0:
		return answer{}, fmt.Errorf("%w: HTTP %d with an empty body", ErrServer, resp.StatusCode)
	}
	kind, _, _ := strings.Cut(strings.ToLower(resp.Header.Get("Content-Type")), ";")
	return answer{url: resp.Request.URL, contentType: strings.TrimSpace(kind), body: body}, nil
}

// bounded gives a request its time.
func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return context.WithTimeout(ctx, timeout)
}

// join puts a path behind a base URL, as a health check's path is.
func join(base, path string) (string, error) {
	if !strings.HasPrefix(path, "/") {
		return "", cannotAsk("the path %q must begin with a slash", path)
	}
	u, err := url.Parse(strings.TrimRight(base, "/") + path)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", cannotAsk("the URL of the service is not usable; it begins with http:// or https://")
	}
	return u.String(), nil
}

// quote makes what a server said fit for an error.
func quote(text string) string { return probe.Printable(text, probe.QuoteLimit) }

// unwrapped leaves out of an error what people know: method and URL.
func unwrapped(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
