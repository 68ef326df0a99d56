package nginx

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/traffic"
)

const (
	// patience bounds one look: View promises an answer within a second.
	patience = 900 * time.Millisecond
	// locationPath is where nginx tells what it runs with; the name of the upstream follows.
	locationPath = "/.understudy/"
	maxAnswer    = 64 << 10
)

// witness asks nginx itself what it runs with.
type witness struct {
	url      string
	location string
}

func newWitness(front, upstream string) (witness, error) {
	u, err := url.Parse(front)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return witness{}, fmt.Errorf("%w: traffic.front %q is no URL", traffic.ErrRefused, front)
	}
	return witness{url: (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: locationPath + upstream}).String(), location: locationPath + upstream}, nil
}

// answer is what nginx tells of itself.
type answer struct {
	servers []traffic.Server
	// worker is the process that answered.
	worker int
}

// ask asks over a connection of its own, which may reach any worker.
func (w witness) ask(ctx context.Context) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a, err := w.get(ctx)
	if err != nil {
		return answer{}, fmt.Errorf("%w: nginx: %w", traffic.ErrUnreachable, err)
	}
	return a, nil
}

func (w witness) get(ctx context.Context) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return answer{}, err
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return answer{}, w.mute(resp.Status)
	}
	a, err := hear(string(body))
	if err != nil {
		return answer{}, w.mute(fmt.Sprintf("%q", probe.Printable(string(body), 100)))
	}
	return a, nil
}

func (w witness) mute(answer string) error {
	return fmt.Errorf("it does not tell what it runs with: %s answers %s; add \"location = %s\" to its server block, deploy/nginx shows how", w.url, answer, w.location)
}
