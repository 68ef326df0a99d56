package httpsource_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-dr/understudy/tests/harness"
)

// consul is a server that answers as Consul's KV store does, written to its
// documentation: GET /v1/kv/KEY?raw is the value itself, 404 where the key is
// not there, 403 without a token where one is asked for.
type consul struct {
	address string

	mu     sync.Mutex
	server *http.Server
	values map[string]string
	token  string
	// hold is closed when the server may answer; nil means at once.
	hold chan struct{}
}

func startConsul(t *testing.T) *consul {
	t.Helper()
	c := &consul{address: harness.Address(harness.FreePort()), values: map[string]string{}}
	c.start(t)
	t.Cleanup(func() { c.thaw(); c.kill() })
	return c
}

func (c *consul) start(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", c.address)
	if err != nil {
		t.Fatal(err)
	}
	c.server = &http.Server{Handler: c}
	go c.server.Serve(listener)
}

func (c *consul) kill() { c.server.Close() }

func (c *consul) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = make(chan struct{})
}

func (c *consul) thaw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold != nil {
		close(c.hold)
		c.hold = nil
	}
}

func (c *consul) put(key, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[key] = value
}

func (c *consul) delete(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.values, key)
}

func (c *consul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	hold, token := c.hold, c.token
	key, isKV := strings.CutPrefix(r.URL.Path, "/v1/kv/")
	value, found := c.values[key]
	c.mu.Unlock()
	if hold != nil {
		<-hold
	}
	switch {
	case r.Method != http.MethodGet || !isKV || !r.URL.Query().Has("raw"):
		http.Error(w, "this server knows only raw reads", http.StatusBadRequest)
	case token != "" && r.Header.Get("X-Consul-Token") != token:
		http.Error(w, "Permission denied", http.StatusForbidden)
	case !found:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = io.WriteString(w, value)
	}
}
