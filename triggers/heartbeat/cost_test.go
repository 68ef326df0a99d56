package heartbeat_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/heartbeat"
)

// Two thousand services, each looked at twice a second with real probes: all of
// them are, again and again, and what that costs is printed, the server's own work
// in this process included.
func TestTwoThousandHeartbeats(t *testing.T) {
	const services, rounds = 2000, 5
	var probes atomic.Int64
	enough := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if probes.Add(1) == services*rounds {
			close(enough)
		}
		_, _ = io.WriteString(w, `{"status":"ok"}`)
	}))
	defer server.Close()
	r := &real{asks: make(chan heartbeat.Ask, services), book: book("service", server.URL)}
	var books []runbooks.Runbook
	for i := range services {
		one := book(fmt.Sprintf("service-%04d", i), server.URL)
		one.Heartbeat.Interval = runbooks.Duration(500 * time.Millisecond)
		one.Health.Timeout = runbooks.Duration(time.Minute) // a machine that is busy with something else fails nobody
		books = append(books, one)
	}
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before, began := used(), time.Now()
	r.listen(t, runbooks.NewLibrary(books...), nil)
	select {
	case <-enough:
	case ask := <-r.asks:
		t.Fatalf("a recovery of a service that answers was asked for: %+v", ask)
	case <-time.After(5 * time.Minute):
		t.Fatalf("%d probes in five minutes", probes.Load())
	}
	t.Logf("%d heartbeats every 500ms use %.2f cores", services, float64(used()-before)/float64(time.Since(began)))
}
