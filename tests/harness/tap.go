package harness

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// Tap stands between Understudy and a part, and hands on one exchange after the
// other, each as a whole: a request, then its answer. A test can act at the two
// moments at which a crash matters: when a request has left Understudy and not
// reached the part, and when the part has done what it was asked to and nobody
// knows yet. Nothing moves on while it acts, so no test needs to hit a moment by
// its clock.
//
// A part that does not accept connections shows as one that resets them. Who
// sends a request before the last one is answered is not understood.
type Tap struct {
	// Address is host:port at which it listens.
	Address  string
	part     string
	framing  framing
	listener net.Listener
	done     sync.WaitGroup

	mu    sync.Mutex
	hooks []*hook
	open  map[net.Conn]bool
	// passed are the requests that reached the part.
	passed []string
	shut   bool
	told   func(request string)
}

// listenTries: a port that was free a moment ago may be another program's by now.
const listenTries = 5

// Fate is what becomes of an exchange.
type Fate bool

// The fates. A dropped exchange goes no further, and its connection is closed
// on both sides.
const (
	GoOn Fate = true
	Drop Fate = false
)

// hook acts on one request.
type hook struct {
	match string
	// left is how many requests, or answers, that match are yet to come, this one included.
	left  int
	after bool
	act   func() Fate
}

// framing reads whole requests and answers. Each is read into the wire's record.
type framing interface {
	request(from *wire) (any, error)
	// answer reports whether the connection is used for another request.
	answer(from *wire, request any) (kept bool, err error)
}

// TapHTTP taps a part that speaks HTTP/1 at host:port.
func TapHTTP(part string) (*Tap, error) { return startTap(part, httpFraming{}) }

// TapLine taps a part that answers one line on each connection and closes it,
// as HAProxy's admin socket does: host:port, or the path of a unix socket.
func TapLine(part string) (*Tap, error) { return startTap(part, lineFraming{}) }

func startTap(part string, f framing) (*Tap, error) {
	var l net.Listener
	var address string
	var err error
	for range listenTries {
		address = Address(FreePort())
		if l, err = net.Listen("tcp", address); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("tap %s: %w", part, err)
	}
	t := &Tap{Address: address, part: part, framing: f, listener: l, open: map[net.Conn]bool{}}
	t.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.done.Go(func() { t.serve(conn) })
		}
	})
	return t, nil
}

// URL is the tap's base URL, without a slash at the end.
func (t *Tap) URL() string { return "http://" + t.Address }

// Before acts on the n-th request from now on that contains a text, counted
// from 1, before anything of it has reached the part.
func (t *Tap) Before(match string, n int, act func() Fate) { t.hook(&hook{match, n, false, act}) }

// After acts on the n-th answer from now on to a request that contains a text,
// when nothing of the answer has been delivered. A request that is broken off
// before its answer does not count.
func (t *Tap) After(match string, n int, act func() Fate) { t.hook(&hook{match, n, true, act}) }

// Told calls a function with each request that arrives.
func (t *Tap) Told(told func(request string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = told
}

// Passed counts the requests that contain a text and reached the part.
func (t *Tap) Passed(match string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, request := range t.passed {
		if strings.Contains(request, match) {
			n++
		}
	}
	return n
}

// Close ends the tap and every connection through it. A hook must not call it.
func (t *Tap) Close() {
	t.mu.Lock()
	t.shut = true
	t.listener.Close()
	for conn := range t.open {
		conn.Close()
	}
	t.mu.Unlock()
	t.done.Wait()
}

func (t *Tap) hook(h *hook) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hooks = append(t.hooks, h)
}

// serve hands on what one client asks.
func (t *Tap) serve(conn net.Conn) {
	defer t.hold(conn)()
	network := "tcp"
	if strings.HasPrefix(t.part, "/") {
		network = "unix"
	}
	far, err := net.Dial(network, t.part)
	if err != nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return
	}
	defer t.hold(far)()
	client, part := newWire(conn), newWire(far)
	for {
		asked, err := t.framing.request(client)
		if err != nil {
			return
		}
		request := client.take()
		// A client that leaves takes its request with it, however long the part would think about it.
		next := client.await(func() { far.Close() })
		if !t.exchange(client, part, string(request), asked) || <-next != nil {
			return
		}
	}
}

// exchange hands on one request and its answer, and reports whether another may follow.
func (t *Tap) exchange(client, part *wire, request string, asked any) bool {
	if !play(t.due(request, false)) {
		return false
	}
	t.mu.Lock()
	t.passed = append(t.passed, request)
	t.mu.Unlock()
	if _, err := io.WriteString(part.conn, request); err != nil {
		return false
	}
	kept, err := t.framing.answer(part, asked)
	answer := part.take()
	if err == nil && !play(t.due(request, true)) {
		return false
	}
	// What came of a broken answer is handed on as it is.
	_, written := client.conn.Write(answer)
	return kept && err == nil && written == nil
}

// due finds the hooks of a request that arrived, or after it was answered.
func (t *Tap) due(request string, after bool) (hooks []*hook) {
	t.mu.Lock()
	told := t.told
	for _, h := range t.hooks {
		if h.left == 0 || h.after != after || !strings.Contains(request, h.match) {
			continue
		}
		if h.left--; h.left == 0 {
			hooks = append(hooks, h)
		}
	}
	t.mu.Unlock()
	if told != nil && !after {
		told(request)
	}
	return hooks
}

func play(hooks []*hook) bool {
	for _, h := range hooks {
		if h.act() == Drop {
			return false
		}
	}
	return true
}

// hold keeps a connection among those that Close ends, and returns how to end it.
func (t *Tap) hold(conn net.Conn) (release func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[conn] = true
	if t.shut {
		conn.Close()
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.open, conn)
		conn.Close()
	}
}

// wire is one side of a tap. It records what it reads.
type wire struct {
	conn   net.Conn
	reader *bufio.Reader
	record bytes.Buffer
}

func newWire(conn net.Conn) *wire {
	w := &wire{conn: conn}
	w.reader = bufio.NewReader(io.TeeReader(conn, &w.record))
	return w
}

// take returns what was read since it was last called.
func (w *wire) take() []byte {
	taken := bytes.Clone(w.record.Bytes())
	w.record.Reset()
	return taken
}

// await waits beside the tap for the other side's next byte, or for its end.
func (w *wire) await(ended func()) <-chan error {
	next := make(chan error, 1)
	go func() {
		_, err := w.reader.Peek(1)
		if err != nil {
			ended()
		}
		next <- err
	}()
	return next
}

// httpFraming is HTTP/1 with its bodies.
type httpFraming struct{}

func (httpFraming) request(from *wire) (any, error) {
	r, err := http.ReadRequest(from.reader)
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	return r, err
}

func (httpFraming) answer(from *wire, request any) (bool, error) {
	asked := request.(*http.Request)
	for {
		r, err := http.ReadResponse(from.reader, asked)
		if err != nil {
			return false, err
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode >= http.StatusOK {
			return !asked.Close && !r.Close, err
		}
	}
}

// lineFraming is a line, answered with all that comes until the end.
type lineFraming struct{}

func (lineFraming) request(from *wire) (any, error) {
	_, err := from.reader.ReadString('\n')
	return nil, err
}

func (lineFraming) answer(from *wire, _ any) (bool, error) {
	_, err := io.Copy(io.Discard, from.reader)
	return false, err
}
