package heartbeat_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/heartbeat"
)

// Two thousand services, each looked at twice a second with real probes, cost less
// than one core, the server's own work in this process included. The share is of
// processor time, so that a slow machine does not fail it.
func TestTwoThousandHeartbeatsCostLessThanOneCore(t *testing.T) {
	const services, lasts = 2000, 3 * time.Second
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"ok"}`)
	}))
	defer server.Close()
	r := &real{asks: make(chan heartbeat.Ask, services), book: book("service", server.URL)}
	var books []runbooks.Runbook
	for i := range services {
		one := book(fmt.Sprintf("service-%04d", i), server.URL)
		one.Heartbeat.Interval = runbooks.Duration(500 * time.Millisecond)
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
	time.Sleep(lasts) // what is measured is a share of this time
	share := float64(used()-before) / float64(time.Since(began))
	t.Logf("%d heartbeats every 500ms use %.2f cores", services, share)
	if share > 1 && !racing {
		t.Errorf("they use %.2f cores", share)
	}
}
