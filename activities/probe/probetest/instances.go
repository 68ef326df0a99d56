package probetest

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/understudy-dr/understudy/tests/harness"
)

// says is an instance that gives the same answer to everything.
func says(status int, body string) func(*testing.T) string {
	return func(t *testing.T) string {
		return serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
}

// onlyAt answers well at one path and query alone.
func onlyAt(path string) func(*testing.T) string {
	return func(t *testing.T) string {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RequestURI() != path {
				http.Error(w, "asked for "+r.URL.RequestURI(), http.StatusNotFound)
			}
		})
	}
}

// redirects leads to an instance that would answer well.
func redirects(t *testing.T) string {
	well := says(200, "{}")(t)
	return serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, well, http.StatusFound) })
}

// pours never ends its body.
func pours(t *testing.T) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		for block := make([]byte, 32<<10); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
}

// waitsForTwo answers nobody before a second request is there.
func waitsForTwo(t *testing.T) string {
	var asked atomic.Int32
	both := make(chan struct{})
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 2 {
			close(both)
		}
		select {
		case <-both:
		case <-r.Context().Done():
		}
	})
}

// counts answers well and tells how many connections it took, once there are so many.
func counts(t *testing.T) (string, func(want int) int) {
	taken := make(chan struct{}, 100)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			taken <- struct{}{}
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, func(want int) int {
		for range want {
			select {
			case <-taken:
			case <-t.Context().Done():
				return 0
			}
		}
		return want + len(taken)
	}
}

func serve(t *testing.T, h http.HandlerFunc) string {
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// conn is the instance's side of a connection.
type conn struct{ net.Conn }

func (c conn) say(text string) { _, _ = io.WriteString(c, text) }

// pour says the second text for as long as anybody takes it.
func (c conn) pour(begin, more string) {
	c.say(begin)
	for {
		if _, err := io.WriteString(c, more); err != nil {
			return
		}
	}
}

// hang keeps the connection open and says nothing until the other side leaves.
func (c conn) hang() { _, _ = io.Copy(io.Discard, c) }

// drip begins an answer that never ends.
func (c conn) drip() {
	c.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
	c.hang()
}

func (c conn) reset() { _ = c.Conn.(*net.TCPConn).SetLinger(0) }

// raw is a listener that treats each connection as the function says, then closes it.
func raw(treat func(conn)) func(*testing.T) string {
	return func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		t.Cleanup(func() {
			l.Close()
			all.Wait()
		})
		all.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				all.Go(func() {
					defer c.Close()
					buffer := make([]byte, 4096)
					_, _ = c.Read(buffer) // whoever closes with unread bytes resets
					treat(conn{c})
				})
			}
		})
		return "http://" + l.Addr().String()
	}
}

// refuses is an address on which nobody listens.
func refuses(*testing.T) string { return "http://" + harness.Address(harness.FreePort()) }

// full is a listener whose queue is full: the kernel drops what more comes, as
// a host does that is switched off.
func full(t *testing.T) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	// A queue of length 0 holds one connection.
	waiting, err := net.DialTCP("tcp", nil, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { waiting.Close() })
	return "http://" + address.String()
}
