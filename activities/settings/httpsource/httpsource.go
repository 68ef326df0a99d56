// Package httpsource reads configuration with a GET: from Consul's KV store
// (/v1/kv/KEY?raw), or from anything else that serves a value under a URL.
package httpsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/activities/settings"
	"github.com/understudy-dr/understudy/runbooks"
)

// maxRedirects bounds how often an answer may send elsewhere on the same host.
const maxRedirects = 3

var _ settings.Source = (*Source)(nil)

// Source reads with HTTP. It is safe for concurrent use.
type Source struct{ client *http.Client }

// New returns a source.
func New() *Source {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.IdleConnTimeout = 30 * time.Second
	return &Source{client: &http.Client{Transport: transport, CheckRedirect: stay}}
}

// Read reads a URL. 404 and an empty body are ErrMissing; everything else that
// is not a 2xx is ErrUnavailable. Errors tell the URL without its query, which
// may hold a token.
func (s *Source) Read(ctx context.Context, ref runbooks.Source) (settings.Values, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, ref.URL, nil)
	if err != nil {
		return nil, errors.New("an http reference needs a URL that can be read")
	}
	name := bare(request.URL)
	for header, secret := range ref.Headers {
		value, err := secrets.Resolve(secret)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: header %s: %w", settings.ErrUnavailable, name, header, err)
		}
		request.Header.Set(header, value)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		// The error of the client repeats the URL with its query; what is inside does not.
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, fmt.Errorf("%w: GET %s: %w", settings.ErrUnavailable, name, err)
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%w: GET %s: %s", settings.ErrMissing, name, answer.Status)
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return nil, fmt.Errorf("%w: GET %s: %s", settings.ErrUnavailable, name, answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, settings.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%w: GET %s: %w", settings.ErrUnavailable, name, err)
	}
	values, err := settings.Tidy(settings.Values{name: string(body)})
	if err != nil {
		return nil, fmt.Errorf("%w: GET %s", err, name)
	}
	return values, nil
}

// stay follows redirects only within a host, because the headers with their
// secrets go along.
func stay(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	}
	if next.URL.Host != via[0].URL.Host || next.URL.Scheme != via[0].URL.Scheme {
		return fmt.Errorf("redirected to %s, another host than the runbook names", bare(next.URL))
	}
	return nil
}

// bare is a URL without what may be secret in it.
func bare(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
