package harness_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
)

// counting is a part that answers with how many requests have reached it.
func counting(t *testing.T) (tap *harness.Tap, reached *atomic.Int64) {
	t.Helper()
	reached = new(atomic.Int64)
	part := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %s", reached.Add(1), body)
	}))
	t.Cleanup(part.Close)
	tap, err := harness.TapHTTP(part.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tap.Close)
	return tap, reached
}

func ask(t *testing.T, tap *harness.Tap, body string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, tap.URL()+"/do", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return string(answer), err
}

func TestATapHandsOn(t *testing.T) {
	tap, _ := counting(t)
	// Far more than one read of a socket, over one connection that is kept.
	long := strings.Repeat("x", 1<<20)
	for i, body := range []string{"first", long, "third"} {
		answer, err := ask(t, tap, body)
		if want := fmt.Sprintf("%d %s", i+1, body); err != nil || answer != want {
			t.Errorf("answer %d: %d bytes, %v", i+1, len(answer), err)
		}
	}
	if n := tap.Passed("POST /do"); n != 3 {
		t.Errorf("%d requests passed", n)
	}
}

func TestATapActsAtItsMoment(t *testing.T) {
	for _, c := range []struct {
		name string
		arm  func(tap *harness.Tap, act func() harness.Fate)
		fate harness.Fate
		// seen is how many requests had reached the part when the hook acted, reached how many have at the end.
		seen, reached int64
		fails         bool
	}{
		{"before", func(tap *harness.Tap, act func() harness.Fate) { tap.Before("b", 2, act) }, harness.Drop, 2, 2, true},
		{"after", func(tap *harness.Tap, act func() harness.Fate) { tap.After("b", 2, act) }, harness.Drop, 3, 3, true},
		{"before, going on", func(tap *harness.Tap, act func() harness.Fate) { tap.Before("b", 2, act) }, harness.GoOn, 2, 3, false},
		{"after, going on", func(tap *harness.Tap, act func() harness.Fate) { tap.After("b", 2, act) }, harness.GoOn, 3, 3, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tap, reached := counting(t)
			var acted, seen atomic.Int64
			c.arm(tap, func() harness.Fate {
				acted.Add(1)
				seen.Store(reached.Load())
				return c.fate
			})
			var failed []int
			for i, body := range []string{"a", "b", "b"} {
				if _, err := ask(t, tap, body); err != nil {
					failed = append(failed, i)
				}
			}
			if acted.Load() != 1 || seen.Load() != c.seen || reached.Load() != c.reached {
				t.Errorf("the hook acted %d times, when %d had reached the part, and %d did in all", acted.Load(), seen.Load(), reached.Load())
			}
			if got := slices.Equal(failed, []int{2}); got != c.fails || !got && len(failed) > 0 {
				t.Errorf("requests %v failed", failed)
			}
		})
	}
}

func TestAClientThatLeavesTakesItsRequestWithIt(t *testing.T) {
	arrived, left := make(chan bool), make(chan bool)
	part := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(left)
	}))
	t.Cleanup(part.Close)
	tap, err := harness.TapHTTP(part.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tap.Close)
	conn, err := net.Dial("tcp", tap.Address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	conn.Close()
	select {
	case <-left:
	case <-time.After(30 * time.Second):
		t.Fatal("the part still works for a client that has left")
	}
}

func TestATapOfLines(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var lines atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
				lines.Add(1)
				fmt.Fprintf(conn, "one\n\ntwo %s\n", line)
			}
			conn.Close()
		}
	}()
	tap, err := harness.TapLine(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tap.Close)
	tap.Before("set", 1, func() harness.Fate { return harness.Drop })
	say := func(parts ...string) string {
		conn, err := net.Dial("tcp", tap.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, part := range parts {
			if _, err := io.WriteString(conn, part); err != nil {
				t.Fatal(err)
			}
		}
		answer, _ := io.ReadAll(conn)
		return string(answer)
	}
	if answer := say("show ", "this\n"); answer != "one\n\ntwo show this\n\n" {
		t.Errorf("the answer is %q", answer)
	}
	if answer := say("set that\n"); answer != "" || lines.Load() != 1 {
		t.Errorf("%q, after %d lines", answer, lines.Load())
	}
	if answer := say("set that\n"); !strings.Contains(answer, "two set that") {
		t.Errorf("the second time the answer is %q", answer)
	}
}
