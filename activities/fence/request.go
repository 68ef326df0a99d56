package fence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 64 << 10
	// shortestSecret keeps words such as Bearer readable.
	shortestSecret = 8
)

var errNoAddress = errors.New("the confirmation has no address; write one, or correct the URL of the instance")

// send sets a fence by an HTTP request. Every 2xx is success; redirects are not
// followed, because the secrets would go with them.
func (f *fencer) send(ctx context.Context, fence runbooks.Fence) error {
	method := fence.Method
	if method == "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(ctx, method, fence.URL, strings.NewReader(fence.Body))
	if err != nil {
		return errors.New("the fence's URL or method is not usable")
	}
	var secrets []string
	for name, reference := range fence.Headers {
		secret, err := f.Secret(reference)
		if err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
		r.Header.Set(name, secret)
		// Of "Bearer abc" a server may repeat the token alone.
		secrets = append(append(secrets, secret), strings.Fields(secret)...)
	}
	client := http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return fmt.Errorf("%s %s: %s", method, r.URL.Redacted(), hide(err.Error(), secrets))
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return fmt.Errorf("%s %s: HTTP %d, saying: %s", method, r.URL.Redacted(), resp.StatusCode, probe.Printable(hide(string(said), secrets), tailLimit))
}

// hide leaves the secrets out of a text, wherever it got them from.
func hide(text string, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) >= shortestSecret {
			text = strings.ReplaceAll(text, secret, "(secret)")
		}
	}
	return text
}
