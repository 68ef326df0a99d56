package traffictest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// holdPath is answered only when the test says so.
const holdPath = "/hold"

// speaker is a speech server that says its name.
type speaker struct {
	name    string
	address string
	arrived chan struct{}
	release func()
}

type answer struct {
	text string
	err  error
}

// serve starts a speech server at an address for the length of a test.
func serve(t *testing.T, name, address string) *speaker {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	released := make(chan struct{})
	s := &speaker{name: name, arrived: make(chan struct{}, 16), release: sync.OnceFunc(func() { close(released) })}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == holdPath {
			s.arrived <- struct{}{}
			select {
			case <-released:
			case <-r.Context().Done():
				return
			}
		}
		fmt.Fprint(w, name)
	}))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(s.release)
	s.address = server.Listener.Addr().String()
	return s
}

// get asks a URL and returns the body of a good answer.
func get(ctx context.Context, client *http.Client, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.100s", resp.Status, body)
	}
	return string(body), err
}
