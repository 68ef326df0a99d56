package nginx

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
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

// held is one connection to a worker, kept to see the worker stop.
type held struct {
	servers []traffic.Server
	// ended is closed when nginx closes the connection.
	ended <-chan struct{}
	// closedAtOnce is true where nginx keeps no idle connections, so that the end says nothing.
	closedAtOnce bool
	close        func()
}

// settled returns once the old workers accept no more.
func (h *held) settled(ctx context.Context) error {
	if !h.closedAtOnce {
		return nil // Its end was seen, and that is it.
	}
	select {
	case <-time.After(settle):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: the old workers may still accept connections: %w", traffic.ErrUnreachable, ctx.Err())
	}
}

// ask returns what nginx runs with, over a connection of its own.
func (w witness) ask(ctx context.Context) ([]traffic.Server, error) {
	h, err := w.hold(ctx)
	if err != nil {
		return nil, err
	}
	h.close()
	return h.servers, nil
}

// hold asks, and keeps the connection.
func (w witness) hold(ctx context.Context) (*held, error) {
	h := &held{}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		watched := &watchedConn{Conn: conn, ended: make(chan struct{})}
		h.ended = watched.ended
		return watched, nil
	}}
	h.close = transport.CloseIdleConnections
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	servers, closing, err := w.get(ctx, client)
	if err != nil {
		h.close()
		return nil, fmt.Errorf("%w: nginx: %w", traffic.ErrUnreachable, err)
	}
	h.servers, h.closedAtOnce = servers, closing
	return h, nil
}

func (w witness) get(ctx context.Context, client *http.Client) (servers []traffic.Server, closing bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return nil, false, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, false, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, false, w.mute(resp.Status)
	}
	if servers, err = hear(string(body)); err != nil {
		return nil, false, w.mute(fmt.Sprintf("%q", probe.Printable(string(body), 100)))
	}
	return servers, resp.Close, nil
}

func (w witness) mute(answer string) error {
	return fmt.Errorf("it does not tell what it runs with: %s answers %s; add \"location = %s\" to its server block, deploy/nginx shows how", w.url, answer, w.location)
}

// watchedConn tells when it is closed: the HTTP client closes an idle connection as soon as the other side does.
type watchedConn struct {
	net.Conn
	once  sync.Once
	ended chan struct{}
}

func (c *watchedConn) Close() error {
	c.once.Do(func() { close(c.ended) })
	return c.Conn.Close()
}
